//! `steward demo`: the service with demo data to experiment with.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use clap::Args;
use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CommandError, Fetching, output};
use crate::app::{self, Bound, Migrations, Running, ServeOptions};
use crate::config::{Config, Environment};
use crate::domain::{
    AccountId, Dialect, Email, Error, HoldKind, HoldPatch, Patch, PaymentUrl, ProfilePatch,
    ResellerId, Revision, Status, Time,
};
use crate::files;
use crate::service::{Completion, Context, NewReseller, Principal, Service, TokenRequest};

/// The names of the demo resellers.
const RESELLERS: [&str; 2] = ["Demo Hosting", "Demo Licences"];
/// The demo accounts: index of the reseller in [`RESELLERS`], name, state.
const ACCOUNTS: [(usize, &str, DemoState); 12] = [
    (0, "anna", DemoState::Active),
    (0, "bert", DemoState::Frozen),
    (0, "cleo", DemoState::Suspended),
    (0, "dora", DemoState::Inactive),
    (0, "emil", DemoState::Expired),
    (0, "fred", DemoState::FrozenAndSuspended),
    (0, "gina", DemoState::Active),
    (0, "hugo", DemoState::SuspendedByOperator),
    (1, "ines", DemoState::Active),
    (1, "jens", DemoState::Frozen),
    (1, "kira", DemoState::Deleted),
    (1, "lars", DemoState::Active),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DemoState {
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
    /// Write the listening addresses to this file as JSON when the service is ready.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Print the address and the tokens of the demo as shell variables, and exit.
    #[arg(long)]
    print_env: bool,
    #[command(flatten)]
    fetching: Fetching,
}

/// What the demo stores between starts, in a file that only its owner can read.
#[derive(Debug, Serialize, Deserialize)]
struct DemoFile {
    url: String,
    operator_token: String,
    reseller_tokens: [String; 2],
}

impl Demo {
    pub(super) async fn run(self, mut config: Config) -> Result<(), CommandError> {
        let path = config.data_dir()?.join("demo.json");
        if self.print_env {
            return print_env(&path);
        }
        if config.environment == Environment::Production {
            let problem = "a demo is not for production: it would create resellers, accounts and \
                           an operator's token in the database; unset STEWARD_ENVIRONMENT and \
                           DATABASE_URL, and it runs on an embedded PostgreSQL";
            return Err(CommandError::Other(problem.to_owned()));
        }
        self.fetching.apply(&mut config);
        allow_loopback(&mut config);
        let mut stop = std::pin::pin!(app::signal());
        let running = tokio::select! {
            running = Running::start(&config, Migrations::Apply) => running?,
            () = &mut stop => return Ok(()),
        };
        let demo = match prepare(&running.service, &path).await {
            Ok(demo) => demo,
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
            let demo = DemoFile { url, ..demo };
            if let Err(error) = write(&path, &demo) {
                output::error(&error.to_string());
            }
            welcome(&demo);
        };
        Ok(app::serve(running, &config, &options, stop, announce).await?)
    }
}

/// Lets webhooks into this machine, over http too: a receiver that is being written runs here.
fn allow_loopback(config: &mut Config) {
    config.webhooks.allow_http = true;
    for network in ["127.0.0.0/8", "::1/128"] {
        config
            .webhooks
            .allowed_networks
            .extend(network.parse::<IpNet>());
    }
}

/// What `doctor` needs to see the embedded database of a demo as the demo does.
pub(super) fn apply_to_doctor(config: &mut Config) {
    let is_demo = config.database_url().is_none()
        && config
            .data_dir()
            .is_ok_and(|folder| folder.join("demo.json").is_file());
    if is_demo {
        allow_loopback(config);
    }
}

fn print_env(path: &Path) -> Result<(), CommandError> {
    let Some(demo) = read(path) else {
        let problem = "there is no demo yet; start one with `steward demo`";
        return Err(CommandError::Other(problem.to_owned()));
    };
    let [first, second] = &demo.reseller_tokens;
    output::line(&format!("export STEWARD_URL='{}'", demo.url));
    output::line(&format!("export TOKEN='{first}'"));
    output::line(&format!("export OTHER_TOKEN='{second}'"));
    output::line(&format!("export OPERATOR_TOKEN='{}'", demo.operator_token));
    Ok(())
}

/// Reads the file of an earlier start. `None` means that there is none, or that it is not readable.
fn read(path: &Path) -> Option<DemoFile> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

/// Writes the file so that only its owner can read it.
fn write(path: &Path, demo: &DemoFile) -> Result<(), CommandError> {
    let fail = |error: std::io::Error| CommandError::Other(format!("{}: {error}", path.display()));
    let text = serde_json::to_string_pretty(demo).unwrap_or_default();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(fail)?;
    }
    files::replace(path, 0o600, text.as_bytes()).map_err(fail)
}

/// Creates the demo data and new tokens, unless the tokens of an earlier start are still valid.
async fn prepare(service: &Service, path: &Path) -> Result<DemoFile, CommandError> {
    if let Some(demo) = read(path)
        && is_valid(service, &demo).await?
    {
        return Ok(demo);
    }
    let operator = Principal::command_line();
    let existing = service.resellers(&operator, 0, i64::MAX).await?;
    let find = |name: &str| existing.iter().find(|reseller| reseller.name == name);
    let is_new = RESELLERS.iter().all(|name| find(name).is_none());
    let mut resellers = [ResellerId(0); 2];
    for (id, name) in resellers.iter_mut().zip(RESELLERS) {
        *id = match find(name) {
            Some(reseller) => reseller.id,
            None => create_reseller(service, name).await?,
        };
    }
    if is_new {
        for (owner, name, state) in ACCOUNTS {
            if let Some(reseller) = resellers.get(owner) {
                create_account(service, *reseller, name, state).await?;
            }
        }
    }
    let [first, second] = resellers;
    let demo = DemoFile {
        url: String::new(),
        operator_token: token(service, None).await?,
        reseller_tokens: [
            token(service, Some(first)).await?,
            token(service, Some(second)).await?,
        ],
    };
    write(path, &demo)?;
    Ok(demo)
}

/// Whether the service accepts all tokens of an earlier start.
async fn is_valid(service: &Service, demo: &DemoFile) -> Result<bool, CommandError> {
    for token in demo.reseller_tokens.iter().chain([&demo.operator_token]) {
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

async fn create_reseller(service: &Service, name: &str) -> Result<ResellerId, CommandError> {
    let new = NewReseller {
        name: name.to_owned(),
        ..NewReseller::default()
    };
    Ok(service
        .create_reseller(&Principal::command_line(), new, None)
        .await?
        .done()?
        .id)
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

async fn create_account(
    service: &Service,
    reseller: ResellerId,
    name: &str,
    state: DemoState,
) -> Result<(), CommandError> {
    let context = |principal: Principal| Context {
        principal,
        dialect: Dialect::Cli,
        request_id: format!("demo-{}", Uuid::new_v4()),
    };
    let operator = context(Principal::command_line());
    let owner = context(Principal::of_reseller(reseller));
    let revision = revision(name, service.now(), state)?;
    let Completion::Fresh(created) = service
        .create(&operator, Some(reseller), revision, None)
        .await?
    else {
        return Ok(());
    };
    let id = created.account.id;
    match state {
        DemoState::Active | DemoState::Inactive | DemoState::Expired => {}
        DemoState::Frozen => freeze(service, &owner, id).await?,
        DemoState::Suspended => suspend(service, &owner, id).await?,
        DemoState::SuspendedByOperator => suspend(service, &operator, id).await?,
        DemoState::FrozenAndSuspended => {
            freeze(service, &owner, id).await?;
            suspend(service, &owner, id).await?;
        }
        DemoState::Deleted => drop(service.delete(&owner, id, None).await?),
    }
    Ok(())
}

fn revision(name: &str, now: Time, state: DemoState) -> Result<Revision, Error> {
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
    let expires_at = if state == DemoState::Expired {
        now - TimeDelta::days(3)
    } else {
        now + TimeDelta::days(365)
    };
    let status = (state == DemoState::Inactive).then_some(Status::Inactive);
    Ok(Revision {
        profile,
        status,
        expires_at: Some(Some(expires_at)),
    })
}

async fn freeze(service: &Service, context: &Context, id: AccountId) -> Result<(), CommandError> {
    let details = HoldPatch {
        payment_url: Patch::Set(PaymentUrl::parse("https://example.com/pay")?),
        ..HoldPatch::default()
    };
    service
        .place(context, id, HoldKind::Freeze, details, None)
        .await?;
    Ok(())
}

async fn suspend(service: &Service, context: &Context, id: AccountId) -> Result<(), CommandError> {
    let details = HoldPatch {
        reason_code: Patch::Set("abuse".to_owned()),
        public_message: Patch::Set("Please contact us.".to_owned()),
        ..HoldPatch::default()
    };
    service
        .place(context, id, HoldKind::Suspend, details, None)
        .await?;
    Ok(())
}

/// Prints the address, the tokens and commands to paste.
fn welcome(demo: &DemoFile) {
    let [token, other_token] = &demo.reseller_tokens;
    let [reseller, other_reseller] = RESELLERS;
    let post = |path: &str, media: &str, body: &str| {
        let url = &demo.url;
        format!(
            "curl -X POST {url}{path} \\\n  -H 'Content-Type: application/{media}' \\\n  -d '{body}'"
        )
    };
    let admin = |operation: &str, media: &str, body: &str| {
        let path = format!("/api/v1.1/admin/accounts/{operation}");
        post(&path, media, body)
    };
    // `members` follow the token in the JSON object.
    let json = |operation: &str, members: &str| {
        admin(
            operation,
            "json",
            &format!(r#"{{"token":"{token}"{members}}}"#),
        )
    };
    let soap = |operation: &str, parameters: &str| {
        let envelope = format!(
            "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\"><s:Body>\
             <{operation} xmlns=\"Zoolz\"><authToken>{token}</authToken>\
             <accountID>7</accountID>{parameters}</{operation}></s:Body></s:Envelope>"
        );
        post(crate::dialects::soap::PATH, "soap+xml", &envelope)
    };
    let text = [
        format!(
            "Steward is running at {}. Ctrl-C stops it. The next start finds the same data.",
            demo.url
        ),
        String::new(),
        format!("  operator                {}", demo.operator_token),
        format!("  reseller {reseller:<14} {token}   (accounts 1 to 8 on a new database)"),
        format!("  reseller {other_reseller:<14} {other_token}   (accounts 9 to 12)"),
        String::new(),
        "Freeze an account with JSON, and ask what blocks it:".to_owned(),
        json(
            "freeze",
            r#","id":7,"frozen_details":{"payment_url":"https://example.com"}"#,
        ),
        json("explain", r#","id":7"#),
        String::new(),
        "Unfreeze it with XML:".to_owned(),
        admin(
            "unfreeze",
            "xml",
            &format!("<xml><token>{token}</token><id>7</id></xml>"),
        ),
        String::new(),
        "Suspend it, set its status, change its expiry date, list all accounts:".to_owned(),
        json("suspend", r#","id":7"#),
        json("status", r#","id":7,"status":"inactive""#),
        json("expiry_date", r#","id":7,"expiry_date":"2027-12-31""#),
        json("list/", ""),
        String::new(),
        "Suspend it and change its expiry date with SOAP:".to_owned(),
        soap("SuspendAccountUsingAccountID", ""),
        soap(
            "ChangeAccountExpiryDateUsingAccountID",
            "<expiryDate>2027-12-31T23:59:59Z</expiryDate>",
        ),
        String::new(),
        "In a second terminal, `eval \"$(steward demo --print-env)\"` sets STEWARD_URL, TOKEN, \
         OTHER_TOKEN and OPERATOR_TOKEN."
            .to_owned(),
    ];
    output::line(&text.join("\n"));
}
