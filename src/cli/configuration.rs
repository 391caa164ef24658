//! `steward config`

use clap::Subcommand;

use super::output;
use crate::config::Loaded;

#[derive(Debug, Subcommand)]
pub(super) enum Configuration {
    /// Check it; says what is wrong, and exits with 1 then.
    #[command(after_help = "Example:\n  steward config check --config steward.toml")]
    Check,
    /// Show the effective configuration, secrets masked, with where each value came from.
    #[command(after_help = "Example:\n  STEWARD_SERVER__LISTEN=0.0.0.0:80 steward config show")]
    Show,
}

impl Configuration {
    /// The configuration was read without complaint when this is called.
    pub(super) fn run(&self, loaded: &Loaded) {
        match self {
            Self::Check => output::line("the configuration is good"),
            Self::Show => output::line(loaded.show().trim_end()),
        }
    }
}
