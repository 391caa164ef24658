//! The account: the facts that are stored, and nothing that could be computed from them.

use std::sync::Arc;

use uuid::Uuid;

use super::{AccountId, Hold, HoldKind, Plan, Profile, ResellerId, Time};

/// The switch that activate and deactivate set. It reads back exactly as it was set: no block changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// On.
    Active,
    /// Off.
    Inactive,
}

impl Status {
    /// The word on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
        }
    }

    /// The status of a word, if it is one; case matters.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Active, Self::Inactive]
            .into_iter()
            .find(|it| it.as_str() == word)
    }
}

/// Everything that is stored of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The integer identity.
    pub id: AccountId,
    /// The outside identity.
    pub uid: Uuid,
    /// Its owner; never changes.
    pub reseller_id: ResellerId,
    /// Since when its reseller is suspended as a whole, if it is.
    pub reseller_suspended_at: Option<Time>,
    /// What is known of it besides the lifecycle. Shared: most changes leave it as it is.
    pub profile: Arc<Profile>,
    /// Its plan as that is now, if it has one.
    pub plan: Option<Arc<Plan>>,
    /// The switch.
    pub status: Status,
    /// When the switch was last moved.
    pub status_set_at: Time,
    /// From this instant on it is expired; none: never.
    pub expires_at: Option<Time>,
    /// When the expiry was last set: a back-dated expiry does not make a purge due at once.
    pub expiry_set_at: Option<Time>,
    /// Until when automation leaves it alone: it does not expire, and nothing is planned for it. What people do is not held back.
    pub exempt_until: Option<Time>,
    /// When its expiry is announced next; none: there is nothing left to announce.
    pub announce_at: Option<Time>,
    /// When it was deleted, if it is.
    pub deleted_at: Option<Time>,
    /// When a deleted account may be purged; set with `deleted_at` and never moved.
    pub purge_at: Option<Time>,
    /// When it is going to be purged, if it is in the plan.
    pub purge_due_at: Option<Time>,
    /// When its purge is announced next; none: there is nothing left to announce.
    pub warn_at: Option<Time>,
    /// When an operator's block was last lifted: the 30 days before a purge start again then.
    pub operator_released_at: Option<Time>,
    /// Its open holds, lapsed ones included.
    pub holds: Vec<Hold>,
    /// 1 when created, one more with every change; the number of its latest event.
    pub version: i64,
    /// When it was made.
    pub created_at: Time,
    /// When it last changed.
    pub updated_at: Time,
}

/// What the creation of an account decides about: identities are chosen by the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    /// The integer identity.
    pub id: AccountId,
    /// The outside identity.
    pub uid: Uuid,
    /// Its owner.
    pub reseller_id: ResellerId,
    /// Since when its reseller is suspended as a whole, if it is.
    pub reseller_suspended_at: Option<Time>,
}

impl Account {
    /// The holds of a kind that block now, in the order in which they concern the user: the reseller's first.
    pub fn holds_in_force(&self, kind: HoldKind, now: Time) -> impl Iterator<Item = &Hold> {
        self.holds
            .iter()
            .filter(move |hold| hold.kind == kind && hold.in_force(now))
    }
}
