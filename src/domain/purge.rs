//! The purge: when an account may be removed for good, what stops it, and the purge plan.
//!
//! An account is purged only if it is in the purge plan, at the instant that the plan names
//! (`purge_due_at`). It enters the plan at least 14 days before that instant, so that all warnings
//! can go out. A change that affects the purge takes it out of the plan again.

use chrono::TimeDelta;

use super::expiry::NOTICE_DAYS;
use super::{Account, Authority, Hold, HoldKind, Time};

/// The default grace period: an expired account is not purged for 30 days. They count from the
/// latest of the expiry, the setting of the expiry date, and the release of a block that only the
/// operator can lift.
pub const PURGE_GRACE: TimeDelta = TimeDelta::days(30);
/// The shortest time that an account is in the plan before it is purged: 14 days.
pub const PURGE_NOTICE: TimeDelta = TimeDelta::days(NOTICE_DAYS[0]);

/// A reseller's settings for the purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgePolicy {
    /// Whether the reseller's accounts are purged at all.
    pub is_on: bool,
    /// How long an expired account is kept before it may be purged.
    pub grace: TimeDelta,
    /// When the operator last lifted the reseller's suspension. `None` if it was never suspended.
    pub reseller_released_at: Option<Time>,
}

/// The rule under which an account may be purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeRule {
    /// It was deleted, and the restore window is over.
    Deleted,
    /// It expired, and nobody extended it within the grace period.
    Expired,
}

impl PurgeRule {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Expired => "expired",
        }
    }
}

/// Why an account cannot be purged at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeStop {
    /// The purge is switched off for its reseller.
    Off,
    /// It is neither deleted nor expired.
    InUse,
    /// A retention hold is open.
    Retention,
    /// It is exempt from automation.
    Exempt,
    /// It has a block that only the operator can lift.
    Operator,
    /// The restore window or the grace period is not over.
    TooEarly {
        /// The first instant at which it may be purged.
        eligible_at: Time,
    },
}

impl Account {
    /// The rule under which it may be purged. `None` if it is neither deleted nor expired.
    #[must_use]
    pub fn purge_rule(&self, now: Time) -> Option<PurgeRule> {
        let is_expired = self.expires_in_effect_at().is_some_and(|at| at <= now);
        if self.deleted_at.is_some() {
            Some(PurgeRule::Deleted)
        } else {
            is_expired.then_some(PurgeRule::Expired)
        }
    }

    /// The earliest time of the purge, ignoring whatever stops it.
    ///
    /// For a deleted account this is the end of the restore window. For any other account it is one
    /// grace period after the latest of these: the effective expiry, the setting of the expiry
    /// date, and the operator's last release of a block of the account or of its reseller. A
    /// back-dated expiry therefore purges nothing at once. `None` if the account is not deleted and
    /// never expires.
    #[must_use]
    pub fn purge_eligible_at(&self, policy: &PurgePolicy) -> Option<Time> {
        if self.deleted_at.is_some() {
            return self.purge_at;
        }
        // A hold of the operator that lapsed counts as released at its end.
        let operator_holds = self.holds.iter().filter(|hold| {
            hold.authority == Authority::Operator && hold.kind != HoldKind::Retention
        });
        let operator_holds_end = operator_holds.filter_map(|hold| hold.details.ends_at).max();
        let restarts = [
            self.expiry_set_at,
            self.operator_released_at,
            policy.reseller_released_at,
            operator_holds_end,
        ];
        let latest = restarts
            .into_iter()
            .flatten()
            .fold(self.expires_in_effect_at()?, Time::max);
        latest.checked_add_signed(policy.grace)
    }

    /// What stops its purge at `now`. `None` means that it may be purged.
    #[must_use]
    pub fn purge_stop(&self, policy: &PurgePolicy, now: Time) -> Option<PurgeStop> {
        let has_open = |kinds: &[HoldKind], authority: Option<Authority>| {
            let matches = |hold: &&Hold| {
                kinds.contains(&hold.kind) && authority.is_none_or(|it| it == hold.authority)
            };
            self.holds
                .iter()
                .filter(matches)
                .any(|hold| !hold.has_lapsed(now))
        };
        if !policy.is_on {
            return Some(PurgeStop::Off);
        }
        if self.purge_rule(now).is_none() {
            return Some(PurgeStop::InUse);
        }
        if has_open(&[HoldKind::Retention], None) {
            return Some(PurgeStop::Retention);
        }
        if self.exempt_until.is_some_and(|until| until > now) {
            return Some(PurgeStop::Exempt);
        }
        if self.reseller_suspended_at.is_some()
            || has_open(
                &[HoldKind::Freeze, HoldKind::Suspend],
                Some(Authority::Operator),
            )
        {
            return Some(PurgeStop::Operator);
        }
        match self.purge_eligible_at(policy) {
            Some(eligible_at) if eligible_at <= now => None,
            Some(eligible_at) => Some(PurgeStop::TooEarly { eligible_at }),
            None => Some(PurgeStop::InUse),
        }
    }

    /// When the purge plan should purge it. `None` if it does not belong into the plan: something
    /// stops the purge, or it may be purged only later than 14 days from now.
    ///
    /// An account that enters the plan is due in 14 days. An account in the plan keeps its instant
    /// as long as it may be purged then.
    pub(super) fn purge_plan(&self, policy: &PurgePolicy, now: Time) -> Option<Time> {
        let eligible_at = match self.purge_stop(policy, now) {
            None => now,
            Some(PurgeStop::TooEarly { eligible_at }) => eligible_at,
            Some(
                PurgeStop::Off
                | PurgeStop::InUse
                | PurgeStop::Retention
                | PurgeStop::Exempt
                | PurgeStop::Operator,
            ) => return None,
        };
        let Some(planned) = self.purge_due_at else {
            let soonest = now.checked_add_signed(PURGE_NOTICE)?;
            return (eligible_at <= soonest).then_some(soonest);
        };
        (eligible_at <= planned).then_some(planned)
    }
}
