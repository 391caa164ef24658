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

/// `codes` is `word` or `number`.
pub(super) fn wsdl(config: &Config, codes: &str) -> String {
    let codes = soap::CodeStyle::parse(codes).unwrap_or(soap::CodeStyle::Word);
    soap::wsdl(&format!("{}{}", base(config), soap::PATH), codes)
}
