//! Optional members of requests, read as patches: the same in every dialect that has JSON and XML bodies.

use chrono_tz::Tz;

use super::dates;
use crate::domain::{Error, Patch, Time};
use crate::wire::{Codec, Field};

/// How a request is to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// What it is written in.
    pub(super) codec: Codec,
    /// The time zone of dates that name none.
    pub(super) zone: Tz,
}

/// A member that is what it is.
pub(super) fn plain<T>(field: Field<T>) -> Patch<T> {
    match field {
        Field::Absent => Patch::Keep,
        Field::Null => Patch::Clear,
        Field::Value(value) => Patch::Set(value),
    }
}

/// A text.
pub(super) fn text(field: Field<String>, read: Reading) -> Patch<String> {
    plain(field.in_codec(read.codec))
}

/// A text that stands for something.
pub(super) fn parsed<T>(field: Field<String>, read: Reading, parse: impl FnOnce(String) -> Result<T, Error>) -> Result<Patch<T>, Error> {
    Ok(match text(field, read) {
        Patch::Keep => Patch::Keep,
        Patch::Clear => Patch::Clear,
        Patch::Set(written) => Patch::Set(parse(written)?),
    })
}

/// A date, or a date and time.
pub(super) fn time(name: &'static str, field: Field<String>, read: Reading) -> Result<Patch<Time>, Error> {
    parsed(field, read, |written| dates::parse(&written, read.zone).map_err(|problem| Error::invalid(name, problem)))
}
