//! From the cells of a row to an account, and the rows of a file that are about the same account.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher as _;
use std::sync::Arc;

use chrono_tz::Tz;
use uuid::Uuid;

use super::columns::Column;
use super::descriptive;
use super::rows::{Refused, Row};
use crate::dialects::dates::{self, Role};
use crate::domain::{
    Account, AccountId, Actor, Authority, Email, Error, HoldId, HoldPatch, ImportedAccount,
    ImportedHold, Metadata, NewAccount, Owner, Patch, PaymentUrl, Plan, ResellerId, Status, Time,
};

/// Turns rows into accounts. It checks everything that can be checked without the database.
pub(super) struct Converter {
    pub(super) reseller: ResellerId,
    /// The time zone of the reseller, for dates without one.
    pub(super) zone: Tz,
    pub(super) plans: Vec<Arc<Plan>>,
    pub(super) now: Time,
}

/// A value that is refused: what is wrong with it.
type Problem = String;

impl Converter {
    /// The account of a row.
    pub(super) fn account(&self, row: &Row) -> Result<ImportedAccount, Refused> {
        let line = row.line;
        let mut account = ImportedAccount::default();
        let (mut freeze, mut suspension) = (HoldPatch::default(), HoldPatch::default());
        let (mut metadata, mut owner) = (Metadata::default(), None);
        for (column, text) in &row.cells {
            if let Column::Metadata(key) = column {
                metadata.0.insert(key.clone(), text.clone());
                continue;
            }
            if *column == Column::SuspendOwner {
                let parsed = given(text).map(|name| Owner::parse("suspend_owner", name));
                owner = parsed
                    .transpose()
                    .map_err(|error| refused(line, column, text, problem(error)))?;
                continue;
            }
            let set = self.set(&mut account, &mut freeze, &mut suspension, column, text);
            set.map_err(|problem| refused(line, column, text, problem))?;
        }
        if !metadata.0.is_empty() {
            account.revision.profile.metadata = Patch::Set(metadata);
        }
        // An owner alone says that it holds the account.
        let hold = |details: HoldPatch, owner: Option<Owner>| {
            (details != HoldPatch::default() || owner.is_some()).then(|| ImportedHold {
                fresh: HoldId(Uuid::now_v7()),
                owner,
                details,
            })
        };
        (account.freeze, account.suspension) = (hold(freeze, None), hold(suspension, owner));
        let email = account.revision.profile.email.value();
        if account.number.is_none() && account.uid.is_none() && email.is_none() {
            return Err(Refused::row(
                line,
                "the row has none of number, uid and email, so that its account would not be found \
                 when the file is imported again",
                "a value in one of these columns",
            ));
        }
        self.check(&account).map_err(|error| of_error(row, error))?;
        Ok(account)
    }

    fn set(
        &self,
        account: &mut ImportedAccount,
        freeze: &mut HoldPatch,
        suspension: &mut HoldPatch,
        column: &Column,
        text: &str,
    ) -> Result<(), Problem> {
        let profile = &mut account.revision.profile;
        let owned = || Some(text.to_owned()).filter(|text| !text.is_empty());
        let clear_or_set = || owned().map_or(Patch::Clear, Patch::Set);
        let keep_or_set = || owned().map_or(Patch::Keep, Patch::Set);
        match column {
            Column::Number => account.number = given(text).map(number).transpose()?,
            Column::Uid => {
                let uid = given(text).map(Uuid::parse_str).transpose();
                let uid = uid.map_err(|_| "is not a UUID".to_owned())?;
                if uid.is_some_and(|uid| uid.is_nil() || uid.is_max()) {
                    return Err("is a UUID that names nothing".to_owned());
                }
                account.uid = uid;
            }
            Column::Email => {
                let email = given(text).map(Email::parse).transpose().map_err(problem)?;
                profile.email = email.map_or(Patch::Clear, Patch::Set);
            }
            Column::Name => profile.name = clear_or_set(),
            Column::Title => profile.title = clear_or_set(),
            Column::Company => profile.company = clear_or_set(),
            Column::Timezone => profile.timezone = clear_or_set(),
            Column::Plan => (profile.plan_id, profile.tariff_id) = self.plan(text)?,
            Column::Status => account.revision.status = given(text).map(status).transpose()?,
            Column::ExpiresAt => {
                let at = given(text).map(|text| self.time(text, Role::End));
                account.revision.expires_at = Some(at.transpose()?);
            }
            Column::CreatedAt => account.created_at = self.begin(text)?,
            Column::FreezeReason => freeze.reason_code = keep_or_set(),
            Column::FreezePaymentUrl => {
                let url = given(text).map(PaymentUrl::parse).transpose();
                freeze.payment_url = url.map_err(problem)?.map_or(Patch::Keep, Patch::Set);
            }
            Column::FreezeSince => {
                freeze.starts_at = self.begin(text)?.map_or(Patch::Keep, Patch::Set);
            }
            Column::SuspendReason => suspension.reason_code = keep_or_set(),
            Column::SuspendMessage => suspension.public_message = keep_or_set(),
            Column::SuspendSince => {
                suspension.starts_at = self.begin(text)?.map_or(Patch::Keep, Patch::Set);
            }
            Column::TrialExpiresAt => {
                let at = given(text).map(|text| self.time(text, Role::End));
                profile.trial_expires_at = at.transpose()?.map_or(Patch::Clear, Patch::Set);
            }
            Column::Text(name) => {
                if let Some(field) = descriptive::text(profile, name) {
                    *field = clear_or_set();
                }
            }
            Column::Flag(name) => {
                let flag = given(text).map(flag).transpose()?;
                if let Some(field) = descriptive::flag(profile, name) {
                    *field = flag.map_or(Patch::Clear, Patch::Set);
                }
            }
            Column::Count(name) => {
                let count = given(text).map(str::parse).transpose();
                let count = count.map_err(|_| "is not a whole number".to_owned())?;
                if let Some(field) = descriptive::number(profile, name) {
                    *field = count.map_or(Patch::Clear, Patch::Set);
                }
            }
            // Read by the caller.
            Column::Metadata(_) | Column::SuspendOwner => {}
        }
        Ok(())
    }

    /// The instant of a date at which something began: of a date alone, its first second.
    fn begin(&self, text: &str) -> Result<Option<Time>, Problem> {
        given(text)
            .map(|text| self.time(text, Role::Begin))
            .transpose()
    }

    /// The forms that are accepted are named beside the problem.
    fn time(&self, text: &str, role: Role) -> Result<Time, Problem> {
        dates::parse(text, role, self.zone).map_err(|_| "is not a date".to_owned())
    }

    /// The plan of a number or a name. A number that no plan has is stored as it is.
    fn plan(&self, text: &str) -> Result<(Patch<Uuid>, Patch<i32>), Problem> {
        if text.is_empty() {
            return Ok((Patch::Clear, Patch::Clear));
        }
        if let Ok(number) = text.parse::<i32>() {
            return if number >= 0 {
                Ok((Patch::Keep, Patch::Set(number)))
            } else {
                Err("must not be negative".to_owned())
            };
        }
        let matches: Vec<_> = self
            .plans
            .iter()
            .filter(|plan| plan.terms.name == text)
            .collect();
        match matches.as_slice() {
            [plan] => Ok((Patch::Set(plan.id), Patch::Keep)),
            [] if self.plans.is_empty() => Err("the reseller has no plans".to_owned()),
            [] => {
                let names: Vec<&str> = self
                    .plans
                    .iter()
                    .take(10)
                    .map(|plan| plan.terms.name.as_str())
                    .collect();
                Err(format!(
                    "no plan of the reseller has this name; its plans are {}",
                    names.join(", ")
                ))
            }
            _ => Err("several plans have this name; give the number".to_owned()),
        }
    }

    /// Creates the account in memory, to find what the domain refuses.
    fn check(&self, account: &ImportedAccount) -> Result<(), Error> {
        let new = NewAccount {
            id: AccountId::new(1)?,
            uid: Uuid::nil(),
            reseller_id: self.reseller,
            reseller_suspended_at: None,
        };
        let by = Actor {
            authority: Authority::Reseller,
            bound_to: None,
            name: String::new(),
        };
        Account::import(&new, account, &by, self.now).map(drop)
    }
}

fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn number(text: &str) -> Result<AccountId, Problem> {
    let number: i64 = text
        .parse()
        .map_err(|_| "is not a whole number".to_owned())?;
    AccountId::new(number).map_err(problem)
}

fn flag(text: &str) -> Result<bool, Problem> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("is neither true nor false".to_owned()),
    }
}

fn status(text: &str) -> Result<Status, Problem> {
    Status::parse(text).ok_or_else(|| "is neither active nor inactive".to_owned())
}

fn problem(error: Error) -> Problem {
    if let Error::InvalidField { problem, .. } = error {
        problem
    } else {
        error.to_string()
    }
}

fn refused(line: u64, column: &Column, value: &str, problem: Problem) -> Refused {
    Refused {
        line,
        column: Some(column.name()),
        value: Some(value.to_owned()),
        problem,
        accepted: column.accepts().to_owned(),
    }
}

/// A refusal by the domain, with the column and the value of the row.
fn of_error(row: &Row, error: Error) -> Refused {
    let Error::InvalidField { field, problem } = error else {
        return Refused::row(row.line, error.to_string(), "");
    };
    of_field(row, field, problem)
}

/// A refusal of a field, with the column and the value of the row.
pub(super) fn of_field(row: &Row, field: &str, problem: String) -> Refused {
    let is_metadata = |column: &Column| matches!(column, Column::Metadata(key) if problem.starts_with(&format!("{key}: ")));
    let cell = row.cells.iter().find(|(column, _)| {
        Column::of_field(field).as_ref() == Some(column)
            || (field == "metadata" && is_metadata(column))
    });
    match cell {
        Some((column, value)) => refused(row.line, column, value, problem),
        None => Refused {
            column: Some(field.to_owned()),
            ..Refused::row(row.line, problem, "")
        },
    }
}

/// Finds the rows of one file that are about the same account. It keeps 64 bits of each number, UUID
/// and address: two different ones are mistaken for each other once in some millions of files.
#[derive(Default)]
pub(super) struct Seen {
    lines: HashMap<u64, u32>,
    hasher: RandomState,
}

impl Seen {
    /// Refuses a row whose number, UUID or address an earlier row has, also if that row was refused:
    /// nobody knows which of the two is right.
    pub(super) fn check(&mut self, row: &Row) -> Result<(), Refused> {
        let mut first = Ok(());
        for (column, value) in &row.cells {
            let Some(key) = key(column, value) else {
                continue;
            };
            match self.lines.entry(self.hasher.hash_one((column.name(), key))) {
                Entry::Occupied(line) => {
                    let problem = format!("line {} of the file has it already", line.get());
                    first = first.and(Err(refused(row.line, column, value, problem)));
                }
                Entry::Vacant(place) => {
                    place.insert(u32::try_from(row.line).unwrap_or(u32::MAX));
                }
            }
        }
        first
    }
}

/// The form of a number, UUID or address that is the same however it is written. `None` if the cell
/// has none.
fn key(column: &Column, value: &str) -> Option<String> {
    let value = given(value)?;
    if *column == Column::Number {
        return number(value).ok().map(|number| number.to_string());
    }
    if *column == Column::Uid {
        return Uuid::parse_str(value).ok().map(|uid| uid.to_string());
    }
    let email = (*column == Column::Email).then(|| Email::parse(value).ok())?;
    email.map(|email| email.key())
}
