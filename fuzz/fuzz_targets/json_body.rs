#![no_main]
//! JSON bodies, as every call of `admin` and every operation of `v3` reads them.
use libfuzzer_sys::fuzz_target;
use steward::dialects::fuzzing;
use steward::wire::Codec;
use steward_fuzz::bounded;

fuzz_target!(|data: &[u8]| bounded(|| fuzzing::body(Codec::Json, data)));
