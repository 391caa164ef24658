//! The purge: when an account may be removed for good, what stops it, and the plan that says so beforehand.
//!
//! An account is purged at the instant that its plan names and never without one. A plan is made no later than 14 days before
//! that instant, which is announced; whatever is done to the account that bears on it takes it out of the plan.

use chrono::TimeDelta;

use super::expiry::NOTICE_DAYS;
use super::{Account, Authority, HoldKind, Time};

/// How long an account is left alone after the latest of its expiry, the setting of its expiry, and the lifting
/// of a block that only the operator could lift, unless its reseller says otherwise: 30 days.
pub const PURGE_GRACE: TimeDelta = TimeDelta::days(30);
/// How long an account is in the plan before it is purged.
pub const PURGE_NOTICE: TimeDelta = TimeDelta::days(NOTICE_DAYS[0]);

/// What its reseller says of the purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgePolicy {
    /// Whether anything is purged at all.
    pub is_on: bool,
    /// How long an expired account is left alone.
    pub grace: TimeDelta,
    /// When the suspension of the reseller was last lifted, if ever.
    pub reseller_released_at: Option<Time>,
}

/// Why an account is in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeRule {
    /// It was deleted, and the time in which it can be restored is over.
    Deleted,
    /// It expired, and nobody extended it.
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

/// Why an account cannot be purged now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeStop {
    /// Its reseller's accounts are not purged.
    Off,
    /// It is neither deleted nor expired.
    InUse,
    /// A retention hold stands.
    Retention,
    /// It is exempt from automation.
    Exempt,
    /// A block stands that only the operator can lift.
    Operator,
    /// The time in which it can be restored or extended is not over.
    TooEarly {
        /// When it is.
        eligible_at: Time,
    },
}

impl Account {
    /// Under which rule it could be purged.
    #[must_use]
    pub fn purge_rule(&self, now: Time) -> Option<PurgeRule> {
        let is_expired = self.expires_in_effect_at().is_some_and(|at| at <= now);
        if self.deleted_at.is_some() {
            Some(PurgeRule::Deleted)
        } else {
            is_expired.then_some(PurgeRule::Expired)
        }
    }

    /// When its purge would be due: none where it neither is deleted nor ever expires. A back-dated expiry makes nothing due at
    /// once.
    #[must_use]
    pub fn purge_eligible_at(&self, policy: &PurgePolicy) -> Option<Time> {
        if self.deleted_at.is_some() {
            return self.purge_at;
        }
        // A hold of the operator's that ran out was lifted then.
        let run_out = self.holds.iter().filter(|hold| {
            hold.authority == Authority::Operator && hold.kind != HoldKind::Retention
        });
        let run_out = run_out.filter_map(|hold| hold.details.ends_at).max();
        let since = [
            self.expiry_set_at,
            self.operator_released_at,
            policy.reseller_released_at,
            run_out,
        ];
        let latest = since
            .into_iter()
            .flatten()
            .fold(self.expires_in_effect_at()?, Time::max);
        latest.checked_add_signed(policy.grace)
    }

    /// What keeps it from being purged now: none, and it may be.
    #[must_use]
    pub fn purge_stop(&self, policy: &PurgePolicy, now: Time) -> Option<PurgeStop> {
        let stands = |kinds: &[HoldKind], authority: Option<Authority>| {
            let is_meant = |hold: &&super::Hold| {
                kinds.contains(&hold.kind) && authority.is_none_or(|it| it == hold.authority)
            };
            self.holds
                .iter()
                .filter(is_meant)
                .any(|hold| !hold.has_lapsed(now))
        };
        if !policy.is_on {
            return Some(PurgeStop::Off);
        }
        if self.purge_rule(now).is_none() {
            return Some(PurgeStop::InUse);
        }
        if stands(&[HoldKind::Retention], None) {
            return Some(PurgeStop::Retention);
        }
        if self.exempt_until.is_some_and(|until| until > now) {
            return Some(PurgeStop::Exempt);
        }
        if self.reseller_suspended_at.is_some()
            || stands(
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

    /// When it is to be purged, as its plan should say: never sooner than 14 days from when it gets into the plan, and none where
    /// anything stops it or it would be due later than that.
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
