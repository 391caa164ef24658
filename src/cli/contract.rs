//! The contracts that the service speaks.

use serde_json::Value;

use crate::dialects::admin;

pub(super) fn openapi() -> Value {
    admin::openapi()
}
