//! `steward config`

use clap::Subcommand;

use super::output;
use crate::config::Loaded;

#[derive(Debug, Subcommand)]
pub(super) enum Configuration {
    /// Check the configuration; the exit code is 1 if it is invalid.
    #[command(after_help = "\
Example:
  steward config check --config steward.toml")]
    Check,
    /// Show the effective configuration with the source of each value; secrets are masked.
    #[command(after_help = "\
Example:
  STEWARD_SERVER__LISTEN=0.0.0.0:8080 steward config show")]
    Show,
}

impl Configuration {
    /// Reading the configuration has already checked it.
    pub(super) fn run(&self, loaded: &Loaded) {
        match self {
            Self::Check => output::line("the configuration is valid"),
            Self::Show => output::line(loaded.show().trim_end()),
        }
    }
}
