//! The computed state: one function from the facts and the time to what blocks the account.

use super::{
    Account, Authority, Email, Error, HoldKind, Level, Metadata, Owner, PaymentUrl, Profile,
    Status, Time,
};

/// A reason why an account cannot be used.
///
/// The order of the variants is the order of `blocked_by`: what the user cannot fix comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Block {
    /// Deleted, and not yet purged.
    Deleted,
    /// Suspended by the operator, or by automation on the platform's behalf.
    SuspendedByOperator,
    /// The operator suspended the reseller, and with it all its accounts.
    ResellerSuspended,
    /// Suspended by its reseller.
    SuspendedByReseller,
    /// The switch is off.
    Inactive,
    /// Payment is due.
    Frozen,
    /// Past its expiry date.
    Expired,
}

impl Block {
    /// Every block, in order.
    pub const ALL: [Self; 7] = [
        Self::Deleted,
        Self::SuspendedByOperator,
        Self::ResellerSuspended,
        Self::SuspendedByReseller,
        Self::Inactive,
        Self::Frozen,
        Self::Expired,
    ];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::SuspendedByOperator => "suspended:operator",
            Self::ResellerSuspended => "suspended:reseller_account",
            Self::SuspendedByReseller => "suspended:reseller",
            Self::Inactive => "inactive",
            Self::Frozen => "frozen",
            Self::Expired => "expired",
        }
    }

    /// Whether the user can lift it by paying or renewing.
    fn user_can_fix(self) -> bool {
        match self {
            Self::Frozen | Self::Expired => true,
            Self::Deleted
            | Self::SuspendedByOperator
            | Self::ResellerSuspended
            | Self::SuspendedByReseller
            | Self::Inactive => false,
        }
    }

    /// The block that a hold of this kind and authority causes. `None` for retention holds, which
    /// block deletion and purge but not the use of the account.
    #[must_use]
    pub fn of_hold(kind: HoldKind, authority: Authority) -> Option<Self> {
        match (kind, authority) {
            (HoldKind::Freeze, _) => Some(Self::Frozen),
            (HoldKind::Suspend, Authority::Reseller) => Some(Self::SuspendedByReseller),
            (HoldKind::Suspend, Authority::Operator | Authority::System) => {
                Some(Self::SuspendedByOperator)
            }
            (HoldKind::Retention, _) => None,
        }
    }
}

/// What the user can do about the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Paying helps: the account is frozen, and every other block is one that the user can fix.
    Pay,
}

impl Remedy {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pay => "pay",
        }
    }
}

/// The computed state of an account at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    blocks: Vec<Block>,
    limits: Vec<Block>,
    warnings: Vec<Block>,
}

impl State {
    /// Every block that stands, in the order of [`Block::ALL`]. Empty if the account can be used.
    #[must_use]
    pub fn blocked_by(&self) -> &[Block] {
        &self.blocks
    }

    /// What limits the account, as [`State::blocked_by`] says what blocks it: the holds in force
    /// at [`Level::Limit`].
    #[must_use]
    pub fn limited_by(&self) -> &[Block] {
        &self.limits
    }

    /// What the user is warned of: the holds in force at [`Level::Warn`].
    #[must_use]
    pub fn warned_by(&self) -> &[Block] {
        &self.warnings
    }

    /// The strongest level that is in force. `None` if nothing restricts the account.
    #[must_use]
    pub fn level(&self) -> Option<Level> {
        let is_any = |blocks: &[Block], level| (!blocks.is_empty()).then_some(level);
        is_any(&self.blocks, Level::Block)
            .or_else(|| is_any(&self.limits, Level::Limit))
            .or_else(|| is_any(&self.warnings, Level::Warn))
    }

    /// The word for [`State::level`]: `none`, `warn`, `limit` or `block`.
    #[must_use]
    pub fn restriction(&self) -> &'static str {
        self.level().map_or("none", Level::as_str)
    }

    /// Whether this block stands.
    #[must_use]
    pub fn is(&self, block: Block) -> bool {
        self.blocks.contains(&block)
    }

    /// `active` if nothing blocks the account, else the word of the first block.
    #[must_use]
    pub fn effective_status(&self) -> &'static str {
        self.blocks.first().map_or("active", |block| block.as_str())
    }

    /// What the user can do about the blocks. `None` if nothing blocks the account, or if something
    /// does that the user cannot fix.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        (self.is(Block::Frozen) && self.blocks.iter().all(|block| block.user_can_fix()))
            .then_some(Remedy::Pay)
    }
}

impl Account {
    /// The state at `now`. Expiry and the start and end of holds are compared with `now` here, so
    /// that the state is right even if no background job has run.
    #[must_use]
    pub fn state(&self, now: Time) -> State {
        let held = |block, level| {
            self.holds.iter().any(|hold| {
                hold.in_force(now)
                    && hold.details.level == level
                    && Block::of_hold(hold.kind, hold.authority) == Some(block)
            })
        };
        let all_held = |level| {
            let all = Block::ALL.into_iter();
            all.filter(|block| held(*block, level)).collect()
        };
        let stands = |block: &Block| match block {
            Block::Deleted => self.deleted_at.is_some(),
            Block::ResellerSuspended => self.reseller_suspended_at.is_some(),
            Block::Inactive => self.status == Status::Inactive,
            Block::Expired => self.expires_in_effect_at().is_some_and(|at| at <= now),
            Block::SuspendedByOperator | Block::SuspendedByReseller | Block::Frozen => {
                held(*block, Level::Block)
            }
        };
        State {
            blocks: Block::ALL.into_iter().filter(stands).collect(),
            limits: all_held(Level::Limit),
            warnings: all_held(Level::Warn),
        }
    }

    /// Where the user of a frozen account pays, or one whom a freeze limits or warns, if nothing
    /// stronger is in force. Of several freezes, the reseller's page comes first, then the
    /// operator's, then the oldest. `None` if no such freeze names a page.
    #[must_use]
    pub fn payment_url(&self, now: Time) -> Option<&PaymentUrl> {
        let rank = |authority| match authority {
            Authority::Reseller => 0,
            Authority::Operator => 1,
            Authority::System => 2,
        };
        let level = self.state(now).level();
        self.holds_in_force(HoldKind::Freeze, now)
            .filter(|hold| Some(hold.details.level) == level)
            .filter_map(|hold| Some((hold, hold.details.payment_url.as_ref()?)))
            .min_by_key(|(hold, _)| (rank(hold.authority), hold.opened_at, hold.id))
            .map(|(_, url)| url)
    }
}

/// Which accounts a list shows. An account must match every part that is present.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountFilter {
    /// The computed state. `None` means every account that is not deleted.
    pub state: Option<StateFilter>,
    /// Only accounts with a hold of this authority that is in force now, at any level.
    pub held_by: Option<Authority>,
    /// Only accounts with a hold of this owner that is in force now, at any level; of the authority
    /// of `held_by`, if that is present.
    pub held_by_owner: Option<Owner>,
    /// Only accounts whose strongest hold in force now has this level; of the holds of `held_by` and
    /// `held_by_owner` alone, if those are present.
    pub held_at: Option<Level>,
    /// Only accounts that expire before this instant.
    pub expires_before: Option<Time>,
    /// Only accounts that expire at or after this instant.
    pub expires_after: Option<Time>,
    /// Only accounts with this text in their name, title, e-mail or company, ignoring case.
    pub text: Option<String>,
    /// Only accounts whose metadata has all of these members.
    pub metadata: Metadata,
}

impl AccountFilter {
    /// Whether an account matches every part, as the database decides it for a list.
    #[must_use]
    pub fn admits(&self, account: &Account, now: Time) -> bool {
        let is_in_state = match self.state {
            None => account.deleted_at.is_none(),
            Some(state) => state.admits(&account.state(now)),
        };
        let needs_hold =
            self.held_by.is_some() || self.held_by_owner.is_some() || self.held_at.is_some();
        let holds = account.holds.iter().filter(|hold| {
            hold.kind != HoldKind::Retention
                && self.held_by.is_none_or(|it| it == hold.authority)
                && (self.held_by_owner.is_none() || self.held_by_owner == hold.owner)
                && hold.in_force(now)
        });
        let strongest = holds.map(|hold| hold.details.level).max();
        let is_held = match self.held_at {
            None => strongest.is_some(),
            level => strongest == level,
        };
        let expires = |is_within: &dyn Fn(Time) -> bool| account.expires_at.is_some_and(is_within);
        is_in_state
            && (is_held || !needs_hold)
            && self
                .expires_before
                .is_none_or(|before| expires(&|at| at < before))
            && self
                .expires_after
                .is_none_or(|after| expires(&|at| at >= after))
            && self
                .text
                .as_ref()
                .is_none_or(|text| has_text(&account.profile, text))
            && has_metadata(&account.profile, &self.metadata)
    }
}

/// Whether the metadata of an account has all of these members.
fn has_metadata(profile: &Profile, wanted: &Metadata) -> bool {
    wanted.0.iter().all(|(key, value)| {
        let known = profile.metadata.as_ref();
        known.and_then(|known| known.0.get(key)) == Some(value)
    })
}

/// Whether a text is in the name, title, e-mail or company, ignoring case. Each character is
/// lowered on its own, as PostgreSQL does.
fn has_text(profile: &Profile, text: &str) -> bool {
    let lower = |text: &str| -> String { text.chars().flat_map(char::to_lowercase).collect() };
    let email = profile.email.as_ref().map(Email::as_str);
    let parts = [
        profile.name.as_deref(),
        profile.title.as_deref(),
        email,
        profile.company.as_deref(),
    ];
    let all: Vec<&str> = parts.into_iter().flatten().collect();
    lower(&all.join(" ")).contains(&lower(text))
}

/// The computed states that a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateFilter {
    /// Accounts that nothing blocks.
    Active,
    /// Accounts with this block, whether or not others stand beside it.
    BlockedBy(Block),
    /// Accounts suspended by their reseller, by the operator, or with their reseller.
    Suspended,
}

impl StateFilter {
    /// Parses `active`, `suspended`, or the word of a [`Block`].
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `state`, listing the accepted words.
    pub fn parse(word: &str) -> Result<Self, Error> {
        match word {
            "active" => return Ok(Self::Active),
            "suspended" => return Ok(Self::Suspended),
            _ => {}
        }
        Block::ALL
            .into_iter()
            .find(|block| block.as_str() == word)
            .map(Self::BlockedBy)
            .ok_or_else(|| {
                let words: Vec<_> = Block::ALL.iter().map(|block| block.as_str()).collect();
                Error::invalid(
                    "state",
                    format!("must be one of active, suspended, {}", words.join(", ")),
                )
            })
    }

    /// The word that [`StateFilter::parse`] accepts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::BlockedBy(block) => block.as_str(),
        }
    }

    /// Whether the list shows an account in this state. Deleted accounts are shown only by the
    /// filter for deleted accounts.
    #[must_use]
    pub fn admits(self, state: &State) -> bool {
        match self {
            Self::BlockedBy(Block::Deleted) => state.is(Block::Deleted),
            _ if state.is(Block::Deleted) => false,
            Self::Active => state.blocked_by().is_empty(),
            Self::BlockedBy(block) => state.is(block),
            Self::Suspended => [
                Block::SuspendedByOperator,
                Block::ResellerSuspended,
                Block::SuspendedByReseller,
            ]
            .into_iter()
            .any(|block| state.is(block)),
        }
    }
}
