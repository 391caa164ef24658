//! `steward serve`, `worker` and `migrate`

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{CommandError, Fetching, output};
use crate::app::{self, Database, Migrations, Running, ServeOptions};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Where the API listens; port 0 picks one.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where /livez and /readyz are.
    #[arg(long, value_name = "ADDRESS")]
    management_listen: Option<SocketAddr>,
    /// Write the bound addresses here as JSON once requests are answered.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Only check that the migrations are applied.
    #[arg(long)]
    no_migrate: bool,
    /// Leave the workers to `steward worker`.
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
    /// Where /livez and /readyz are.
    #[arg(long, value_name = "ADDRESS")]
    management_listen: Option<SocketAddr>,
    /// Write the bound addresses here as JSON once the workers run.
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

/// A stop that is asked for while the database is still starting counts too.
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
    let database = Database::open(config).await?;
    let applied = database.migrate().await;
    database.close().await;
    output::line(&match applied? {
        0 => "the database is up to date".to_owned(),
        1 => "applied 1 migration".to_owned(),
        several => format!("applied {several} migrations"),
    });
    Ok(())
}
