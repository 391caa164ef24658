//! Coming changes of the state: what happens at a set time, without a command.

use super::{Account, AccountId, Authority, Event, HoldId, HoldKind, Level, Owner, State, Time};

/// Something that happens to an account at a set time, without a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Coming {
    /// A hold begins.
    HoldStarts(HoldName),
    /// A hold lapses.
    HoldEnds(HoldName),
    /// The account expires.
    Expires,
    /// The account is purged as planned.
    Purge,
}

/// Which hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldName {
    /// Its identity.
    pub id: HoldId,
    /// Its kind.
    pub kind: HoldKind,
    /// Its authority.
    pub authority: Authority,
    /// Its owner.
    pub owner: Option<Owner>,
    /// How far it restricts the account.
    pub level: Level,
}

/// What kind of thing happens without a command. The order is that of things that happen to an
/// account at the same instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ComingKind {
    /// A hold lapses.
    HoldEnds,
    /// A hold begins.
    HoldStarts,
    /// The account expires.
    Expires,
    /// The account is purged as planned.
    Purge,
}

impl ComingKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::HoldEnds, Self::HoldStarts, Self::Expires, Self::Purge];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HoldEnds => "hold_ends",
            Self::HoldStarts => "hold_starts",
            Self::Expires => "expires",
            Self::Purge => "purge",
        }
    }

    /// Parses a word of [`ComingKind::as_str`]. `None` for any other word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
    }
}

impl Coming {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> ComingKind {
        match self {
            Self::HoldStarts(_) => ComingKind::HoldStarts,
            Self::HoldEnds(_) => ComingKind::HoldEnds,
            Self::Expires => ComingKind::Expires,
            Self::Purge => ComingKind::Purge,
        }
    }

    /// The hold that it concerns. `None` if it concerns the account itself.
    #[must_use]
    pub fn hold(&self) -> Option<&HoldName> {
        match self {
            Self::HoldStarts(hold) | Self::HoldEnds(hold) => Some(hold),
            Self::Expires | Self::Purge => None,
        }
    }

    /// The specific event that announces it. `None` if it is only an update of the account: the
    /// hold does not block its use.
    #[must_use]
    pub fn event(&self) -> Option<Event> {
        let blocks = |hold: &HoldName| hold.level == Level::Block;
        match self {
            Self::HoldStarts(hold) => Event::of_hold(hold.kind, false, blocks(hold)),
            Self::HoldEnds(hold) => Event::of_hold(hold.kind, blocks(hold), false),
            Self::Expires => Some(Event::Expired),
            Self::Purge => Some(Event::Purged),
        }
    }
}

/// The place of a coming change in the order of all: by time, then by account, then by kind and by
/// hold. No two coming changes have the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComingPlace {
    /// When it happens.
    pub at: Time,
    /// The account that it happens to.
    pub account: AccountId,
    /// What happens.
    pub kind: ComingKind,
    /// The hold that it concerns. `None` if it concerns the account itself.
    pub hold: Option<HoldId>,
}

/// An announcement that the background job makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announcement {
    /// Of the begin or the lapse of a hold.
    Hold(HoldId),
    /// Of the expiry, on the day or some days before.
    Expiry,
    /// Of the purge, some days before.
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

impl Upcoming {
    /// Its place in the order of all that is to come; `account` is the one that it happens to.
    #[must_use]
    pub fn place(&self, account: AccountId) -> ComingPlace {
        ComingPlace {
            at: self.at,
            account,
            kind: self.what.kind(),
            hold: self.what.hold().map(|hold| hold.id),
        }
    }
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

    /// The earliest announcement that is still to be made, and the instant that it is about. `None`
    /// if there is none. The expiry of a deleted account is announced after a restore.
    #[must_use]
    pub fn next_announcement(&self) -> Option<(Time, Announcement)> {
        let holds = self
            .holds
            .iter()
            .filter_map(|hold| Some((hold.next_announcement()?, Announcement::Hold(hold.id))));
        let expiry = self.announce_at.map(|at| (at, Announcement::Expiry));
        let expiry = expiry.filter(|_| self.deleted_at.is_none());
        let purge = self.purge_due_at.and(self.warn_at);
        holds
            .chain(expiry)
            .chain(purge.map(|at| (at, Announcement::Purge)))
            .min_by_key(|(at, _)| *at)
    }

    /// What will happen to the account after `now` without a command, in order of time.
    #[must_use]
    pub fn upcoming(&self, now: Time) -> Vec<Upcoming> {
        let holds = self.holds.iter().flat_map(|hold| {
            let name = || HoldName {
                id: hold.id,
                kind: hold.kind,
                authority: hold.authority,
                owner: hold.owner.clone(),
                level: hold.details.level,
            };
            let starts = hold.details.starts_at;
            let starts = starts.map(|at| (at, Coming::HoldStarts(name())));
            let ends = hold.details.ends_at;
            let ends = ends.map(|at| (at, Coming::HoldEnds(name())));
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
