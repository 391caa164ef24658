//! Coming changes of the state: what happens at a set time, without a command.

use super::{Account, Authority, HoldId, HoldKind, State, Time};

/// Something that happens to an account at a set time, without a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coming {
    /// A hold begins to block.
    HoldStarts(HoldKind, Authority, HoldId),
    /// A hold lapses.
    HoldEnds(HoldKind, Authority, HoldId),
    /// The account expires.
    Expires,
    /// The account is purged as planned.
    Purge,
}

/// One thing that will happen without a command, and the state afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upcoming {
    /// When it happens.
    pub at: Time,
    /// What happens.
    pub what: Coming,
    /// The state from then on, provided that no command changes the account.
    pub state: State,
}

impl Account {
    /// Whether all that an answer computes from the account has been the same from its last change
    /// until `now`: nothing came about by time, neither the plan nor the reseller's suspension
    /// changed. Suspensions that were lifted since are not known here.
    #[must_use]
    pub fn is_as_it_was_changed(&self, now: Time) -> bool {
        let since = self.updated_at;
        let coming = self.upcoming(since);
        let plan = self.plan.as_ref().map(|plan| plan.updated_at);
        coming.first().is_none_or(|next| next.at > now)
            && plan.is_none_or(|at| at < since)
            && self.reseller_suspended_at.is_none_or(|at| at < since)
    }

    /// What will happen to the account after `now` without a command, in order of time.
    #[must_use]
    pub fn upcoming(&self, now: Time) -> Vec<Upcoming> {
        let holds = self.holds.iter().flat_map(|hold| {
            let starts = hold
                .details
                .starts_at
                .map(|at| (at, Coming::HoldStarts(hold.kind, hold.authority, hold.id)));
            let ends = hold
                .details
                .ends_at
                .map(|at| (at, Coming::HoldEnds(hold.kind, hold.authority, hold.id)));
            starts.into_iter().chain(ends)
        });
        let expires = self.expires_in_effect_at().map(|at| (at, Coming::Expires));
        let purge = self.purge_due_at.map(|at| (at, Coming::Purge));
        let mut coming: Vec<_> = holds
            .chain(expires)
            .chain(purge)
            .filter(|(at, _)| *at > now)
            .collect();
        coming.sort_by_key(|(at, _)| *at);
        coming
            .into_iter()
            .map(|(at, what)| Upcoming {
                at,
                what,
                state: self.state(at),
            })
            .collect()
    }
}
