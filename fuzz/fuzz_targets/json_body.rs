#![no_main]
//! JSON bodies, as every call of `admin` and every operation of `v3` reads them.
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
