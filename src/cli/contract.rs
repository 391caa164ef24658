//! `steward openapi` and `steward wsdl`

use serde_json::Value;

use crate::config::Config;
use crate::dialects::{self, soap};

/// The service's address: the public URL, or the listener's address if there is none.
fn base(config: &Config) -> String {
    config
        .server
        .public_url
        .clone()
        .unwrap_or_else(|| format!("http://{}", config.server.listen))
}

pub(super) fn openapi(config: &Config) -> Value {
    dialects::openapi(&base(config))
}

pub(super) fn wsdl(config: &Config) -> String {
    soap::wsdl(&format!("{}{}", base(config), soap::PATH))
}
