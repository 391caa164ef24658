//! The columns of an import file.

use super::descriptive::{FLAGS, NUMBERS, SHORT, TEXTS};
use crate::domain::check_metadata_key;
use crate::wire::nearest;

/// A column, or a member of a line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Column {
    Number,
    Uid,
    Email,
    Name,
    Title,
    Company,
    Status,
    ExpiresAt,
    CreatedAt,
    Plan,
    Timezone,
    FreezeReason,
    FreezePaymentUrl,
    FreezeSince,
    SuspendReason,
    SuspendMessage,
    SuspendSince,
    SuspendOwner,
    TrialExpiresAt,
    /// One of [`TEXTS`].
    Text(&'static str),
    /// One of [`FLAGS`].
    Flag(&'static str),
    /// One of [`NUMBERS`].
    Count(&'static str),
    /// `metadata.` with the name of the member.
    Metadata(String),
}

/// Every column except those of the metadata and those of `descriptive.rs`, with its name.
const COLUMNS: [(&str, Column); 19] = [
    ("number", Column::Number),
    ("uid", Column::Uid),
    ("email", Column::Email),
    ("name", Column::Name),
    ("title", Column::Title),
    ("company", Column::Company),
    ("status", Column::Status),
    ("expires_at", Column::ExpiresAt),
    ("created_at", Column::CreatedAt),
    ("plan", Column::Plan),
    ("timezone", Column::Timezone),
    ("freeze_reason", Column::FreezeReason),
    ("freeze_payment_url", Column::FreezePaymentUrl),
    ("freeze_since", Column::FreezeSince),
    ("suspend_reason", Column::SuspendReason),
    ("suspend_message", Column::SuspendMessage),
    ("suspend_since", Column::SuspendSince),
    ("suspend_owner", Column::SuspendOwner),
    ("trial_expires_at", Column::TrialExpiresAt),
];

/// What the three systems call a column, if no word of the name leads to it.
const RENAMED: [(&str, &str); 9] = [
    ("account_id", "number"),
    ("tz", "timezone"),
    ("tariff", "plan"),
    ("tariff_id", "plan"),
    ("plan_id", "plan"),
    ("reg_end_date", "expires_at"),
    ("company_name", "company"),
    ("is_active", "status"),
    ("frozen_details", "freeze_payment_url"),
];

/// The prefix of the columns of the metadata.
pub(super) const METADATA: &str = "metadata.";

/// Why a name is no column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoColumn {
    /// It may be ignored with `--ignore-unknown`. What is wrong with it, for people.
    Unknown(String),
    /// It is refused in any case.
    Refused(String),
}

impl Column {
    /// # Errors
    /// [`NoColumn`], with the nearest column.
    pub(super) fn parse(name: &str) -> Result<Self, NoColumn> {
        if let Some(column) = named(name) {
            return Ok(column);
        }
        if let Some(key) = name.strip_prefix(METADATA) {
            return check_metadata_key(key)
                .map(|()| Self::Metadata(key.to_owned()))
                .map_err(NoColumn::Refused);
        }
        let snake = snake_case(name);
        if let Some(column) = named(&snake) {
            return Ok(column);
        }
        let renamed = RENAMED.iter().find(|(theirs, _)| *theirs == snake);
        let near = renamed.map(|(_, ours)| *ours);
        let hint = match near.or_else(|| nearest(&snake, all_names())) {
            _ if snake == "id" => {
                "; number is the column of account numbers, uid that of UUIDs.".to_owned()
            }
            Some(near) => format!("; did you mean {near}?"),
            None => format!("; the columns are {}.", names()),
        };
        Err(NoColumn::Unknown(format!(
            "is not a column{hint} --ignore-unknown leaves unknown columns out"
        )))
    }

    /// The column of this name in an error of the domain.
    pub(super) fn of_field(field: &str) -> Option<Self> {
        let field = match field {
            "plan_id" | "tariff_id" => "plan",
            other => other,
        };
        named(field)
    }

    pub(super) fn name(&self) -> String {
        if let Self::Metadata(key) = self {
            return format!("{METADATA}{key}");
        }
        if let Self::Text(name) | Self::Flag(name) | Self::Count(name) = self {
            return (*name).to_owned();
        }
        let column = COLUMNS.iter().find(|(_, column)| column == self);
        column.map_or_else(String::new, |(name, _)| (*name).to_owned())
    }

    pub(super) fn is_of_freeze(&self) -> bool {
        matches!(
            self,
            Self::FreezeReason | Self::FreezePaymentUrl | Self::FreezeSince
        )
    }

    pub(super) fn is_of_suspension(&self) -> bool {
        matches!(
            self,
            Self::SuspendReason | Self::SuspendMessage | Self::SuspendSince | Self::SuspendOwner
        )
    }

    /// What the column accepts, for people.
    pub(super) fn accepts(&self) -> &'static str {
        match self {
            Self::Number => "a whole number from 1 to 2147483647 that no other account has",
            Self::Uid => "a UUID such as 0192f0c1-2b7e-7c1a-9d58-3f8e2a1b4c5d",
            Self::Email => "an e-mail address that no other account of the reseller has",
            Self::Name | Self::Title | Self::Company => SHORT,
            Self::Text(name) => accepted(&TEXTS, name),
            Self::Count(name) => accepted(&NUMBERS, name),
            Self::Flag(_) => "true or false",
            Self::Status => "active or inactive",
            Self::ExpiresAt | Self::TrialExpiresAt => {
                "a date such as 2027-12-31, whose last second is meant, or a date and time such as \
                 2027-12-31T18:00:00Z"
            }
            Self::CreatedAt => {
                "a date such as 2019-05-31 or a date and time such as 2019-05-31T18:00:00Z, not in \
                 the future"
            }
            Self::FreezeSince | Self::SuspendSince => {
                "a date such as 2026-05-31, whose first second is meant, or a date and time such as \
                 2026-05-31T18:00:00Z"
            }
            Self::Plan => "the number or the name of a plan of the reseller, or any other number",
            Self::SuspendOwner => {
                "1 to 40 lower-case letters, digits and hyphens such as abuse-desk, or nothing"
            }
            Self::Timezone => "the name of a time zone such as Europe/Berlin",
            Self::FreezeReason | Self::SuspendReason => {
                "a reason code of up to 255 characters, such as unpaid"
            }
            Self::FreezePaymentUrl => "an absolute https or http URL",
            Self::SuspendMessage => "a text of up to 2048 characters",
            Self::Metadata(_) => "a text of up to 500 characters",
        }
    }
}

/// The column of this name, except those of the metadata.
fn named(name: &str) -> Option<Column> {
    let column = COLUMNS.iter().find(|(known, _)| *known == name);
    let text = || TEXTS.iter().find(|(known, _)| *known == name);
    let count = || NUMBERS.iter().find(|(known, _)| *known == name);
    let flag = || FLAGS.iter().find(|known| **known == name);
    column
        .map(|(_, column)| column.clone())
        .or_else(|| text().map(|(name, _)| Column::Text(name)))
        .or_else(|| count().map(|(name, _)| Column::Count(name)))
        .or_else(|| flag().map(|name| Column::Flag(name)))
}

fn accepted(columns: &[(&str, &'static str)], name: &str) -> &'static str {
    let column = columns.iter().find(|(known, _)| *known == name);
    column.map_or("", |(_, accepted)| accepted)
}

/// `companyId` and `AccountID` as `company_id` and `account_id`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    let mut was_small = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && was_small {
            snake.push('_');
        }
        was_small = c.is_ascii_lowercase() || c.is_ascii_digit();
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

fn all_names() -> impl Iterator<Item = &'static str> {
    let texts = TEXTS.iter().map(|(name, _)| *name);
    let numbers = NUMBERS.iter().map(|(name, _)| *name);
    let others = texts.chain(numbers).chain(FLAGS);
    COLUMNS.iter().map(|(name, _)| *name).chain(others)
}

/// The names of all columns.
pub(super) fn names() -> String {
    let names: Vec<&str> = all_names().collect();
    format!("{} and metadata.KEY", names.join(", "))
}
