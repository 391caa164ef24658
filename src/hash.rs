//! SHA-256, shared by all rooms that hash.

use sha2::{Digest as _, Sha256};

/// The SHA-256 digest of some bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
