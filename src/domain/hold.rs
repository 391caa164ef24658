//! Holds: standing reasons that block the use of an account, or only its deletion.
//!
//! A hold is opened, revised and closed. Each revision is kept. Opening a hold that is open already
//! revises its details.

use std::fmt;

use super::text::{self, MAX_LONG_TEXT, MAX_TEXT};
use super::{Authority, Error, HoldId, Owner, Time};

/// The prefix of release tickets. A ticket is a secret, so no text that a user sees may contain
/// one.
pub const TICKET_PREFIX: &str = "steward_release_";

/// How many open holds of one kind an authority may have on an account, each of another owner.
pub const MAX_OWNERS: usize = 10;

/// What a hold blocks, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HoldKind {
    /// Blocks use until the user pays.
    Freeze,
    /// Blocks use, by decision of the reseller or the operator.
    Suspend,
    /// Blocks deletion and purge only, never use.
    Retention,
}

impl HoldKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Freeze, Self::Suspend, Self::Retention];

    /// The word on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Freeze => "freeze",
            Self::Suspend => "suspend",
            Self::Retention => "retention",
        }
    }

    /// Parses a word of [`HoldKind::as_str`]. `None` for any other word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
    }
}

/// How far a hold restricts the account, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// Nothing is closed. The product shows the user a warning.
    Warn,
    /// The product should let the user read and not write.
    Limit,
    /// The account cannot be used.
    #[default]
    Block,
}

impl Level {
    /// Every level, from the weakest to the strongest.
    pub const ALL: [Self; 3] = [Self::Warn, Self::Limit, Self::Block];

    /// The word on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Limit => "limit",
            Self::Block => "block",
        }
    }

    /// The levels that are stronger.
    #[must_use]
    pub fn stronger(self) -> Vec<Self> {
        Self::ALL.into_iter().filter(|it| *it > self).collect()
    }

    /// Parses a word of [`Level::as_str`]. `None` for any other word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
    }
}

/// An open hold. An account has at most one for each kind, authority and owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The identity. Revisions keep it.
    pub id: HoldId,
    /// What it blocks.
    pub kind: HoldKind,
    /// The authority that placed it. Only the same authority can lift it.
    pub authority: Authority,
    /// The owner within the authority. `None`: no owner in particular, which is an owner of its
    /// own. Only the same owner can lift it.
    pub owner: Option<Owner>,
    /// The part that a later call may revise.
    pub details: HoldDetails,
    /// When it was opened. Revisions keep it.
    pub opened_at: Time,
    /// The name of the [`super::Actor`] that opened it.
    pub opened_by: String,
    /// 1 when opened, then 1 more with each revision.
    pub revision: i32,
    /// Whether its begin has been announced, or was when it was placed. A hold that is scheduled
    /// for later has not begun; [`super::Account::announce_hold`] says when it does.
    pub has_begun: bool,
}

impl Hold {
    /// Whether it counts at `now`, at its level: it has started and has not lapsed.
    #[must_use]
    pub fn in_force(&self, now: Time) -> bool {
        self.has_started(now) && !self.has_lapsed(now)
    }

    /// Whether its start has come. A hold without `starts_at` starts when it is opened.
    #[must_use]
    pub fn has_started(&self, now: Time) -> bool {
        self.details.starts_at.is_none_or(|start| start <= now)
    }

    /// Whether its end has passed. A lapsed hold blocks nothing, although it is still stored as
    /// open.
    #[must_use]
    pub fn has_lapsed(&self, now: Time) -> bool {
        self.details.ends_at.is_some_and(|end| end <= now)
    }

    /// Whether it blocks the use of the account at `now`.
    #[must_use]
    pub fn blocks(&self, now: Time) -> bool {
        self.details.level == Level::Block && self.in_force(now)
    }

    /// Whether it belongs to this authority and to this owner within it.
    #[must_use]
    pub fn is_of(&self, authority: Authority, owner: Option<&Owner>) -> bool {
        self.authority == authority && self.owner.as_ref() == owner
    }

    /// Its kind, authority and owner, such as `suspend:reseller:abuse-desk`.
    #[must_use]
    pub fn name(&self) -> String {
        let (kind, authority) = (self.kind.as_str(), self.authority.as_str());
        match &self.owner {
            Some(owner) => format!("{kind}:{authority}:{owner}"),
            None => format!("{kind}:{authority}"),
        }
    }

    /// Whose it is, for a text, such as `abuse-desk of the reseller`.
    #[must_use]
    pub fn holder(&self) -> String {
        let authority = self.authority.as_str();
        match &self.owner {
            Some(owner) => format!("{owner} of the {authority}"),
            None => format!("the {authority}"),
        }
    }

    /// The instant that the next announcement of the hold is about: its begin, then its end. `None`
    /// if it has begun and has no end.
    #[must_use]
    pub fn next_announcement(&self) -> Option<Time> {
        if self.has_begun {
            self.details.ends_at
        } else {
            self.details.starts_at
        }
    }

    /// The internal reason, if the reader may see it. The operator sees every reason, others only
    /// those of their own holds.
    #[must_use]
    pub fn reason_seen_by(&self, reader: Authority) -> Option<&String> {
        let is_own = self.authority == reader || reader == Authority::Operator;
        self.details.reason.as_ref().filter(|_| is_own)
    }

    /// When it began to block, or will begin to.
    #[must_use]
    pub fn since(&self) -> Time {
        self.details
            .starts_at
            .map_or(self.opened_at, |start| start.max(self.opened_at))
    }
}

/// The part of a hold that a later call may revise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HoldDetails {
    /// A code for programs, at most 255 characters.
    pub reason_code: Option<String>,
    /// The reason for the staff, at most 2,048 characters. The blocked user never sees it.
    pub reason: Option<String>,
    /// The text for the blocked user, at most 2,048 characters.
    pub public_message: Option<String>,
    /// Where the blocked user pays.
    pub payment_url: Option<PaymentUrl>,
    /// When it starts to block. `None` means when it is opened.
    pub starts_at: Option<Time>,
    /// When it lapses by itself. `None` means that it blocks until it is lifted.
    pub ends_at: Option<Time>,
    /// How far it restricts the account. A retention hold has [`Level::Block`], which stands there
    /// for blocking the deletion.
    pub level: Level,
}

/// How a request changes one optional value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Patch<T> {
    /// The request does not mention it; it stays as it is.
    #[default]
    Keep,
    /// The request gives null or an empty value; the value is removed.
    Clear,
    /// The request gives a value.
    Set(T),
}

impl<T: Clone> Patch<T> {
    /// The value after the patch.
    #[must_use]
    pub fn over(&self, current: Option<&T>) -> Option<T> {
        match self {
            Self::Keep => current.cloned(),
            Self::Clear => None,
            Self::Set(value) => Some(value.clone()),
        }
    }

    /// The patch, or [`Patch::Keep`] if it would set the present value.
    #[must_use]
    pub(super) fn unless_present(&self, present: Option<&T>) -> Self
    where
        T: PartialEq,
    {
        match self {
            Self::Set(value) if Some(value) == present => Self::Keep,
            Self::Keep | Self::Clear | Self::Set(_) => self.clone(),
        }
    }

    /// The value that the request gives, if it does.
    #[must_use]
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Keep | Self::Clear => None,
        }
    }
}

/// The details that a freeze, suspend or retain call gives. Descriptions that it omits keep their
/// value. Every such call states the time and the level of the hold: see [`HoldPatch::starts_at`],
/// [`HoldPatch::ends_at`] and [`HoldPatch::level`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HoldPatch {
    /// See [`HoldDetails::reason_code`].
    pub reason_code: Patch<String>,
    /// See [`HoldDetails::reason`].
    pub reason: Patch<String>,
    /// See [`HoldDetails::public_message`].
    pub public_message: Patch<String>,
    /// See [`HoldDetails::payment_url`].
    pub payment_url: Patch<PaymentUrl>,
    /// See [`HoldDetails::starts_at`]. Without a value, a hold that is in force keeps its begin, and
    /// one that is scheduled starts now.
    pub starts_at: Patch<Time>,
    /// See [`HoldDetails::ends_at`]. Without a value, the hold blocks until it is lifted.
    pub ends_at: Patch<Time>,
    /// See [`HoldDetails::level`]. Like the time, every call states it: a caller that names none
    /// wants a block.
    pub level: Level,
}

impl HoldPatch {
    /// The details after the patch.
    ///
    /// # Errors
    /// [`Error::InvalidField`] naming the text or date that is refused.
    pub(super) fn over(&self, current: &HoldDetails) -> Result<HoldDetails, Error> {
        let limits = [
            ("reason_code", &self.reason_code, MAX_TEXT),
            ("reason", &self.reason, MAX_LONG_TEXT),
            ("public_message", &self.public_message, MAX_LONG_TEXT),
        ];
        for (field, patch, max) in limits {
            if let Some(value) = patch.value() {
                text::check(field, value, max)?;
            }
        }
        if self
            .payment_url
            .value()
            .is_some_and(|url| url.as_str().contains(TICKET_PREFIX))
        {
            return Err(Error::invalid(
                "payment_url",
                "must not contain a release ticket: its user would see it",
            ));
        }
        let details = HoldDetails {
            reason_code: self.reason_code.over(current.reason_code.as_ref()),
            reason: self.reason.over(current.reason.as_ref()),
            public_message: self.public_message.over(current.public_message.as_ref()),
            payment_url: self.payment_url.over(current.payment_url.as_ref()),
            starts_at: self.starts_at.value().copied().or(current.starts_at),
            ends_at: self.ends_at.value().copied(),
            level: self.level,
        };
        match (details.starts_at, details.ends_at) {
            (Some(start), Some(end)) if end <= start => {
                Err(Error::invalid("ends_at", "must be later than starts_at"))
            }
            _ => Ok(details),
        }
    }
}

/// Where the user of a frozen account pays: an absolute `https` or `http` URL of at most 2,048
/// characters, without user info and without control characters. It is stored and shown exactly as
/// the caller wrote it.
#[derive(Clone, PartialEq, Eq)]
pub struct PaymentUrl(String);

impl PaymentUrl {
    /// # Errors
    /// [`Error::InvalidField`] for `payment_url`, naming the rule that the text breaks.
    pub fn parse(written: &str) -> Result<Self, Error> {
        let refuse = |problem: &str| Err(Error::invalid("payment_url", problem));
        if written.chars().count() > MAX_LONG_TEXT {
            return refuse("must be at most 2048 characters");
        }
        let is_refused = |c: char| {
            let is_unseen = c.is_control() || c.is_whitespace() || text::is_invisible(c);
            is_unseen || matches!(c, '\\' | '\u{fffe}' | '\u{ffff}')
        };
        if written.chars().any(is_refused) {
            return refuse(
                "must not contain white space, backslashes, control or invisible characters",
            );
        }
        let url = text::read_url(
            "payment_url",
            written,
            "must be an absolute https or http URL",
        )?;
        let has_two_slashes = written
            .split_once(':')
            .is_some_and(|(_, rest)| rest.starts_with("//"));
        if !matches!(url.scheme(), "https" | "http") || !url.has_host() || !has_two_slashes {
            return refuse("must be an absolute https or http URL");
        }
        if text::authority(written).contains('@') {
            return refuse("must not contain a user name or password");
        }
        Ok(Self(written.to_owned()))
    }

    /// Wraps a stored URL without checking it: it was accepted by the rules of its time.
    #[must_use]
    pub fn stored(accepted: String) -> Self {
        Self(accepted)
    }

    /// The URL as the caller wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PaymentUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_url_is_an_absolute_web_address_without_user_info() {
        let at_the_limit = format!("https://example.com/{}", "a".repeat(2_048 - 20));
        let long_name = format!("https://{}.example:65535/pay", "a.".repeat(122) + "a");
        for good in [
            "https://example.com",
            "http://example.com/pay?a=1&b=2#x",
            "https://[::1]:8080/",
            &at_the_limit,
            &long_name,
        ] {
            assert_eq!(
                PaymentUrl::parse(good).map(|url| url.as_str().to_owned()),
                Ok(good.to_owned())
            );
        }
        let too_long = format!("{at_the_limit}a");
        // A name that is not ASCII gets longer in its DNS form, and translating it takes long.
        let long_names = [
            format!("https://{}.example", "a.".repeat(123) + "a"),
            format!("https://{}", "\u{e9}.".repeat(40)),
            format!("https://xn--{}", "a".repeat(2_000)),
        ];
        for bad in &long_names {
            let problem = "must have a host name of at most 253 characters".to_owned();
            assert_eq!(
                PaymentUrl::parse(bad),
                Err(Error::InvalidField {
                    field: "payment_url",
                    problem
                }),
                "{bad}"
            );
        }
        for bad in [
            "",
            "javascript:alert(1)",
            "data:text/html,x",
            "//example.com",
            "/pay",
            "example.com",
            "https://",
            "https:example.com",
            "https:/example.com",
            "https:\\\\example.com",
            "ftp://example.com",
            "https://user@example.com",
            "https://u:p@example.com/",
            "https://@example.com",
            "https:///user@example.com",
            "https://exa mple.com",
            "https://example.com/\u{7}",
            "https://example.com/\u{202e}moc.yap",
            "https://exam\u{200b}ple.com/",
            "https://example.com/\u{ffff}",
            " https://example.com",
            "https://example.com\n",
            &too_long,
        ] {
            assert!(
                matches!(
                    PaymentUrl::parse(bad),
                    Err(Error::InvalidField {
                        field: "payment_url",
                        ..
                    })
                ),
                "{bad:?} was accepted"
            );
        }
    }
}
