//! The contracts that the service speaks.

use serde_json::Value;

use crate::config::Config;
use crate::dialects::{admin, soap};

pub(super) fn openapi() -> Value {
    admin::openapi()
}

pub(super) fn wsdl(config: &Config) -> String {
    let base = config.server.public_url.clone().unwrap_or_else(|| format!("http://{}", config.server.listen));
    soap::wsdl(&format!("{base}{}", soap::PATH))
}
