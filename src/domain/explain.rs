//! Why an account is blocked, by whom, and which command lifts what.

use super::{Account, Authority, Block, Hold, HoldKind, Remedy, State, Status, Time};

/// The answer to "why can this account not be used?".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The computed state.
    pub state: State,
    /// One entry per block and authority, in the order of [`Block::ALL`].
    pub blocks: Vec<BlockDetail>,
}

impl Explanation {
    /// What the user can do.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        self.state.remedy()
    }
}

/// One block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDetail {
    /// Which.
    pub block: Block,
    /// The hold behind it, if it is one.
    pub hold: Option<Hold>,
    /// Since when it blocks.
    pub since: Time,
    /// When it ends by itself, if it does.
    pub until: Option<Time>,
    /// Who may lift it.
    pub lifted_by: Vec<Authority>,
    /// What lifts it.
    pub lift: Lift,
    /// The state after that and nothing else.
    pub state_after: State,
}

/// The operation that lifts a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lift {
    /// Take the deletion back.
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
    /// Explains every block that stands now. The state after each lift is computed by the same function as
    /// every other state, on the account without that block.
    #[must_use]
    pub fn explain(&self, now: Time) -> Explanation {
        let state = self.state(now);
        let blocks = state
            .blocked_by()
            .iter()
            .flat_map(|block| self.details_of(*block, now))
            .collect();
        Explanation { state, blocks }
    }

    fn details_of(&self, block: Block, now: Time) -> Vec<BlockDetail> {
        let anyone = || vec![Authority::Reseller, Authority::Operator];
        let fact = |since: Option<Time>, lifted_by, lift, mend: &dyn Fn(&mut Self)| {
            let mut mended = self.clone();
            mend(&mut mended);
            let since = since.unwrap_or(self.updated_at);
            vec![BlockDetail {
                block,
                hold: None,
                since,
                until: None,
                lifted_by,
                lift,
                state_after: mended.state(now),
            }]
        };
        match block {
            Block::Deleted => fact(self.deleted_at, anyone(), Lift::Restore, &|it| {
                it.deleted_at = None;
            }),
            Block::ResellerSuspended => fact(
                self.reseller_suspended_at,
                vec![Authority::Operator],
                Lift::UnsuspendReseller,
                &|it| it.reseller_suspended_at = None,
            ),
            Block::Inactive => fact(Some(self.status_set_at), anyone(), Lift::Activate, &|it| {
                it.status = Status::Active;
            }),
            Block::Expired => {
                let since = self.expires_in_effect_at().max(self.expiry_set_at);
                fact(since, anyone(), Lift::ExtendExpiry, &|it| {
                    it.expires_at = None;
                })
            }
            Block::SuspendedByOperator | Block::SuspendedByReseller | Block::Frozen => {
                let holds = self.holds.iter().filter(|hold| {
                    hold.in_force(now) && Block::of_hold(hold.kind, hold.authority) == Some(block)
                });
                holds
                    .map(|hold| self.detail_of_hold(block, hold, now))
                    .collect()
            }
        }
    }

    fn detail_of_hold(&self, block: Block, hold: &Hold, now: Time) -> BlockDetail {
        let mut mended = self.clone();
        mended.holds.retain(|other| other.id != hold.id);
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
            state_after: mended.state(now),
            hold: Some(hold.clone()),
        }
    }
}
