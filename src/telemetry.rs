//! The log: on standard error, for people on a terminal, as JSON lines elsewhere.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Log, LogFormat};

/// Starts the log; a second call changes nothing.
///
/// # Errors
/// What is wrong with the configured level.
pub fn start(log: &Log) -> Result<(), String> {
    let filter = EnvFilter::try_new(&log.level).map_err(|error| format!("log.level: {error}"))?;
    let is_pretty = match log.format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let started = if is_pretty {
        let layer = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).with_target(false);
        registry.with(layer).try_init()
    } else {
        registry.with(fmt::layer().json().with_writer(io::stderr).flatten_event(true).with_current_span(true).with_span_list(false)).try_init()
    };
    // It fails only where a log was started before.
    drop(started);
    Ok(())
}
