//! The contracts that the service speaks.

use serde_json::Value;

use crate::config::Config;
use crate::dialects::{self, soap};

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
