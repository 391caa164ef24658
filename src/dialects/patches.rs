//! Converts optional members of requests to patches, in the same way for all dialects with JSON and
//! XML bodies.

use chrono_tz::Tz;
use uuid::Uuid;

use super::dates::{self, Role};
use crate::domain::{Command, Error, HoldId, HoldKind, HoldPatch, Level, Owner, Patch, Time};
use crate::wire::{Codec, Field};

/// The settings for reading members.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// The format of the body.
    pub(super) codec: Codec,
    /// The time zone of the account's reseller. Dates without a zone are read in it.
    pub(super) zone: Tz,
}

/// A member whose value needs no conversion. Texts keep their white space.
pub(super) fn plain<T>(field: Field<T>) -> Patch<T> {
    match field {
        Field::Absent => Patch::Keep,
        Field::Null => Patch::Clear,
        Field::Value(value) => Patch::Set(value),
    }
}

/// A text that an answer of the `v3` original shows as empty if there is none, so an empty one means
/// none. Other texts keep their white space.
pub(super) fn text_or_none(field: Field<String>) -> Patch<String> {
    plain(none_if_empty(field))
}

/// The same for a text that is converted later.
pub(super) fn none_if_empty(field: Field<String>) -> Field<String> {
    match &field {
        Field::Value(text) if text.is_empty() => Field::Null,
        Field::Value(_) | Field::Null | Field::Absent => field,
    }
}

/// A text that `parse` converts to another type. In XML, where documents are often indented, it may
/// have white space around it.
pub(super) fn parsed<T>(
    field: Field<String>,
    read: Reading,
    parse: impl FnOnce(String) -> Result<T, Error>,
) -> Result<Patch<T>, Error> {
    Ok(match (field, read.codec) {
        (Field::Absent, _) => Patch::Keep,
        (Field::Null, _) => Patch::Clear,
        (Field::Value(written), Codec::Json) => Patch::Set(parse(written)?),
        (Field::Value(written), Codec::Xml) => match written.trim() {
            "" => Patch::Clear,
            trimmed => Patch::Set(parse(trimmed.to_owned())?),
        },
    })
}

/// A date, or a date and time. The role tells what a date alone means.
pub(super) fn time(
    name: &'static str,
    role: Role,
    field: Field<String>,
    read: Reading,
) -> Result<Patch<Time>, Error> {
    parsed(field, read, |written| {
        dates::parse(&written, role, read.zone).map_err(|problem| Error::invalid(name, problem))
    })
}

/// A required end date that may be null. `null` completes the error text with the meaning of null.
pub(super) fn required_time(
    name: &'static str,
    field: Field<String>,
    read: Reading,
    null: &str,
) -> Result<Option<Time>, Error> {
    match time(name, Role::End, field, read)? {
        Patch::Keep => Err(Error::invalid(
            name,
            format!("is required; null for {null}"),
        )),
        Patch::Clear => Ok(None),
        Patch::Set(at) => Ok(Some(at)),
    }
}

/// The id of the hold that a request is restricted to. `None` means any hold.
pub(super) fn only_hold(field: Field<String>, read: Reading) -> Result<Option<HoldId>, Error> {
    let id = parsed(field, read, |id| {
        Uuid::parse_str(&id).map_err(|_| {
            let problem = format!(
                "must be the UUID of a hold, as in the holds of the account: {id:?} is none"
            );
            Error::invalid("hold_id", problem)
        })
    })?;
    Ok(id.value().copied().map(HoldId))
}

/// The owner that a request names. `None` if it names none.
pub(super) fn owner(field: Field<String>, read: Reading) -> Result<Option<Owner>, Error> {
    let owner = parsed(field, read, |written| Owner::parse("owner", &written))?;
    Ok(owner.value().cloned())
}

/// The level that a request gives to a hold; without one, the hold blocks.
pub(super) fn level(field: Field<String>, read: Reading) -> Result<Level, Error> {
    let level = parsed(field, read, |written| {
        Level::parse(&written)
            .ok_or_else(|| Error::must_be("level", "block, limit or warn", &written))
    })?;
    Ok(level.value().copied().unwrap_or_default())
}

/// The command that places a hold, or changes the caller's open one.
pub(super) fn place_hold(kind: HoldKind, owner: Option<Owner>, details: HoldPatch) -> Command {
    Command::Place {
        kind,
        owner,
        fresh: HoldId(Uuid::now_v7()),
        details,
    }
}
