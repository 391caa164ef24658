//! The account: its stored facts. Everything else is computed from them.

use std::sync::Arc;

use uuid::Uuid;

use super::{AccountId, Hold, HoldKind, Plan, Profile, ResellerId, Time};

/// The switch that activate and deactivate set. It reads back exactly as it was set: blocks such as
/// a freeze do not change it.
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

    /// Parses a word of [`Status::as_str`], case-sensitively. `None` for any other word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Active, Self::Inactive]
            .into_iter()
            .find(|it| it.as_str() == word)
    }
}

/// The stored facts of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The number by which the `admin` and `soap` APIs name it.
    pub id: AccountId,
    /// The UUID by which the `v3` API names it.
    pub uid: Uuid,
    /// The reseller that owns it. It never changes.
    pub reseller_id: ResellerId,
    /// When the operator suspended its reseller. `None` if the reseller is not suspended.
    pub reseller_suspended_at: Option<Time>,
    /// The descriptive fields. In an `Arc` because most changes leave them as they are.
    pub profile: Arc<Profile>,
    /// Its plan with the current terms. `None` if it has no plan.
    pub plan: Option<Arc<Plan>>,
    /// The switch.
    pub status: Status,
    /// When the switch last changed.
    pub status_set_at: Time,
    /// When it expires. `None` means never.
    pub expires_at: Option<Time>,
    /// When the expiry was last set. The purge counts its 30 days from here if this is later than
    /// the expiry, so that a back-dated expiry purges nothing at once.
    pub expiry_set_at: Option<Time>,
    /// Until this instant the account is exempt from automation: it does not expire, it is not
    /// planned for the purge, and the system places no holds. People can still change it.
    pub exempt_until: Option<Time>,
    /// When the next announcement of its expiry is due. `None` if all have been made.
    pub announce_at: Option<Time>,
    /// When it was deleted. `None` if it is not deleted.
    pub deleted_at: Option<Time>,
    /// When a deleted account may be purged. Set together with `deleted_at`; deleting again does
    /// not move it.
    pub purge_at: Option<Time>,
    /// When it will be purged. `None` if it is not in the purge plan.
    pub purge_due_at: Option<Time>,
    /// When the next announcement of its purge is due. `None` if all have been made.
    pub warn_at: Option<Time>,
    /// When the operator last lifted a block. The 30 days before a purge start again then.
    pub operator_released_at: Option<Time>,
    /// Its open holds, including those that lapsed but are not closed yet.
    pub holds: Vec<Hold>,
    /// 1 when created, then 1 more with every change. It is the sequence number of its latest
    /// event.
    pub version: i64,
    /// When it was created.
    pub created_at: Time,
    /// When it last changed.
    pub updated_at: Time,
}

/// The identities of an account to be created, which the store chooses, and its reseller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    /// See [`Account::id`].
    pub id: AccountId,
    /// See [`Account::uid`].
    pub uid: Uuid,
    /// See [`Account::reseller_id`].
    pub reseller_id: ResellerId,
    /// When the operator suspended its reseller. `None` if the reseller is not suspended.
    pub reseller_suspended_at: Option<Time>,
}

impl Account {
    /// The holds of a kind that block at `now`.
    pub fn holds_in_force(&self, kind: HoldKind, now: Time) -> impl Iterator<Item = &Hold> {
        self.holds
            .iter()
            .filter(move |hold| hold.kind == kind && hold.in_force(now))
    }
}

/// What is left of an account that was purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgedAccount {
    /// See [`Account::id`].
    pub id: AccountId,
    /// See [`Account::uid`].
    pub uid: Uuid,
    /// See [`Account::reseller_id`].
    pub reseller_id: ResellerId,
    /// See [`Account::created_at`].
    pub created_at: Time,
    /// When it was deleted. `None` if it had expired instead.
    pub deleted_at: Option<Time>,
    /// When it was purged.
    pub purged_at: Time,
}

impl PurgedAccount {
    /// What is left of the account, for events about it: deleted, with no details. `version` is
    /// that of the latest event that is known.
    #[must_use]
    pub fn remains(&self, version: i64) -> Account {
        Account {
            id: self.id,
            uid: self.uid,
            reseller_id: self.reseller_id,
            reseller_suspended_at: None,
            profile: Arc::default(),
            plan: None,
            status: Status::Inactive,
            status_set_at: self.purged_at,
            expires_at: None,
            expiry_set_at: None,
            exempt_until: None,
            announce_at: None,
            deleted_at: Some(self.deleted_at.unwrap_or(self.purged_at)),
            purge_at: None,
            purge_due_at: None,
            warn_at: None,
            operator_released_at: None,
            holds: Vec::new(),
            version,
            created_at: self.created_at,
            updated_at: self.purged_at,
        }
    }
}
