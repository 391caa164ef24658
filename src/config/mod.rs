//! The configuration: defaults, then a file, then the environment. Later values override earlier
//! ones. Commands apply their flags afterwards.
//!
//! The defaults are read from `config/default.toml`, so that file documents the real values.

mod check;
mod environment;
mod keys;
mod mistakes;
mod sections;
mod settings;
mod show;

use std::env;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format as _, Toml};
use nix::unistd::Uid;
use secrecy::SecretString;

use crate::secret_url::MASK;

pub use sections::*;

const DEFAULTS: &str = include_str!("../../config/default.toml");
/// Keys whose values are masked in output.
const SECRET: [&str; 2] = ["database.url", "jwt.secret"];
/// Keys with a URL that may have a password or a token.
const URLS: [&str; 2] = ["traces.endpoint", "jwt.jwks_url"];
/// The maximum number of connections to the embedded cluster, over all processes.
const EMBEDDED_CONNECTIONS: u32 = 100;

/// What is wrong with the configuration: one line for each mistake, which names the key, what is
/// accepted, and where the value comes from. For the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Problem(String);

/// The configuration, and the sources that it was merged from.
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The keys whose values are masks that [`Loaded::show`] wrote.
    masked: Vec<String>,
    /// Names the environment variables that look like keys and are not read. `None` means that
    /// there are none.
    pub warning: Option<String>,
    figment: Figment,
}

/// Leaves out the sources, because they have the secrets in clear.
impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Loaded {
    /// Reads the defaults, then `file`, then the environment. `None` means the file that
    /// `STEWARD_CONFIG` names, if any.
    ///
    /// # Errors
    /// [`Problem`] names every mistake. For an unknown key it suggests the nearest known one.
    pub fn read(file: Option<&Path>) -> Result<Self, Problem> {
        let from_environment = env::var_os("STEWARD_CONFIG")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        let source = match (file, from_environment) {
            (Some(file), _) => Some((file.to_owned(), "--config")),
            (None, Some(file)) => Some((file, "STEWARD_CONFIG")),
            (None, None) => None,
        };
        let mut figment = Figment::from(Toml::string(DEFAULTS));
        let defaults = figment
            .find_value("")
            .map_err(|error| Problem(mistakes::without_quotes(&error.to_string())))?;
        if let Some((file, named_by)) = source {
            if !file.is_file() {
                let kind = if file.is_dir() {
                    "is a folder, not a file"
                } else {
                    "there is no such file"
                };
                return Err(Problem(format!(
                    "{}: {kind}; {named_by} names it",
                    file.display()
                )));
            }
            figment = figment.merge(Toml::file_exact(&file));
        }
        let figment = environment::merge(figment);
        let (config, masked) = mistakes::read(&figment, &defaults)?;
        Ok(Self {
            config,
            masked,
            warning: environment::warning(&defaults),
            figment,
        })
    }

    /// The keys whose values are masks that [`Loaded::show`] wrote in place of secrets. Their
    /// values are not checked.
    #[must_use]
    pub fn masked(&self) -> &[String] {
        &self.masked
    }

    /// Refuses masks in place of secrets: nothing can run with them.
    ///
    /// # Errors
    /// [`Problem`] names the keys.
    pub fn require_secrets(&self) -> Result<(), Problem> {
        let lines: Vec<String> = self
            .masked
            .iter()
            .map(|key| {
                format!(
                    "{key}: is the mask {MASK} that `steward config show` prints in place of a \
                     secret; put the secret itself there, or set {}",
                    environment::variable(key)
                )
            })
            .collect();
        if lines.is_empty() {
            Ok(())
        } else {
            Err(Problem(lines.join("\n")))
        }
    }
}

impl Config {
    /// The database URL. `None` means that the embedded cluster is used.
    #[must_use]
    pub fn database_url(&self) -> Option<&SecretString> {
        use secrecy::ExposeSecret as _;
        self.database
            .url
            .as_ref()
            .filter(|url| !url.expose_secret().is_empty())
    }

    /// The folder of the embedded cluster: the configured one, or the default folder of the user.
    ///
    /// # Errors
    /// [`Problem`] if none is configured and the user has no home folder.
    pub fn data_dir(&self) -> Result<PathBuf, Problem> {
        if let Some(configured) = &self.database.data_dir {
            return std::path::absolute(configured)
                .map_err(|error| Problem(format!("database.data_dir: {error}")));
        }
        if Uid::effective().is_root() {
            return Ok(PathBuf::from("/var/lib/steward"));
        }
        let folder_in = |name| {
            env::var_os(name)
                .filter(|path| !path.is_empty())
                .map(PathBuf::from)
        };
        let share = folder_in("XDG_DATA_HOME")
            .or_else(|| folder_in("HOME").map(|home| home.join(".local/share")));
        share.map(|share| share.join("steward")).ok_or_else(|| {
            Problem("database.data_dir: is required, because HOME is not set".to_owned())
        })
    }
}
