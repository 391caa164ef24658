//! Reading and writing dates.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeZone as _};
use chrono_tz::Tz;

use crate::domain::Time;

/// Reads a date, or a date and time with `Z`, an offset or no zone. A fraction of a second is cut
/// to microseconds. A time without a zone is in `zone`; a date alone means the last second of that
/// day in `zone`.
///
/// # Errors
/// A message for the caller that names the accepted forms.
pub(crate) fn parse(text: &str, zone: Tz) -> Result<Time, String> {
    let text = text.trim();
    let refuse =
        || "must be a date (2026-12-31) or a date and time (2026-12-31T23:59:59Z)".to_owned();
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
    if !has_date {
        return Err(refuse());
    }
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return to_micros(instant.to_utc()).ok_or_else(refuse);
    }
    let local = match NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        Ok(date) => date.and_time(NaiveTime::from_hms_opt(23, 59, 59).unwrap_or_default()),
        Err(_) => {
            NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map_err(|_| refuse())?
        }
    };
    // When clocks are set back, one hour occurs twice, and a time in it means the later occurrence.
    // When clocks are set forward, one hour is missing, and a time in it is read with the earlier
    // offset.
    let instant = zone
        .from_local_datetime(&local)
        .latest()
        .map(|instant| instant.to_utc());
    let missing_hour = || {
        zone.from_local_datetime(&(local - chrono::TimeDelta::hours(1)))
            .latest()
            .map(|instant| instant.to_utc() + chrono::TimeDelta::hours(1))
    };
    instant
        .or_else(missing_hour)
        .and_then(to_micros)
        .ok_or_else(refuse)
}

/// Cuts to microseconds, and moves a leap second to the start of the next minute, because no other
/// part of the program represents leap seconds.
fn to_micros(instant: Time) -> Option<Time> {
    Time::from_timestamp_micros(instant.timestamp_micros())
}

/// Writes an instant in UTC with `Z`. It has a fraction only if the instant has one.
pub(crate) fn write(time: Time) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_all_their_forms() {
        for (text, zone, means) in [
            ("2026-12-31T10:20:30Z", Tz::UTC, "2026-12-31T10:20:30Z"),
            (
                "2026-12-31T10:20:30.5+02:00",
                Tz::UTC,
                "2026-12-31T08:20:30.500Z",
            ),
            (
                "2026-12-31T10:20:30.123456789Z",
                Tz::UTC,
                "2026-12-31T10:20:30.123456Z",
            ),
            ("2026-12-31T10:20:30", Tz::UTC, "2026-12-31T10:20:30Z"),
            (
                "2026-12-31T10:20:30.25",
                Tz::Europe__Berlin,
                "2026-12-31T09:20:30.250Z",
            ),
            ("2026-12-31", Tz::UTC, "2026-12-31T23:59:59Z"),
            (
                " 2026-06-30 ",
                Tz::America__New_York,
                "2026-07-01T03:59:59Z",
            ),
            (
                "2026-10-25T02:30:00",
                Tz::Europe__Berlin,
                "2026-10-25T01:30:00Z",
            ),
            (
                "2026-03-29T02:30:00",
                Tz::Europe__Berlin,
                "2026-03-29T01:30:00Z",
            ),
            ("1969-12-31T23:59:59Z", Tz::UTC, "1969-12-31T23:59:59Z"),
            (
                "1969-12-31T23:59:59.1234567Z",
                Tz::UTC,
                "1969-12-31T23:59:59.123456Z",
            ),
            (
                "2016-12-31T23:59:60.5Z",
                Tz::UTC,
                "2017-01-01T00:00:00.500Z",
            ),
            (
                "2026-12-31T10:20:60",
                Tz::Europe__Berlin,
                "2026-12-31T09:21:00Z",
            ),
        ] {
            assert_eq!(parse(text, zone).map(write), Ok(means.to_owned()), "{text}");
        }
        for bad in [
            "",
            "tomorrow",
            "2026-13-01",
            "2026-02-30",
            "31.12.2026",
            "2026-1-1",
            "20261231",
            "+12026-01-01",
            "2026-12-31T25:00:00Z",
            "2026-12-31X",
            "1798675200",
        ] {
            assert!(parse(bad, Tz::UTC).is_err(), "{bad} was accepted");
        }
    }
}
