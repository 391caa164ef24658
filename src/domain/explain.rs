//! Explaining an account's state: why it is blocked, by whom, and which operation lifts each block.

use chrono::TimeDelta;

use super::{
    Account, Authority, Block, Command, Hold, HoldKind, Level, Remedy, State, Status, Time,
};

/// How far ahead the call that lifts an expiry sets the new one: a year.
pub const EXTENSION: TimeDelta = TimeDelta::days(365);

/// The answer to "Why can this account not be used?"
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The computed state.
    pub state: State,
    /// The blocks, in the order of [`Block::ALL`]. A freeze by several authorities or owners is
    /// several entries.
    pub blocks: Vec<BlockDetail>,
    /// The holds that limit the account and those that warn its user, the limits first.
    pub milder: Vec<BlockDetail>,
}

impl Explanation {
    /// What the user can do about the blocks. See [`State::remedy`].
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        self.state.remedy()
    }
}

/// One block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDetail {
    /// Which block.
    pub block: Block,
    /// The hold that causes it. `None` if another fact causes it.
    pub hold: Option<Hold>,
    /// Since when it blocks.
    pub since: Time,
    /// When it ends by itself. `None` if it does not.
    pub until: Option<Time>,
    /// The authorities that may lift it.
    pub lifted_by: Vec<Authority>,
    /// The operation that lifts it.
    pub lift: Lift,
    /// The state after this operation alone.
    pub state_after: State,
}

impl BlockDetail {
    /// The command that lifts the block, for a caller who may. `None` if no command on the account
    /// does.
    #[must_use]
    pub fn command(&self, now: Time) -> Option<Command> {
        let hold = |kind| {
            let hold = self.hold.as_ref();
            Some(Command::Lift {
                kind,
                owner: hold.and_then(|hold| hold.owner.clone()),
                only: hold.map(|hold| hold.id),
            })
        };
        match self.lift {
            Lift::Restore => Some(Command::Restore),
            Lift::Unfreeze => hold(HoldKind::Freeze),
            Lift::Unsuspend => hold(HoldKind::Suspend),
            Lift::UnsuspendReseller => None,
            Lift::Activate => Some(Command::SetStatus(Status::Active)),
            Lift::ExtendExpiry => Some(Command::SetExpiry(Some(now + EXTENSION))),
        }
    }
}

/// The operation that lifts a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lift {
    /// Restore the account.
    Restore,
    /// Close the freeze of the same authority.
    Unfreeze,
    /// Close the suspension of the same authority.
    Unsuspend,
    /// Lift the suspension of the whole reseller.
    UnsuspendReseller,
    /// Turn the switch on.
    Activate,
    /// Move the expiry date into the future, or remove it.
    ExtendExpiry,
}

impl Account {
    /// Explains every block that stands at `now`. To find the state after a lift, it removes the
    /// block from a copy of the account and calls [`Account::state`].
    #[must_use]
    pub fn explain(&self, now: Time) -> Explanation {
        let state = self.state(now);
        let blocks = state
            .blocked_by()
            .iter()
            .flat_map(|block| self.details_of(*block, now))
            .collect();
        let milder = [Level::Limit, Level::Warn].into_iter().flat_map(|level| {
            let all = Block::ALL.into_iter();
            all.flat_map(move |block| self.details_of_holds(block, level, now))
        });
        Explanation {
            blocks,
            milder: milder.collect(),
            state,
        }
    }

    /// The holds in force at a level that cause this block, or would if they were blocks.
    fn details_of_holds(&self, block: Block, level: Level, now: Time) -> Vec<BlockDetail> {
        let holds = self.holds.iter().filter(|hold| {
            hold.in_force(now)
                && hold.details.level == level
                && Block::of_hold(hold.kind, hold.authority) == Some(block)
        });
        holds
            .map(|hold| self.detail_of_hold(block, hold, now))
            .collect()
    }

    fn details_of(&self, block: Block, now: Time) -> Vec<BlockDetail> {
        let anyone = || vec![Authority::Reseller, Authority::Operator];
        let by_fact = |since: Option<Time>, lifted_by, lift, remove: &dyn Fn(&mut Self)| {
            let mut lifted = self.clone();
            remove(&mut lifted);
            let since = since.unwrap_or(self.updated_at);
            vec![BlockDetail {
                block,
                hold: None,
                since,
                until: None,
                lifted_by,
                lift,
                state_after: lifted.state(now),
            }]
        };
        match block {
            Block::Deleted => by_fact(self.deleted_at, anyone(), Lift::Restore, &|it| {
                it.deleted_at = None;
            }),
            Block::ResellerSuspended => by_fact(
                self.reseller_suspended_at,
                vec![Authority::Operator],
                Lift::UnsuspendReseller,
                &|it| it.reseller_suspended_at = None,
            ),
            Block::Inactive => by_fact(Some(self.status_set_at), anyone(), Lift::Activate, &|it| {
                it.status = Status::Active;
            }),
            Block::Expired => {
                let since = self.expires_in_effect_at().max(self.expiry_set_at);
                by_fact(since, anyone(), Lift::ExtendExpiry, &|it| {
                    it.expires_at = None;
                })
            }
            Block::SuspendedByOperator | Block::SuspendedByReseller | Block::Frozen => {
                self.details_of_holds(block, Level::Block, now)
            }
        }
    }

    fn detail_of_hold(&self, block: Block, hold: &Hold, now: Time) -> BlockDetail {
        let mut lifted = self.clone();
        lifted.holds.retain(|other| other.id != hold.id);
        BlockDetail {
            block,
            since: hold.since(),
            until: hold.details.ends_at,
            lifted_by: vec![hold.authority],
            lift: if hold.kind == HoldKind::Freeze {
                Lift::Unfreeze
            } else {
                Lift::Unsuspend
            },
            state_after: lifted.state(now),
            hold: Some(hold.clone()),
        }
    }
}
