//! Entry points for the fuzzers in `fuzz/`: the functions that read callers' bytes, without the
//! service. Compiled only for fuzzing.

use chrono::Datelike as _;

pub use super::schemas::Reader;
use super::{admin, dates, soap, v3};
use crate::wire;

/// The decoders of every call of `admin` and every operation of `v3`, and the decoder that reads a
/// body's members without a type.
#[must_use]
pub fn readers() -> Vec<Reader> {
    let members: Reader = |codec, body| drop(wire::members(codec, body));
    [admin::readers(), v3::readers(), vec![members]].concat()
}

/// Reads a SOAP envelope as the `soap` dialect does.
pub fn envelope(content_type: &str, body: &[u8]) {
    soap::read_envelope_of(content_type, body);
}

/// Reads a date, writes it, and checks that the written form reads as the same instant. Years that
/// do not have four digits are skipped: offsets can lead to them, and the service refuses them
/// later.
pub fn date(text: &str) {
    for zone in [
        chrono_tz::Tz::UTC,
        chrono_tz::Tz::Europe__Berlin,
        chrono_tz::Tz::Pacific__Apia,
        chrono_tz::Tz::America__Sao_Paulo,
    ] {
        for role in [dates::Role::End, dates::Role::Begin] {
            if let Ok(time) = dates::parse(text, role, zone)
                && (0..=9_999).contains(&time.year())
            {
                assert_eq!(
                    dates::parse(&dates::write(time), role, zone),
                    Ok(time),
                    "a written date must read as the same instant"
                );
            }
        }
        let _read = dates::parse_span(text, zone);
    }
}

/// Reads a cursor.
pub fn cursor(text: &str) {
    v3::read_cursor(text);
}

/// Reads a content type, and the same text as an `Accept` header.
pub fn media_type(text: &str) {
    let _read = (
        wire::codec_of(Some(text)).is_ok(),
        wire::media_type(Some(text)).is_some(),
        wire::accepted(text),
    );
}
