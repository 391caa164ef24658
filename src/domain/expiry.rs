//! Expiry: from when on it counts, and what is announced of it.

use chrono::TimeDelta;

use super::{Account, Time};

/// So many days before an account expires, and before it is purged, this is announced.
pub const NOTICE_DAYS: [i64; 3] = [14, 7, 1];

/// The instants at which something that happens at `at` is announced, in order, without that instant itself, each with the
/// days that are left then.
pub(super) fn notices(at: Time) -> impl Iterator<Item = (Time, i64)> {
    NOTICE_DAYS
        .into_iter()
        .filter_map(move |days| Some((at.checked_sub_signed(TimeDelta::days(days))?, days)))
}

/// All instants at which an expiry is announced: the notices, and the expiry itself.
fn announcements(at: Time) -> impl Iterator<Item = Time> {
    notices(at).map(|(at, _)| at).chain([at])
}

impl Account {
    /// From which instant on it is expired: its expiry date, or the end of its exemption where that is later. None: never.
    #[must_use]
    pub fn expires_in_effect_at(&self) -> Option<Time> {
        self.expires_at
            .map(|at| self.exempt_until.map_or(at, |until| until.max(at)))
    }

    /// When its expiry is announced next, decided when the expiry that is in effect was moved from `before`: notices that would lie
    /// in the past are left out; that it is expired is announced whenever it was not so before.
    pub(super) fn next_announcement(&self, before: Option<Time>, now: Time) -> Option<Time> {
        let at = self.expires_in_effect_at()?;
        let is_news =
            at > now || before.is_none_or(|before| before > now) || self.announce_at.is_some();
        announcements(at)
            .find(|one| *one > now)
            .or_else(|| is_news.then_some(at))
    }

    /// When its expiry is announced next, after it was out of sight until now: notices that were missed are left out, that it
    /// expired is not.
    pub(super) fn next_announcement_after_absence(&self, now: Time) -> Option<Time> {
        let (at, pending) = (self.expires_in_effect_at()?, self.announce_at?);
        announcements(at).find(|one| *one >= pending && (*one > now || *one == at))
    }

    /// What is announced of its expiry at `due`, and when the next announcement is: the days that are left, 0 at the expiry.
    pub(super) fn announcement(&self, due: Time) -> Option<(i64, Option<Time>)> {
        let at = self.expires_in_effect_at()?;
        let days = notices(at)
            .find(|(one, _)| *one == due)
            .map_or(0, |(_, days)| days);
        Some((days, announcements(at).find(|one| *one > due)))
    }
}
