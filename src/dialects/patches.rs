//! Optional members of requests, read as patches: the same in every dialect that has JSON and XML bodies.

use chrono_tz::Tz;
use uuid::Uuid;

use super::dates;
use crate::domain::{Error, HoldId, Patch, Time};
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
pub(super) fn parsed<T>(
    field: Field<String>,
    read: Reading,
    parse: impl FnOnce(String) -> Result<T, Error>,
) -> Result<Patch<T>, Error> {
    Ok(match text(field, read) {
        Patch::Keep => Patch::Keep,
        Patch::Clear => Patch::Clear,
        Patch::Set(written) => Patch::Set(parse(written)?),
    })
}

/// A date, or a date and time.
pub(super) fn time(
    name: &'static str,
    field: Field<String>,
    read: Reading,
) -> Result<Patch<Time>, Error> {
    parsed(field, read, |written| {
        dates::parse(&written, read.zone).map_err(|problem| Error::invalid(name, problem))
    })
}

/// A date that must be mentioned, were it to say that there is none; `null` says what that means.
pub(super) fn mentioned_time(
    name: &'static str,
    field: Field<String>,
    read: Reading,
    null: &str,
) -> Result<Option<Time>, Error> {
    match time(name, field, read)? {
        Patch::Keep => Err(Error::invalid(
            name,
            format!("is required; null for {null}"),
        )),
        Patch::Clear => Ok(None),
        Patch::Set(at) => Ok(Some(at)),
    }
}

/// The hold that is meant and no other, if one is named.
pub(super) fn only_hold(field: Field<String>, read: Reading) -> Result<Option<HoldId>, Error> {
    let id = parsed(field, read, |id| {
        Uuid::parse_str(&id).map_err(|_| Error::invalid("hold_id", "must be a UUID"))
    })?;
    Ok(id.value().copied().map(HoldId))
}
