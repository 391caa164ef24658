//! When an expired account may be purged, and what stops it. The purge itself is off by default and has no
//! runner yet; the rule stands here so that every later part asks the same function.

use chrono::TimeDelta;

use super::{Account, HoldKind, Time};

/// How long an account is left alone after the latest of its expiry, the setting of its expiry, and the lifting
/// of a block that only the operator could lift: 30 days.
pub const PURGE_GRACE: TimeDelta = TimeDelta::days(30);

/// Why an account is not in the purge plan although it is past its expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeStop {
    /// It never expires, or not yet.
    NotExpired,
    /// The 30 days are not over.
    TooEarly {
        /// When they are.
        eligible_at: Time,
    },
    /// A retention hold stands.
    Retention,
}

/// When the purge rule would apply to this account: none where it never expires. `reseller_released_at` is when
/// the suspension of its reseller was last lifted, if ever.
#[must_use]
pub fn purge_eligible_at(account: &Account, reseller_released_at: Option<Time>) -> Option<Time> {
    let expires_at = account.expires_at?;
    let latest = [account.expiry_set_at, account.operator_released_at, reseller_released_at].into_iter().flatten().fold(expires_at, Time::max);
    latest.checked_add_signed(PURGE_GRACE)
}

/// What keeps the account out of the purge plan now: none, and it is in.
#[must_use]
pub fn purge_stop(account: &Account, reseller_released_at: Option<Time>, now: Time) -> Option<PurgeStop> {
    if account.expires_at.is_none_or(|at| at > now) {
        return Some(PurgeStop::NotExpired);
    }
    if account.holds.iter().any(|hold| hold.kind == HoldKind::Retention && !hold.has_lapsed(now)) {
        return Some(PurgeStop::Retention);
    }
    match purge_eligible_at(account, reseller_released_at) {
        Some(eligible_at) if eligible_at <= now => None,
        Some(eligible_at) => Some(PurgeStop::TooEarly { eligible_at }),
        None => Some(PurgeStop::NotExpired),
    }
}
