#![no_main]
//! SOAP envelopes of both versions. The first line of the input is the content type.
use libfuzzer_sys::fuzz_target;
use steward::dialects::fuzzing;
use steward_fuzz::{bounded, text};

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (head, body) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    if let Some(content_type) = text(head) {
        bounded(|| fuzzing::envelope(content_type, body));
    }
    bounded(|| fuzzing::envelope("application/soap+xml", data));
    bounded(|| fuzzing::envelope("text/xml", data));
});
