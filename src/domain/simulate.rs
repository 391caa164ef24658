//! Simulations: the results of commands that are not executed, and coming changes of the state.

use super::{Account, Actor, Authority, Change, Command, Error, HoldId, HoldKind, State, Time};

/// The simulated result of one command, after the earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulated {
    /// The decision, or why it would be refused.
    pub decision: Result<Change, Error>,
    /// The state after it.
    pub state: State,
}

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
    /// What these commands would do, one after the other. A refused command changes nothing.
    ///
    /// This calls [`Account::decide`], as executing the commands does, so the results are the same.
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
