#![no_main]
//! Dates, in time zones with and without summer time.
use libfuzzer_sys::fuzz_target;
use steward::dialects::fuzzing;
use steward_fuzz::{bounded, text};

fuzz_target!(|data: &[u8]| {
    if let Some(text) = text(data) {
        bounded(|| fuzzing::date(text));
    }
});
