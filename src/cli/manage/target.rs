//! The account that a command names: by its number, UUID or e-mail address.

use clap::Args;
use uuid::Uuid;

use crate::cli::{CommandError, context, find_reseller};
use crate::domain::{Account, AccountId, Email, Error};
use crate::service::{AccountRef, Context, Principal, Service};

#[derive(Debug, Args)]
pub(in crate::cli) struct Target {
    /// The account's number, UUID or e-mail address.
    #[arg(value_name = "ACCOUNT")]
    account: String,
    /// The reseller of the account, by number or name; needed if several resellers have an account
    /// with the e-mail address.
    #[arg(long, value_name = "ID_OR_NAME")]
    reseller: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl Target {
    /// Finds the account, also if it is deleted.
    pub(super) async fn find(&self, service: &Service) -> Result<Account, CommandError> {
        let reseller = match &self.reseller {
            Some(reseller) => Some(find_reseller(service, reseller).await?),
            None => None,
        };
        let missing = |what: &str| {
            CommandError::Other(format!(
                "account not found: no account has {what}; `steward account list` shows the accounts"
            ))
        };
        let name = self.account.trim();
        let (id, what) = if name.contains('@') {
            let context = Context {
                principal: reseller.map_or_else(Principal::command_line, Principal::of_reseller),
                ..context()
            };
            let what = format!(
                "the address {name}{}; a deleted account is found by its number or UUID only",
                match reseller {
                    Some(reseller) => format!(" at reseller {reseller}"),
                    None => String::new(),
                }
            );
            let email = AccountRef::Email(Email::parse(name)?);
            match service.find(&context, email).await {
                Ok(id) => (id, what),
                Err(Error::AccountNotFound | Error::AccountOfAnother) => {
                    return Err(missing(&what));
                }
                Err(Error::InvalidField { problem, .. }) => {
                    return Err(CommandError::Other(format!(
                        "the address {name} {problem}; name one with --reseller, or use the \
                         account's number"
                    )));
                }
                Err(error) => return Err(error.into()),
            }
        } else if let Ok(uid) = Uuid::try_parse(name) {
            let what = format!("the UUID {uid}");
            match service.resolve(&context(), uid).await {
                Ok(id) => (id, what),
                Err(Error::AccountNotFound) => return Err(missing(&what)),
                Err(error) => return Err(error.into()),
            }
        } else {
            (number(name)?, format!("the number {name}"))
        };
        let account = match service.account_or_deleted(&context(), id).await {
            Ok(account) => account,
            Err(Error::AccountNotFound) => return Err(missing(&what)),
            Err(error) => return Err(error.into()),
        };
        match reseller {
            Some(reseller) if reseller != account.reseller_id => Err(CommandError::Other(format!(
                "account {id} belongs to reseller {}, not to reseller {reseller}; leave out \
                 --reseller, or name reseller {}",
                account.reseller_id, account.reseller_id
            ))),
            _ => Ok(account),
        }
    }
}

fn number(name: &str) -> Result<AccountId, CommandError> {
    let id = name
        .parse()
        .ok()
        .and_then(|id: i64| AccountId::new(id).ok());
    id.ok_or_else(|| {
        CommandError::Other(format!(
            "{name:?} names no account: it must be a number from 1 to 2147483647, a UUID, or an \
             e-mail address"
        ))
    })
}

/// How messages name an account: `7 (jo@example.com)`.
pub(super) fn label(account: &Account) -> String {
    match &account.profile.email {
        Some(email) => format!("{} ({})", account.id, email.as_str()),
        None => account.id.to_string(),
    }
}
