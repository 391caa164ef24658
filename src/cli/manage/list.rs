//! `steward account list`

use std::collections::BTreeMap;

use chrono_tz::Tz;
use clap::Args;

use super::human;
use crate::cli::{CommandError, context, find_reseller, output};
use crate::dialects::filter::FilterMembers;
use crate::domain::{Account, AccountFilter, AccountId, Error, StateFilter, Time, ZoneConditions};
use crate::service::{Context, Principal, Service};

/// How many accounts one query reads.
const PAGE: i64 = 1_000;

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// List only the accounts of this reseller, by number or name.
    #[arg(long, value_name = "ID_OR_NAME")]
    reseller: Option<String>,
    /// List only accounts in this state: active, suspended, frozen, inactive, expired, deleted,
    /// suspended:operator, suspended:reseller or suspended:reseller_account.
    #[arg(long, value_parser = state)]
    state: Option<StateFilter>,
    /// List only accounts that a hold of this owner blocks, limits or warns, such as billing.
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// List only accounts whose strongest hold in force has this level: block, limit or warn. With
    /// --owner, the strongest of its holds.
    #[arg(long, value_name = "LEVEL")]
    level: Option<String>,
    /// List only accounts that expire before this date, or date and time. A date is in the time zone
    /// of the account's reseller.
    #[arg(long, value_name = "TIME")]
    expires_before: Option<String>,
    /// List only accounts that expire on or after this date, or date and time.
    #[arg(long, value_name = "TIME")]
    expires_after: Option<String>,
    /// List only accounts with this text in their name, title, e-mail address or company.
    #[arg(long)]
    text: Option<String>,
    /// List accounts with this number or a higher one.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, allow_negative_numbers = true,
        value_parser = clap::value_parser!(i32).range(1..))]
    from: i32,
    /// How many accounts to list; 0 lists all.
    #[arg(long, value_name = "N", default_value_t = 50, allow_negative_numbers = true,
        value_parser = clap::value_parser!(i64).range(0..))]
    limit: i64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn state(word: &str) -> Result<StateFilter, String> {
    StateFilter::parse(word).map_err(|error| {
        let text = error.to_string();
        text.strip_prefix("state: ").unwrap_or(&text).to_owned()
    })
}

impl List {
    /// The filter, and the conditions on dates for each time zone.
    fn filter(&self, zones: &[Tz]) -> Result<(AccountFilter, Vec<ZoneConditions>), CommandError> {
        let members = FilterMembers {
            state: None,
            held_by: None,
            owner: self.owner.as_deref(),
            level: self.level.as_deref(),
            expires_before: self.expires_before.as_deref(),
            expires_after: self.expires_after.as_deref(),
            text: self.text.as_deref(),
            metadata: crate::domain::Metadata::default(),
        };
        let refuse = |error| {
            let Error::InvalidField { field, problem } = error else {
                return CommandError::from(error);
            };
            let flag = if field == "q" { "text" } else { field };
            CommandError::Other(format!("--{}: {problem}", flag.replace('_', "-")))
        };
        let (filter, by_zone) = members.filter(zones).map_err(refuse)?;
        let filter = AccountFilter {
            state: self.state,
            ..filter
        };
        Ok((filter, by_zone))
    }

    pub(super) async fn run(self, service: &Service) -> Result<(), CommandError> {
        let reseller = match &self.reseller {
            Some(reseller) => Some(find_reseller(service, reseller).await?),
            None => None,
        };
        let principal = reseller.map_or_else(Principal::command_line, Principal::of_reseller);
        let context = Context {
            principal,
            ..context()
        };
        let zones = match reseller {
            Some(_) => vec![
                service
                    .zone_of_reseller(&crate::cli::context(), reseller)
                    .await?,
            ],
            None => service.zones(&context).await?,
        };
        let (filter, by_zone) = self.filter(&zones)?;
        let names: BTreeMap<i64, String> = service
            .resellers(&Principal::command_line(), 0, i64::MAX)
            .await?
            .into_iter()
            .map(|reseller| (reseller.id.0, reseller.name))
            .collect();
        let mut printer = Printer::new(self.json, names);
        let limit = if self.limit == 0 {
            i64::MAX
        } else {
            self.limit
        };
        let (mut from, mut left) = (Some(AccountId::new(self.from.into())?), limit);
        let mut total = 0;
        while let Some(first) = from.filter(|_| left > 0) {
            let page = service
                .list(
                    &context,
                    filter.clone(),
                    by_zone.clone(),
                    first,
                    left.min(PAGE),
                )
                .await?;
            total = total.max(page.total);
            left -= i64::try_from(page.accounts.rows.len()).unwrap_or(i64::MAX);
            from = page.accounts.rows.last().and_then(|last| {
                let next = i64::from(last.id.as_i32()) + 1;
                AccountId::new(next).ok().filter(|_| page.accounts.has_more)
            });
            printer.page(&page.accounts.rows, page.at);
        }
        printer.finish();
        // A filter by state is the only one that finds them.
        let without_deleted = match self.state {
            None => ", without the deleted ones, which --state deleted lists",
            Some(_) => "",
        };
        match from {
            Some(next) => output::note(&format!(
                "{} of {total} accounts{without_deleted}; --from {next} lists the next ones, \
                 --limit 0 all",
                limit - left
            )),
            None if limit == left => output::note(&format!("no account{without_deleted}")),
            None if !self.json => {
                output::note(&format!("{} accounts{without_deleted}", limit - left));
            }
            None => {}
        }
        Ok(())
    }
}

/// Prints accounts page by page, so that memory does not grow with the list.
struct Printer {
    json: bool,
    /// The names of the resellers, by number.
    names: BTreeMap<i64, String>,
    is_first: bool,
}

impl Printer {
    fn new(json: bool, names: BTreeMap<i64, String>) -> Self {
        Self {
            json,
            names,
            is_first: true,
        }
    }

    fn page(&mut self, accounts: &[Account], now: Time) {
        if self.json {
            for account in accounts {
                let before = if self.is_first { "[" } else { "," };
                output::line(&format!("{before}{}", output::account(account, now)));
                self.is_first = false;
            }
            return;
        }
        let rows: Vec<_> = accounts
            .iter()
            .map(|account| self.row(account, now))
            .collect();
        if !rows.is_empty() {
            output::table(
                &["ID", "EMAIL", "NAME", "RESELLER", "STATE", "EXPIRES"],
                &rows,
            );
        }
    }

    fn finish(&self) {
        if self.json {
            output::line(if self.is_first { "[]" } else { "]" });
        }
    }

    fn row(&self, account: &Account, now: Time) -> Vec<String> {
        let (state, profile) = (account.state(now), &account.profile);
        let reseller = account.reseller_id;
        let name = self.names.get(&reseller.0);
        vec![
            account.id.to_string(),
            profile
                .email
                .as_ref()
                .map_or_else(String::new, |email| email.as_str().to_owned()),
            profile.name.clone().unwrap_or_default(),
            name.map_or_else(|| reseller.to_string(), |name| format!("{reseller} {name}")),
            match state.blocked_by() {
                [] => "active".to_owned(),
                // The words that --state takes.
                blocks => {
                    let words: Vec<_> = blocks.iter().map(|block| block.as_str()).collect();
                    words.join(", ")
                }
            },
            account.expires_at.map_or_else(|| "never".to_owned(), human),
        ]
    }
}
