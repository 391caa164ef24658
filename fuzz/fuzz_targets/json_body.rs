#![no_main]
//! JSON bodies, read as the request of each call of `admin` and each operation of `v3`.
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use steward::dialects::fuzzing::{self, Reader};
use steward::wire::Codec;
use steward_fuzz::bounded;

static READERS: LazyLock<Vec<Reader>> = LazyLock::new(fuzzing::readers);

fuzz_target!(|data: &[u8]| {
    for read in READERS.iter() {
        bounded(|| read(Codec::Json, data));
    }
});
