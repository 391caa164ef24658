//! `steward demo`: the service with something in it to try things on.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CommandError, Fetching, output};
use crate::app::{self, Bound, Migrations, Running, ServeOptions};
use crate::config::Config;
use crate::domain::{
    AccountId, Dialect, Email, Error, HoldKind, HoldPatch, Patch, PaymentUrl, ProfilePatch,
    ResellerId, Revision, Status, Time,
};
use crate::service::{Completion, Context, NewReseller, Principal, Service, TokenRequest};

/// The resellers of the demo.
const RESELLERS: [&str; 2] = ["Demo Hosting", "Demo Licences"];
/// The accounts: whose (by place in [`RESELLERS`]), name, and what state they get.
const ACCOUNTS: [(usize, &str, Demonstrated); 12] = [
    (0, "anna", Demonstrated::Active),
    (0, "bert", Demonstrated::Frozen),
    (0, "cleo", Demonstrated::Suspended),
    (0, "dora", Demonstrated::Inactive),
    (0, "emil", Demonstrated::Expired),
    (0, "fred", Demonstrated::FrozenAndSuspended),
    (0, "gina", Demonstrated::Active),
    (0, "hugo", Demonstrated::SuspendedByOperator),
    (1, "ines", Demonstrated::Active),
    (1, "jens", Demonstrated::Frozen),
    (1, "kira", Demonstrated::Deleted),
    (1, "lars", Demonstrated::Active),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demonstrated {
    Active,
    Frozen,
    Suspended,
    SuspendedByOperator,
    FrozenAndSuspended,
    Inactive,
    Expired,
    Deleted,
}

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Write the bound addresses here as JSON once requests are answered.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Print the address and tokens of the demo as shell variables, and exit.
    #[arg(long)]
    print_env: bool,
    #[command(flatten)]
    fetching: Fetching,
}

/// What the demo remembers from one start to the next, in a file that only its owner can read.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    url: String,
    operator_token: String,
    reseller_tokens: Vec<String>,
}

impl Demo {
    pub(super) async fn run(self, mut config: Config) -> Result<(), CommandError> {
        let remembered_at = config.data_dir()?.join("demo.json");
        if self.print_env {
            return print_env(&remembered_at);
        }
        self.fetching.apply(&mut config);
        let mut stop = std::pin::pin!(app::signal());
        let running = tokio::select! {
            running = Running::start(&config, Migrations::Apply) => running?,
            () = &mut stop => return Ok(()),
        };
        let remembered = match prepare(&running.service, &remembered_at).await {
            Ok(remembered) => remembered,
            Err(error) => {
                running.stop().await;
                return Err(error);
            }
        };
        let options = ServeOptions {
            listeners: true,
            workers: true,
            ready_file: self.ready_file,
        };
        let announce = |bound: Bound| {
            let url = format!("http://{}", bound.listen.unwrap_or(config.server.listen));
            let remembered = Remembered { url, ..remembered };
            if let Err(error) = remember(&remembered_at, &remembered) {
                output::complain(&error.to_string());
            }
            welcome(&remembered);
        };
        Ok(app::serve(running, &config, &options, stop, announce).await?)
    }
}

fn print_env(at: &Path) -> Result<(), CommandError> {
    let nothing =
        || CommandError::Other("there is no demo yet; start one with `steward demo`".to_owned());
    let remembered: Remembered =
        serde_json::from_str(&fs::read_to_string(at).map_err(|_| nothing())?)
            .map_err(|_| nothing())?;
    let [first, second] = remembered.reseller_tokens.as_slice() else {
        return Err(nothing());
    };
    output::line(&format!("export STEWARD_URL='{}'", remembered.url));
    output::line(&format!("export TOKEN='{first}'"));
    output::line(&format!("export OTHER_TOKEN='{second}'"));
    output::line(&format!(
        "export OPERATOR_TOKEN='{}'",
        remembered.operator_token
    ));
    Ok(())
}

fn remember(at: &Path, remembered: &Remembered) -> Result<(), CommandError> {
    let fail = |error: std::io::Error| CommandError::Other(format!("{}: {error}", at.display()));
    let beside = at.with_extension("new");
    let text = serde_json::to_string_pretty(remembered).unwrap_or_default();
    if let Some(folder) = at.parent() {
        fs::create_dir_all(folder).map_err(fail)?;
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)?;
    fs::rename(&beside, at).map_err(fail)
}

/// Fills an empty service, or finds what an earlier start left.
async fn prepare(service: &Service, at: &Path) -> Result<Remembered, CommandError> {
    let known: Option<Remembered> = fs::read_to_string(at)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok());
    if let Some(known) = known
        && still_valid(service, &known).await?
    {
        return Ok(known);
    }
    let operator = Principal::command_line();
    let existing = service.resellers(&operator, 0, i64::MAX).await?;
    let mut resellers = Vec::new();
    let mut is_new = true;
    for name in RESELLERS {
        let found = existing
            .iter()
            .find(|reseller| reseller.name == name)
            .map(|reseller| reseller.id);
        is_new &= found.is_none();
        resellers.push(if let Some(id) = found {
            id
        } else {
            let new = NewReseller {
                name: name.to_owned(),
                ..NewReseller::default()
            };
            service
                .create_reseller(&operator, new, None)
                .await?
                .done()?
                .id
        });
    }
    if is_new {
        for (owner, name, state) in ACCOUNTS {
            if let Some(reseller) = resellers.get(owner) {
                make(service, *reseller, name, state).await?;
            }
        }
    }
    let operator_token = token(service, None).await?;
    let mut reseller_tokens = Vec::new();
    for reseller in resellers {
        reseller_tokens.push(token(service, Some(reseller)).await?);
    }
    let remembered = Remembered {
        url: String::new(),
        operator_token,
        reseller_tokens,
    };
    remember(at, &remembered)?;
    Ok(remembered)
}

async fn still_valid(service: &Service, known: &Remembered) -> Result<bool, CommandError> {
    if known.reseller_tokens.len() != RESELLERS.len() {
        return Ok(false);
    }
    for token in known.reseller_tokens.iter().chain([&known.operator_token]) {
        match service
            .authenticate(&SecretString::from(token.as_str()))
            .await
        {
            Ok(_) => {}
            Err(Error::CredentialInvalid) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

async fn token(service: &Service, reseller: Option<ResellerId>) -> Result<String, CommandError> {
    let request = TokenRequest {
        reseller,
        name: Some("demo".to_owned()),
        ..TokenRequest::default()
    };
    Ok(service
        .create_token(&Principal::command_line(), request, None)
        .await?
        .done()?
        .token
        .expose_secret()
        .to_owned())
}

async fn make(
    service: &Service,
    reseller: ResellerId,
    name: &str,
    state: Demonstrated,
) -> Result<(), CommandError> {
    let by = |principal: Principal| Context {
        principal,
        dialect: Dialect::Cli,
        request_id: format!("demo-{}", Uuid::new_v4()),
    };
    let operator = by(Principal::command_line());
    let owner = by(Principal {
        reseller: Some(reseller),
        ..Principal::command_line()
    });
    let revision = described(name, service.now(), state)?;
    let Completion::Fresh(made) = service
        .create(&operator, Some(reseller), revision, None)
        .await?
    else {
        return Ok(());
    };
    let id = made.account.id;
    match state {
        Demonstrated::Active | Demonstrated::Inactive | Demonstrated::Expired => {}
        Demonstrated::Frozen => freeze(service, &owner, id).await?,
        Demonstrated::Suspended => suspend(service, &owner, id).await?,
        Demonstrated::SuspendedByOperator => suspend(service, &operator, id).await?,
        Demonstrated::FrozenAndSuspended => {
            freeze(service, &owner, id).await?;
            suspend(service, &owner, id).await?;
        }
        Demonstrated::Deleted => drop(service.delete(&owner, id, None).await?),
    }
    Ok(())
}

fn described(name: &str, now: Time, state: Demonstrated) -> Result<Revision, Error> {
    let profile = ProfilePatch {
        name: Patch::Set(name.to_owned()),
        title: Patch::Set(format!(
            "{}{}'s account",
            name.get(..1).unwrap_or_default().to_uppercase(),
            name.get(1..).unwrap_or_default()
        )),
        email: Patch::Set(Email::parse(&format!("{name}@example.com"))?),
        timezone: Patch::Set("Europe/Berlin".to_owned()),
        tariff_id: Patch::Set(1),
        reports_day: Patch::Set(1),
        reports_hour: Patch::Set(9),
        ..ProfilePatch::default()
    };
    let expires_at = if state == Demonstrated::Expired {
        now - TimeDelta::days(3)
    } else {
        now + TimeDelta::days(365)
    };
    let status = (state == Demonstrated::Inactive).then_some(Status::Inactive);
    Ok(Revision {
        profile,
        status,
        expires_at: Some(Some(expires_at)),
    })
}

async fn freeze(service: &Service, by: &Context, id: AccountId) -> Result<(), CommandError> {
    let details = HoldPatch {
        payment_url: Patch::Set(PaymentUrl::parse("https://example.com/pay")?),
        ..HoldPatch::default()
    };
    service
        .place(by, id, HoldKind::Freeze, details, None)
        .await?;
    Ok(())
}

async fn suspend(service: &Service, by: &Context, id: AccountId) -> Result<(), CommandError> {
    let details = HoldPatch {
        reason_code: Patch::Set("abuse".to_owned()),
        public_message: Patch::Set("Please contact us.".to_owned()),
        ..HoldPatch::default()
    };
    service
        .place(by, id, HoldKind::Suspend, details, None)
        .await?;
    Ok(())
}

/// What to do next, ready to be pasted.
fn welcome(remembered: &Remembered) {
    let base = format!("{}/api/v1.1/admin/accounts", remembered.url);
    let token = remembered
        .reseller_tokens
        .first()
        .map_or("", String::as_str);
    let call = |name: &str, media: &str, body: &str| {
        format!(
            "curl -X POST {base}/{name} \\\n  -H 'Content-Type: application/{media}' \\\n  -d '{body}'"
        )
    };
    let soap = |name: &str, more: &str| {
        let content = format!(
            "<{name} xmlns=\"Zoolz\"><authToken>{token}</authToken><accountID>7</accountID>{more}</{name}>"
        );
        let envelope = format!(
            "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\"><s:Body>{content}</s:Body></s:Envelope>"
        );
        format!(
            "curl -X POST {}{} \\\n  -H 'Content-Type: application/soap+xml' \\\n  -d '{envelope}'",
            remembered.url,
            crate::dialects::soap::PATH
        )
    };
    let text = [
        format!("Steward runs at {}. Ctrl-C stops it; the next start finds the same data.", remembered.url),
        String::new(),
        format!("  operator                {}", remembered.operator_token),
        format!("  reseller {:<14} {token}   (accounts 1 to 8 on a new database)", RESELLERS[0]),
        format!("  reseller {:<14} {}   (accounts 9 to 12)", RESELLERS[1], remembered.reseller_tokens.get(1).map_or("", String::as_str)),
        String::new(),
        "Freeze an account, in JSON, and see what blocks it:".to_owned(),
        call("freeze", "json", &format!(r#"{{"token":"{token}","id":7,"frozen_details":{{"payment_url":"https://example.com"}}}}"#)),
        call("explain", "json", &format!(r#"{{"token":"{token}","id":7}}"#)),
        String::new(),
        "Unfreeze it, in XML:".to_owned(),
        call("unfreeze", "xml", &format!("<xml><token>{token}</token><id>7</id></xml>")),
        String::new(),
        "Suspend it, switch it off, move its expiry date, list all:".to_owned(),
        call("suspend", "json", &format!(r#"{{"token":"{token}","id":7}}"#)),
        call("status", "json", &format!(r#"{{"token":"{token}","id":7,"status":"inactive"}}"#)),
        call("expiry_date", "json", &format!(r#"{{"token":"{token}","id":7,"expiry_date":"2027-12-31"}}"#)),
        call("list/", "json", &format!(r#"{{"token":"{token}"}}"#)),
        String::new(),
        "Suspend it and move its expiry date over SOAP:".to_owned(),
        soap("SuspendAccountUsingAccountID", ""),
        soap("ChangeAccountExpiryDateUsingAccountID", "<expiryDate>2027-12-31T23:59:59Z</expiryDate>"),
        String::new(),
        "In another terminal, `eval \"$(steward demo --print-env)\"` sets STEWARD_URL, TOKEN, OTHER_TOKEN and OPERATOR_TOKEN.".to_owned(),
    ];
    output::line(&text.join("\n"));
}
