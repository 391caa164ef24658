//! `steward serve`, `worker` and `migrate`

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{CommandError, Fetching, output, socket_address};
use crate::app::{self, Database, Migrations, Running, ServeOptions};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The address and port of the API; port 0 picks a free port.
    #[arg(long, value_name = "ADDRESS", value_parser = socket_address)]
    listen: Option<SocketAddr>,
    /// The address and port of /livez, /readyz and /metrics.
    #[arg(long, value_name = "ADDRESS", value_parser = socket_address)]
    management_listen: Option<SocketAddr>,
    /// Write the listening addresses to this file as JSON when the service is ready.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Do not apply migrations; refuse to start if any is missing.
    #[arg(long)]
    no_migrate: bool,
    /// Serve the API only; `steward worker` runs the rest.
    #[arg(long)]
    no_workers: bool,
    #[command(flatten)]
    fetching: Fetching,
}

impl Serve {
    pub(super) async fn run(self, mut config: Config) -> Result<(), CommandError> {
        config.server.listen = self.listen.unwrap_or(config.server.listen);
        config.server.management_listen = self
            .management_listen
            .unwrap_or(config.server.management_listen);
        self.fetching.apply(&mut config);
        let migrations = if self.no_migrate {
            Migrations::Check
        } else {
            Migrations::Apply
        };
        let options = ServeOptions {
            listeners: true,
            workers: !self.no_workers,
            ready_file: self.ready_file,
        };
        serve(config, migrations, options).await
    }
}

#[derive(Debug, Args)]
pub(super) struct Worker {
    /// The address and port of /livez, /readyz and /metrics.
    #[arg(long, value_name = "ADDRESS", value_parser = socket_address)]
    management_listen: Option<SocketAddr>,
    /// Write the management address to this file as JSON when the workers run.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    #[command(flatten)]
    fetching: Fetching,
}

impl Worker {
    pub(super) async fn run(self, mut config: Config) -> Result<(), CommandError> {
        config.server.management_listen = self
            .management_listen
            .unwrap_or(config.server.management_listen);
        self.fetching.apply(&mut config);
        let options = ServeOptions {
            listeners: false,
            workers: true,
            ready_file: self.ready_file,
        };
        serve(config, Migrations::Check, options).await
    }
}

/// Serves until a signal arrives. A signal while the database is still starting stops the process
/// too.
async fn serve(
    config: Config,
    migrations: Migrations,
    options: ServeOptions,
) -> Result<(), CommandError> {
    let mut stop = std::pin::pin!(app::signal());
    let running = tokio::select! {
        running = Running::start(&config, migrations) => running?,
        () = &mut stop => return Ok(()),
    };
    Ok(app::serve(running, &config, &options, stop, |_| {}).await?)
}

pub(super) async fn migrate(config: &Config) -> Result<(), CommandError> {
    let database = Database::open_or_create(config).await?;
    let applied = database.migrate().await;
    database.close().await;
    output::line(&match applied? {
        0 => "the database is up to date".to_owned(),
        1 => "applied 1 migration".to_owned(),
        count => format!("applied {count} migrations"),
    });
    Ok(())
}
