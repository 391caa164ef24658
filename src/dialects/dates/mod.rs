//! Reading and writing dates. This is the only place that reads them, for all dialects and the
//! command line.
//!
//! A date alone means the whole day, so what it stands for depends on its role: as an end the last
//! second of the day, as a begin its first, and in a filter all of it. A date or time without a zone
//! is in the time zone of the account's reseller.

#[cfg(test)]
mod tests;

use chrono::{
    DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Offset as _, TimeDelta,
    TimeZone as _,
};
use chrono_tz::{GapInfo, Tz};

use crate::domain::{Span, Time, quoted};

/// The accepted forms, for the texts of errors.
const FORMS: &str = "a date (2026-12-31), or a date and time with a zone or without \
    (2026-12-31T23:59:59Z, 2026-12-31T23:59:59+02:00, 2026-12-31T23:59:59)";

/// What a date is for. It decides what a date alone means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// An end, such as `expiresAt`: a date alone is the last second of the day.
    End,
    /// A begin, such as `startsAt`: a date alone is the first instant of the day.
    Begin,
    /// An instant in the past, as of which something is read, with the present time: a date alone is
    /// the last instant of the day, and today is now.
    AsOf(Time),
}

/// A date as the caller wrote it, before its time zone is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// A date and time with a zone.
    Instant(Time),
    /// A date and time without a zone.
    Local(NaiveDateTime),
    /// A date alone. `None` if it has no zone.
    Day(NaiveDate, Option<FixedOffset>),
}

impl Written {
    /// Reads a date with or without a zone, or a date and time with or without one, as RFC 3339 and
    /// XML Schema write them. A fraction of a second is cut to microseconds. `24:00:00` is the begin
    /// of the next day, and a leap second the begin of the next minute.
    ///
    /// # Errors
    /// A message for the caller with the accepted forms and the value.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        read(text.trim()).ok_or_else(|| refusal(text))
    }

    /// Whether it means the same in every time zone.
    pub(crate) fn has_zone(self) -> bool {
        !matches!(self, Self::Local(_) | Self::Day(_, None))
    }

    /// The instant that it means in a role. `None` if no instant can be represented, more than
    /// 200,000 years from now.
    pub(crate) fn at(self, role: Role, zone: Tz) -> Option<Time> {
        let (date, offset) = match self {
            Self::Instant(at) => return Some(at),
            Self::Local(local) => return to_micros(instant(local, zone)?),
            Self::Day(date, offset) => (date, offset),
        };
        let first = |date| first_instant(date, offset, zone);
        match role {
            Role::Begin => first(date),
            Role::End => Some(first(date.succ_opt()?)? - TimeDelta::seconds(1)),
            Role::AsOf(now) => {
                let last = first(date.succ_opt()?)? - TimeDelta::microseconds(1);
                let is_today = last > now && first(date)? <= now;
                Some(if is_today { now } else { last })
            }
        }
    }

    /// All instants that it means in a filter: a whole day, or one instant. `None` as for
    /// [`Written::at`].
    pub(crate) fn span(self, zone: Tz) -> Option<Span> {
        let at = self.at(Role::Begin, zone)?;
        match self {
            Self::Instant(_) | Self::Local(_) => Some(Span::of(at)),
            Self::Day(date, offset) => Some(Span {
                first: at,
                next: first_instant(date.succ_opt()?, offset, zone)?,
            }),
        }
    }
}

/// Reads a date in a role. Without a zone it is in `zone`.
///
/// # Errors
/// As [`Written::parse`].
pub(crate) fn parse(text: &str, role: Role, zone: Tz) -> Result<Time, String> {
    let at = Written::parse(text)?.at(role, zone);
    at.ok_or_else(|| refusal(text))
}

/// Reads the value of a filter. A date without a zone is in `zone`.
///
/// # Errors
/// As [`Written::parse`].
pub(crate) fn parse_span(text: &str, zone: Tz) -> Result<Span, String> {
    let span = Written::parse(text)?.span(zone);
    span.ok_or_else(|| refusal(text))
}

/// Writes an instant in UTC with `Z`. It has a fraction only if the instant has one.
pub(crate) fn write(time: Time) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

fn refusal(text: &str) -> String {
    format!("must be {FORMS}, not {}", quoted(text))
}

fn read(text: &str) -> Option<Written> {
    // All forms begin with a date of ten characters. This is checked because chrono also accepts
    // years of more digits, such as +12026-1-1.
    let has_date = text.len() >= 10
        && text.char_indices().take(10).all(|(at, c)| {
            if at == 4 || at == 7 {
                c == '-'
            } else {
                c.is_ascii_digit()
            }
        });
    let (date, rest) = text.split_at_checked(10).filter(|_| has_date)?;
    let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
    if rest.is_empty() {
        return Some(Written::Day(date, None));
    }
    if !rest.starts_with(['T', 't', ' ']) {
        return Some(Written::Day(date, Some(read_offset(rest)?)));
    }
    // Only the hour 24 is special: it has no minutes, and begins the next day.
    let midnight = rest.get(1..).and_then(|rest| rest.strip_prefix("24:00:00"));
    let (date, time) = match midnight {
        Some(rest) => {
            let digits = rest.strip_prefix('.');
            let zone = digits.map_or(rest, |digits| digits.trim_start_matches('0'));
            if digits.is_some_and(|digits| digits.len() == zone.len()) {
                return None;
            }
            (date.succ_opt()?, format!("00:00:00{zone}"))
        }
        None => (date, rest.get(1..)?.to_owned()),
    };
    if let Ok(at) = DateTime::parse_from_rfc3339(&format!("{date}T{time}")) {
        return to_micros(at.to_utc()).map(Written::Instant);
    }
    let time = NaiveTime::parse_from_str(&time, "%H:%M:%S%.f").ok()?;
    Some(Written::Local(date.and_time(time)))
}

/// `Z`, or an offset of up to 14 hours as XML Schema allows for a date.
fn read_offset(text: &str) -> Option<FixedOffset> {
    if matches!(text, "Z" | "z") {
        return FixedOffset::east_opt(0);
    }
    let sign = match text.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let number = |digits: &str| {
        let is_number = digits.len() == 2 && digits.chars().all(|c| c.is_ascii_digit());
        digits.parse::<i32>().ok().filter(|_| is_number)
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let is_offset = minutes < 60 && hours * 60 + minutes <= 14 * 60;
    FixedOffset::east_opt(sign * (hours * 3_600 + minutes * 60)).filter(|_| is_offset)
}

/// The first instant of a day. When clocks are set forward over midnight, it is the instant at which
/// they are; when they are set back over midnight, the day begins with the first occurrence.
fn first_instant(date: NaiveDate, offset: Option<FixedOffset>, zone: Tz) -> Option<Time> {
    let midnight = date.and_time(NaiveTime::MIN);
    if let Some(offset) = offset {
        return Some(offset.from_local_datetime(&midnight).single()?.to_utc());
    }
    match zone.from_local_datetime(&midnight).earliest() {
        Some(first) => Some(first.to_utc()),
        None => gap(midnight, zone).map(|(begin, offset)| (begin - offset).and_utc()),
    }
}

/// The instant of a local time. A time that occurs twice, because clocks are set back, means the
/// later occurrence. A time that does not occur, because they are set forward, is read with the
/// offset before.
fn instant(local: NaiveDateTime, zone: Tz) -> Option<Time> {
    match zone.from_local_datetime(&local).latest() {
        Some(at) => Some(at.to_utc()),
        None => gap(local, zone).map(|(_, offset)| (local - offset).and_utc()),
    }
}

/// The gap that a local time lies in: its first local time, and the offset before it.
fn gap(local: NaiveDateTime, zone: Tz) -> Option<(NaiveDateTime, FixedOffset)> {
    let (begin, offset) = GapInfo::new(&local, &zone)?.begin?;
    Some((begin, offset.fix()))
}

/// Cuts to microseconds, and moves a leap second to the start of the next minute, because no other
/// part of the program represents leap seconds.
fn to_micros(instant: Time) -> Option<Time> {
    Time::from_timestamp_micros(instant.timestamp_micros())
}
