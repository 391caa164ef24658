//! `steward config`

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::output;
use crate::config::Loaded;

#[derive(Debug, Subcommand)]
pub(super) enum Configuration {
    /// Check the configuration, and name every mistake; the exit code is 1 if it is invalid.
    #[command(after_help = "\
A value that is ******** is the mask that `config show` prints in place of a secret. It is accepted \
here, and not checked. A service refuses to start with it.

Example:
  steward config check steward.toml")]
    Check {
        /// The configuration file, as --config names it.
        #[arg(value_name = "FILE", conflicts_with = "config")]
        file: Option<PathBuf>,
    },
    /// Show the effective configuration with the source of each value; secrets are masked.
    #[command(after_help = "\
The output is a configuration file. Put the secrets in place of the masks ******** before you use \
it.

Example:
  STEWARD_SERVER__LISTEN=0.0.0.0:8080 steward config show")]
    Show,
}

impl Configuration {
    /// The file that the command names besides `--config`.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::Check { file } => file.as_deref(),
            Self::Show => None,
        }
    }

    /// Reading the configuration has already checked it.
    pub(super) fn run(&self, loaded: &Loaded) {
        match self {
            Self::Check { .. } => {
                output::line("the configuration is valid");
                if !loaded.masked().is_empty() {
                    output::note(&format!(
                        "The values of these keys are masks, so they were not checked: {}.",
                        loaded.masked().join(", ")
                    ));
                }
            }
            Self::Show => output::line(loaded.show().trim_end()),
        }
    }
}
