#![no_main]
//! `Content-Type` and `Accept`.
use libfuzzer_sys::fuzz_target;
use steward::dialects::fuzzing;
use steward_fuzz::{bounded, text};

fuzz_target!(|data: &[u8]| {
    if let Some(text) = text(data) {
        bounded(|| fuzzing::media_type(text));
    }
});
