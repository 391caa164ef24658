//! All forms of dates in all roles, and in every time zone against a reckoning of its own.

use std::fmt::Write as _;

use chrono::{Datelike as _, Days};

use super::*;

/// Fixed instants that are written in any zone: after all of the dates below.
const NOW: &str = "2100-01-01T00:00:00Z";

fn role(name: &str) -> Role {
    match name {
        "end" => Role::End,
        "start" => Role::Begin,
        _ => Role::AsOf(NOW.parse().unwrap()),
    }
}

#[test]
fn dates_are_read_in_all_their_forms() {
    let berlin = Tz::Europe__Berlin;
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
        ("2026-12-31t10:20:30z", berlin, "2026-12-31T10:20:30Z"),
        ("2026-12-31 10:20:30", berlin, "2026-12-31T09:20:30Z"),
        ("2026-12-31T10:20:30", Tz::UTC, "2026-12-31T10:20:30Z"),
        ("2026-12-31T10:20:30.25", berlin, "2026-12-31T09:20:30.250Z"),
        ("2026-12-31", Tz::UTC, "2026-12-31T23:59:59Z"),
        (
            " 2026-06-30 ",
            Tz::America__New_York,
            "2026-07-01T03:59:59Z",
        ),
        // A date with a zone is a whole day there, wherever the reseller is.
        ("2026-06-30Z", berlin, "2026-06-30T23:59:59Z"),
        (
            "2026-06-30+02:00",
            Tz::America__New_York,
            "2026-06-30T21:59:59Z",
        ),
        ("2026-06-30-14:00", Tz::UTC, "2026-07-01T13:59:59Z"),
        // The end of a day by the clock is the begin of the next one.
        ("2026-12-31T24:00:00Z", berlin, "2027-01-01T00:00:00Z"),
        ("2026-12-31T24:00:00", berlin, "2026-12-31T23:00:00Z"),
        (
            "2026-12-31T24:00:00.000+01:00",
            Tz::UTC,
            "2026-12-31T23:00:00Z",
        ),
        ("2028-02-28T24:00:00Z", Tz::UTC, "2028-02-29T00:00:00Z"),
        // An hour that occurs twice, and one that does not occur.
        ("2026-10-25T02:30:00", berlin, "2026-10-25T01:30:00Z"),
        ("2026-03-29T02:30:00", berlin, "2026-03-29T01:30:00Z"),
        // Two hours, and a day, that do not occur.
        (
            "2026-03-29T02:30:00",
            Tz::Antarctica__Troll,
            "2026-03-29T02:30:00Z",
        ),
        (
            "2011-12-30T12:00:00",
            Tz::Pacific__Apia,
            "2011-12-30T22:00:00Z",
        ),
        // A day that begins at one o'clock, and the day before it.
        ("2018-11-03", Tz::America__Sao_Paulo, "2018-11-04T02:59:59Z"),
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
        ("2026-12-31T10:20:60", berlin, "2026-12-31T09:21:00Z"),
    ] {
        let read = parse(text, Role::End, zone).map(write);
        assert_eq!(read, Ok(means.to_owned()), "{text} in {zone}");
    }
}

#[test]
fn what_is_no_date_is_refused_with_the_value_and_the_forms() {
    for bad in [
        "",
        "tomorrow",
        "2026-13-01",
        "2026-02-30",
        "31.12.2026",
        "2026-1-1",
        "20261231",
        "+12026-01-01",
        "-2026-01-01",
        "2026-12-31T",
        "2026-12-31T25:00:00Z",
        "2026-12-31T24:00:01Z",
        "2026-12-31T24:00:00.5Z",
        "2026-12-31T24:00:00.Z",
        "2026-12-31T24:30:00",
        "2026-12-31T23:60:00",
        "2026-12-31T10:20:30+2",
        "2026-12-31T10:20:30 Europe/Berlin",
        "2026-12-31X",
        "2026-12-31+15:00",
        "2026-12-31+14:30",
        "2026-12-31+02",
        "2026-12-31+2:00",
        "2026-12-31+\u{662}0:00",
        "2026-12-3\u{661}",
        "1798675200",
    ] {
        let refused = parse(bad, Role::End, Tz::UTC).unwrap_err();
        assert!(
            refused.contains("2026-12-31T23:59:59+02:00")
                && refused.ends_with(&format!("not {bad:?}")),
            "{refused}"
        );
    }
    let long = parse(&"x".repeat(1_000), Role::End, Tz::UTC).unwrap_err();
    assert!(long.ends_with("x\"...") && long.len() < 250, "{long}");
}

/// What each role makes of a date: a day in summer, the day of each change of clocks, and today.
#[test]
fn a_date_alone_is_a_whole_day_in_the_way_of_its_role() {
    let mut table = String::new();
    for (zone, date) in [
        (Tz::UTC, "2026-06-30"),
        (Tz::Europe__Berlin, "2026-03-29"),
        (Tz::Europe__Berlin, "2026-10-25"),
        (Tz::America__Sao_Paulo, "2018-11-04"),
        (Tz::Pacific__Apia, "2011-12-30"),
        (Tz::Asia__Kathmandu, "2100-01-01"),
    ] {
        let at = |name| write(parse(date, role(name), zone).unwrap());
        let span = parse_span(date, zone).unwrap();
        let (first, next) = (write(span.first), write(span.next));
        let [end, begin, as_of] = ["end", "start", "asOf"].map(at);
        writeln!(
            table,
            "{date} {zone}: start {begin} end {end} asOf {as_of} filter {first} to {next}"
        )
        .unwrap();
    }
    insta::assert_snapshot!(table, @"
    2026-06-30 UTC: start 2026-06-30T00:00:00Z end 2026-06-30T23:59:59Z asOf 2026-06-30T23:59:59.999999Z filter 2026-06-30T00:00:00Z to 2026-07-01T00:00:00Z
    2026-03-29 Europe/Berlin: start 2026-03-28T23:00:00Z end 2026-03-29T21:59:59Z asOf 2026-03-29T21:59:59.999999Z filter 2026-03-28T23:00:00Z to 2026-03-29T22:00:00Z
    2026-10-25 Europe/Berlin: start 2026-10-24T22:00:00Z end 2026-10-25T22:59:59Z asOf 2026-10-25T22:59:59.999999Z filter 2026-10-24T22:00:00Z to 2026-10-25T23:00:00Z
    2018-11-04 America/Sao_Paulo: start 2018-11-04T03:00:00Z end 2018-11-05T01:59:59Z asOf 2018-11-05T01:59:59.999999Z filter 2018-11-04T03:00:00Z to 2018-11-05T02:00:00Z
    2011-12-30 Pacific/Apia: start 2011-12-30T10:00:00Z end 2011-12-30T09:59:59Z asOf 2011-12-30T09:59:59.999999Z filter 2011-12-30T10:00:00Z to 2011-12-30T10:00:00Z
    2100-01-01 Asia/Kathmandu: start 2099-12-31T18:15:00Z end 2100-01-01T18:14:59Z asOf 2100-01-01T00:00:00Z filter 2099-12-31T18:15:00Z to 2100-01-01T18:15:00Z
    ");
}

/// The offsets of a zone, as spans of UTC seconds in which one offset is in force. Found by looking
/// at single instants only; nothing here turns a local time into an instant.
struct Reckoning {
    /// First second, the second after the last one, and seconds east of UTC.
    spans: Vec<(i64, i64, i64)>,
}

const DAY: i64 = 86_400;

impl Reckoning {
    fn of(zone: Tz) -> Self {
        let offset = |second: i64| -> i64 {
            let at = DateTime::from_timestamp(second, 0).unwrap().naive_utc();
            zone.offset_from_utc_datetime(&at)
                .fix()
                .local_minus_utc()
                .into()
        };
        let (from, to) = (-2 * DAY, 68 * 366 * DAY);
        let mut spans = Vec::new();
        let (mut start, mut at) = (from, from);
        while at < to {
            let next = at + DAY;
            if offset(next) == offset(at) {
                at = next;
                continue;
            }
            // The first second with another offset.
            let (mut same, mut other) = (at, next);
            while other - same > 1 {
                let middle = same + (other - same) / 2;
                if offset(middle) == offset(at) {
                    same = middle;
                } else {
                    other = middle;
                }
            }
            spans.push((start, other, offset(at)));
            start = other;
            at = other;
        }
        spans.push((start, i64::MAX, offset(at)));
        Self { spans }
    }

    /// The second of a local time: the last one that shows it; if none does, as if the clocks had
    /// not been set forward yet.
    fn instant(&self, local: i64) -> i64 {
        let shows =
            |(start, end, offset): &&(i64, i64, i64)| (*start..*end).contains(&(local - offset));
        if let Some((_, _, offset)) = self.spans.iter().rev().find(shows) {
            return local - offset;
        }
        let is_before = |(_, end, offset): &&(i64, i64, i64)| *end <= local - offset;
        local - self.spans.iter().rev().find(is_before).unwrap().2
    }

    /// The first second at which the clocks show this day or a later one.
    fn first(&self, day: i64) -> i64 {
        let first = |(start, end, offset): &(i64, i64, i64)| {
            let first = (day * DAY - offset).max(*start);
            (first < *end).then_some(first)
        };
        self.spans.iter().find_map(first).unwrap()
    }
}

/// The Unix epoch as chrono numbers days.
fn days(date: NaiveDate) -> i64 {
    i64::from(date.num_days_from_ce()) - 719_163
}

fn seconds(time: Time) -> i64 {
    assert_eq!(time.timestamp_subsec_nanos(), 0);
    time.timestamp()
}

#[test]
fn every_form_in_every_role_and_zone_is_what_the_clocks_there_show() {
    let mut checked = 0;
    for zone in chrono_tz::TZ_VARIANTS {
        let reckoning = Reckoning::of(zone);
        let changes: Vec<i64> = reckoning.spans.iter().skip(1).map(|span| span.0).collect();
        let some_days = [0, 365 * 30, 365 * 60].map(|day| day * DAY);
        for change in changes.into_iter().chain(some_days) {
            let around = DateTime::from_timestamp(change, 0).unwrap().date_naive();
            for date in [-1, 0, 1, 2].map(|shift: i64| around + TimeDelta::days(shift)) {
                let (first, next) = (reckoning.first(days(date)), reckoning.first(days(date) + 1));
                let text = date.to_string();
                let at = |role| seconds(parse(&text, role, zone).unwrap());
                let now = |second: i64| Role::AsOf(DateTime::from_timestamp(second, 0).unwrap());
                assert_eq!(at(Role::Begin), first, "{zone} {text}");
                assert_eq!(at(Role::End), next - 1, "{zone} {text}");
                let span = parse_span(&text, zone).unwrap();
                assert_eq!(
                    (seconds(span.first), seconds(span.next)),
                    (first, next),
                    "{zone} {text}"
                );
                if first < next {
                    assert_eq!(at(now(first)), first, "{zone} {text}: today is now");
                    assert_eq!(at(now(next - 1)), next - 1, "{zone} {text}: today is now");
                }
                let past = parse(&text, now(next + 1), zone).unwrap();
                assert_eq!(
                    past + TimeDelta::microseconds(1),
                    DateTime::from_timestamp(next, 0).unwrap()
                );
                // The clock's end of a day is a time of the next one.
                let midnight = reckoning.instant((days(date) + 1) * DAY);
                assert_eq!(
                    seconds(parse(&format!("{text}T24:00:00"), Role::End, zone).unwrap()),
                    midnight
                );
                assert_eq!(at_offset(&text, "Z"), days(date) * DAY);
                assert_eq!(at_offset(&text, "+05:30"), days(date) * DAY - 19_800);
                checked += 1;
            }
            // Local times around the change, by the offsets before and after it.
            for shift in [
                -7_201, -3_600, -1, 0, 1, 1_799, 1_800, 3_599, 3_600, 7_200, 43_200,
            ] {
                for offset in offsets_around(&reckoning, change) {
                    let local = change + offset + shift;
                    let written = DateTime::from_timestamp(local, 0).unwrap();
                    let text = written.format("%Y-%m-%dT%H:%M:%S").to_string();
                    let expected = reckoning.instant(local);
                    for role in [Role::Begin, Role::End, role("asOf")] {
                        assert_eq!(
                            seconds(parse(&text, role, zone).unwrap()),
                            expected,
                            "{zone} {text}"
                        );
                    }
                    let span = parse_span(&format!("{text}.5"), zone).unwrap();
                    assert_eq!(span, Span::of(span.first));
                    assert_eq!(
                        span.first,
                        DateTime::from_timestamp(expected, 500_000_000).unwrap()
                    );
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 800_000, "{checked}");
}

fn at_offset(date: &str, offset: &str) -> i64 {
    seconds(parse(&format!("{date}{offset}"), Role::Begin, Tz::Pacific__Apia).unwrap())
}

fn offsets_around(reckoning: &Reckoning, change: i64) -> Vec<i64> {
    let touches = |span: &&(i64, i64, i64)| {
        span.0 == change || span.1 == change || (span.0..span.1).contains(&change)
    };
    let offsets = reckoning.spans.iter().filter(touches).map(|span| span.2);
    offsets.collect()
}

#[test]
fn days_follow_each_other_without_a_hole() {
    let mut date = NaiveDate::from_ymd_opt(2011, 12, 20).unwrap();
    for _ in 0..30 {
        let next = date + Days::new(1);
        for zone in [Tz::Pacific__Apia, Tz::UTC, Tz::Antarctica__Troll] {
            let (this, that) = (
                parse_span(&date.to_string(), zone),
                parse_span(&next.to_string(), zone),
            );
            assert_eq!(this.unwrap().next, that.unwrap().first);
        }
        date = next;
    }
}
