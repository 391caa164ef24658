//! Doors for the fuzzers of `fuzz/`: what reads callers' bytes, without the service behind it. Built for them only.

use chrono::Datelike as _;

use super::{admin, dates, soap, v3};
use crate::wire::{self, Codec};

/// Reads a body as one kind of request.
pub type Reader = fn(Codec, &[u8]);

/// What reads the bodies of every call of `admin` and every operation of `v3`, and bodies of which every member counts.
#[must_use]
pub fn readers() -> Vec<Reader> {
    let members: Reader = |codec, body| match codec {
        Codec::Json => drop(wire::json_members(body)),
        Codec::Xml => drop(wire::xml_members(body)),
    };
    [admin::readers(), v3::readers(), vec![members]].concat()
}

/// An envelope, as the `soap` dialect would read it.
pub fn envelope(content_type: &str, body: &[u8]) {
    soap::read_envelope_of(content_type, body);
}

/// A date: what is read can be written, and what is written is read as the same instant; years of other than four digits,
/// which an offset can lead to, are refused later.
pub fn date(text: &str) {
    for zone in [
        chrono_tz::Tz::UTC,
        chrono_tz::Tz::Europe__Berlin,
        chrono_tz::Tz::Pacific__Apia,
        chrono_tz::Tz::America__Sao_Paulo,
    ] {
        if let Ok(time) = dates::parse(text, zone)
            && (0..=9_999).contains(&time.year())
        {
            assert_eq!(
                dates::parse(&dates::write(time), zone),
                Ok(time),
                "what is written is read as it was"
            );
        }
    }
}

/// A cursor of a list.
pub fn cursor(text: &str) {
    v3::read_cursor(text);
}

/// A content type, and what is accepted.
pub fn media_type(text: &str) {
    let _read = (
        wire::codec_of(Some(text)).is_ok(),
        wire::media_type(Some(text)).is_ok(),
        wire::accepted(text),
    );
}
