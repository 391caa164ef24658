//! `steward demo`: the service with demo data to experiment with.

use std::fs::{self, File, TryLockError};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use clap::Args;
use ipnet::IpNet;
use nix::fcntl::OFlag;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CommandError, Fetching, output, socket_address};
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
    /// The address and port of the API; port 0 picks a free port.
    #[arg(long, value_name = "ADDRESS", value_parser = socket_address)]
    listen: Option<SocketAddr>,
    /// The address and port of /livez, /readyz and /metrics.
    #[arg(long, value_name = "ADDRESS", value_parser = socket_address)]
    management_listen: Option<SocketAddr>,
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
    /// Empty until the demo listens.
    url: String,
    operator_token: String,
    reseller_tokens: [String; 2],
}

impl Demo {
    pub(super) async fn run(self, mut config: Config) -> Result<(), CommandError> {
        let folder = config.data_dir()?;
        if self.print_env {
            return print_env(&folder);
        }
        if config.environment == Environment::Production {
            let problem = "a demo is not for production: it would create resellers, accounts and \
                           an operator's token in the database; unset STEWARD_ENVIRONMENT and \
                           DATABASE_URL, and it runs on an embedded PostgreSQL";
            return Err(CommandError::Other(problem.to_owned()));
        }
        config.server.listen = self.listen.unwrap_or(config.server.listen);
        config.server.management_listen = self
            .management_listen
            .unwrap_or(config.server.management_listen);
        self.fetching.apply(&mut config);
        allow_loopback(&mut config);
        // Before anything is made, so that a port that is taken leaves nothing behind.
        check_alone(&folder)?;
        app::check_addresses(&config).await?;
        let mut stop = std::pin::pin!(app::signal());
        let running = tokio::select! {
            running = Running::start(&config, Migrations::Apply) => running?,
            () = &mut stop => return Ok(()),
        };
        // The lock ends with the process. Taken now, because the folder exists now.
        let (_lock, demo) = match prepare(&running.service, &folder).await {
            Ok(prepared) => prepared,
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
            if let Err(error) = write(&folder, &demo) {
                output::error(&error.to_string());
            }
            welcome(&demo);
        };
        Ok(app::serve(running, &config, &options, stop, announce).await?)
    }
}

/// Lets webhooks into this machine, over http too: a receiver that is being written runs here.
fn allow_loopback(config: &mut Config) {
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

/// The file with the tokens and the address of the demo.
fn file(folder: &Path) -> PathBuf {
    folder.join("demo.json")
}

fn print_env(folder: &Path) -> Result<(), CommandError> {
    let name = format!(
        "{} (the key database.data_dir, STEWARD_DATABASE__DATA_DIR)",
        folder.display()
    );
    let Some(demo) = read(folder) else {
        return Err(CommandError::Other(format!(
            "there is no demo in the folder {name}: start one with `steward demo`, or name its \
             folder"
        )));
    };
    if check_alone(folder).is_ok() {
        return Err(CommandError::Other(format!(
            "the demo in the folder {name} is not running: start it with `steward demo`"
        )));
    }
    if demo.url.is_empty() {
        return Err(CommandError::Other(format!(
            "the demo in the folder {name} is starting: try again when it has printed its address"
        )));
    }
    let [first, second] = &demo.reseller_tokens;
    output::line(&format!("export STEWARD_URL='{}'", demo.url));
    output::line(&format!("export TOKEN='{first}'"));
    output::line(&format!("export OTHER_TOKEN='{second}'"));
    output::line(&format!("export OPERATOR_TOKEN='{}'", demo.operator_token));
    Ok(())
}

/// Takes the lock that a demo holds while it runs. `None` means that another process has it. No
/// link is followed: the folder may belong to another user.
fn lock(folder: &Path) -> Result<Option<File>, CommandError> {
    let path = folder.join("demo.lock");
    let fail = |error: std::io::Error| CommandError::Other(format!("{}: {error}", path.display()));
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(false).mode(0o600);
    let file = file.custom_flags(OFlag::O_NOFOLLOW.bits());
    let file = file.open(&path).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(fail(error)),
    }
}

/// Refuses a second demo on a folder. Creates nothing.
fn check_alone(folder: &Path) -> Result<(), CommandError> {
    if !folder.join("demo.lock").exists() || lock(folder)?.is_some() {
        return Ok(());
    }
    let url = read(folder).map(|demo| demo.url).unwrap_or_default();
    Err(CommandError::Other(format!(
        "a demo is running on the folder {} already, {}: stop it first, or choose another folder \
         with the key database.data_dir (STEWARD_DATABASE__DATA_DIR)",
        folder.display(),
        if url.is_empty() {
            "and is starting".to_owned()
        } else {
            format!("at {url}")
        }
    )))
}

/// Reads the file of an earlier start. `None` means that there is none, or that it is not readable.
fn read(folder: &Path) -> Option<DemoFile> {
    serde_json::from_str(&fs::read_to_string(file(folder)).ok()?).ok()
}

/// Writes the file so that only its owner can read it.
fn write(folder: &Path, demo: &DemoFile) -> Result<(), CommandError> {
    let path = file(folder);
    let fail = |error: std::io::Error| CommandError::Other(format!("{}: {error}", path.display()));
    let text = serde_json::to_string_pretty(demo).unwrap_or_default();
    files::replace(&path, 0o600, text.as_bytes()).map_err(fail)
}

/// Creates the demo data and new tokens, unless the tokens of an earlier start are still valid.
/// Returns the lock of the demo with them.
async fn prepare(service: &Service, folder: &Path) -> Result<(File, DemoFile), CommandError> {
    let show =
        |error: std::io::Error| CommandError::Other(format!("{}: {error}", folder.display()));
    // With a database URL, nothing else has made the folder.
    fs::create_dir_all(folder).map_err(show)?;
    let Some(lock) = lock(folder)? else {
        check_alone(folder)?;
        return Err(CommandError::Other(format!(
            "another demo on the folder {} has just ended: start it again",
            folder.display()
        )));
    };
    let demo = DemoFile {
        url: String::new(),
        ..tokens(service, folder).await?
    };
    write(folder, &demo)?;
    Ok((lock, demo))
}

/// The tokens of an earlier start, if they are still valid; else new ones, with the demo data.
async fn tokens(service: &Service, folder: &Path) -> Result<DemoFile, CommandError> {
    if let Some(demo) = read(folder)
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
    Ok(DemoFile {
        url: String::new(),
        operator_token: token(service, None).await?,
        reseller_tokens: [
            token(service, Some(first)).await?,
            token(service, Some(second)).await?,
        ],
    })
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
