#![no_main]
//! Cursors of lists and of events.
use libfuzzer_sys::fuzz_target;
use steward::dialects::fuzzing;
use steward_fuzz::{bounded, text};

fuzz_target!(|data: &[u8]| {
    if let Some(text) = text(data) {
        bounded(|| fuzzing::cursor(text));
    }
});
