//! Expiry: when an account is expired, and when its expiry is announced.
//!
//! An expiry is announced 14, 7 and 1 days before, and when it happens. `announce_at` holds the
//! next of these instants; the background job announces what is due and moves it on.

use chrono::TimeDelta;

use super::{Account, Time};

/// How many days before an expiry, and before a purge, a notice goes out.
pub const NOTICE_DAYS: [i64; 3] = [14, 7, 1];

/// The instants of the notices for something that happens at `at`, in order, each with the number
/// of days left. `at` itself is not among them.
pub(super) fn notices(at: Time) -> impl Iterator<Item = (Time, i64)> {
    NOTICE_DAYS
        .into_iter()
        .filter_map(move |days| Some((at.checked_sub_signed(TimeDelta::days(days))?, days)))
}

/// All instants at which an expiry at `at` is announced: the notices and `at` itself.
fn announcements(at: Time) -> impl Iterator<Item = Time> {
    notices(at).map(|(notice_at, _)| notice_at).chain([at])
}

impl Account {
    /// When the account counts as expired: its expiry date, or the end of its exemption if that is
    /// later. `None` means never.
    #[must_use]
    pub fn expires_in_effect_at(&self) -> Option<Time> {
        self.expires_at
            .map(|at| self.exempt_until.map_or(at, |until| until.max(at)))
    }

    /// The next announcement, after the effective expiry moved from `before`. Notices whose instant
    /// has passed are skipped. If the account is expired now, this is announced, unless it was
    /// announced already for `before`.
    pub(super) fn next_expiry_announcement(&self, before: Option<Time>, now: Time) -> Option<Time> {
        let at = self.expires_in_effect_at()?;
        let is_unannounced =
            at > now || before.is_none_or(|before| before > now) || self.announce_at.is_some();
        announcements(at)
            .find(|instant| *instant > now)
            .or_else(|| is_unannounced.then_some(at))
    }

    /// The next announcement after a restore. Notices that fell due while the account was deleted
    /// are skipped; the expiry itself is still announced.
    pub(super) fn next_announcement_after_restore(&self, now: Time) -> Option<Time> {
        let (at, pending) = (self.expires_in_effect_at()?, self.announce_at?);
        announcements(at).find(|instant| *instant >= pending && (*instant > now || *instant == at))
    }

    /// The announcement that is due at `due`: the number of days left (0 at the expiry itself), and
    /// when the next announcement is due. `None` if the account never expires.
    pub(super) fn expiry_announcement(&self, due: Time) -> Option<(i64, Option<Time>)> {
        let at = self.expires_in_effect_at()?;
        let days = notices(at)
            .find(|(notice_at, _)| *notice_at == due)
            .map_or(0, |(_, days)| days);
        Some((days, announcements(at).find(|instant| *instant > due)))
    }
}
