//! Whose rows a transaction may touch.

use std::collections::BTreeSet;

use crate::domain::ResellerId;

/// Whose rows a transaction may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenancy {
    /// Those of these resellers.
    Resellers(BTreeSet<ResellerId>),
    /// Those of every reseller: the operator's reads, and the platform's own jobs.
    Platform,
    /// None but the credentials with these SHA-256.
    Credentials(Vec<[u8; 32]>),
}

impl Tenancy {
    /// Of one reseller.
    #[must_use]
    pub fn of(reseller: ResellerId) -> Self {
        Self::Resellers(BTreeSet::from([reseller]))
    }

    /// The statement that writes it into the transaction. It is built of digits and constants only.
    pub(super) fn statement(&self) -> String {
        match self {
            Self::Resellers(ids) => format!(
                "select set_config('steward.resellers', '{}', true)",
                list_of(ids)
            ),
            Self::Platform => "select set_config('steward.scope', 'platform', true)".to_owned(),
            Self::Credentials(hashes) => {
                let hashes: Vec<_> = hashes
                    .iter()
                    .map(|hash| data_encoding::HEXLOWER.encode(hash))
                    .collect();
                // The connection may have been one of look-ups, which leave their resellers behind.
                format!(
                    "select set_config('steward.resellers', '', true), set_config('steward.token_hash', '{}', true)",
                    hashes.join(",")
                )
            }
        }
    }
}

/// Resellers as the policies read them.
pub(super) fn list_of(resellers: &BTreeSet<ResellerId>) -> String {
    let ids: Vec<_> = resellers.iter().map(ToString::to_string).collect();
    ids.join(",")
}
