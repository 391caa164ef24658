//! What commands would do, and what will happen by itself.

use super::{Account, Actor, Authority, Change, Command, Error, HoldId, HoldKind, State, Time};

/// What one command of several would do after those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulated {
    /// The decision, or why it would be refused.
    pub decision: Result<Change, Error>,
    /// The state after it.
    pub state: State,
}

/// Something that happens to an account without anybody asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coming {
    /// A hold begins to block.
    HoldStarts(HoldKind, Authority, HoldId),
    /// A hold ends.
    HoldEnds(HoldKind, Authority, HoldId),
    /// It expires.
    Expires,
    /// It will be purged.
    Purge,
}

/// When something happens, and the state from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upcoming {
    /// When.
    pub at: Time,
    /// What.
    pub what: Coming,
    /// The state from then on, if nobody does anything.
    pub state: State,
}

impl Account {
    /// What commands would do, one after the other; one that is refused changes nothing. It is what [`Account::decide`] says, so
    /// it is what they will do.
    #[must_use]
    pub fn simulate(&self, commands: &[Command], by: &Actor, now: Time) -> Vec<Simulated> {
        let mut account = self.clone();
        let step = |command| {
            let decision = account.decide(command, by, now);
            if let Ok(change) = &decision {
                account = change.after.clone();
            }
            Simulated {
                decision,
                state: account.state(now),
            }
        };
        commands.iter().map(step).collect()
    }

    /// What will happen by itself after `now`, in order.
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
