//! Release tickets: whoever collects the payment lifts the freeze that asked for the ticket.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::call::Call;
use super::respond::{One, Reply};
use crate::dialects::failure::Failure;
use crate::domain::{Dialect, Outcome};
use crate::service::CommandOutcome;

/// `POST /v3/release-tickets/redeem`
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RedeemRequest)]
pub(super) struct Redeem {
    /// As it was answered to the freeze.
    #[schema(value_type = String, max_length = 255)]
    ticket: secrecy::SecretString,
}

/// What a release ticket did.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Release)]
pub(super) struct ReleaseDocument {
    /// Whether it lifted the freeze now; if not, that was lifted before.
    changed: bool,
    effective_status: &'static str,
}

fn document(done: &CommandOutcome) -> ReleaseDocument {
    ReleaseDocument {
        changed: done.outcome == Outcome::Applied,
        effective_status: done.account.state(done.at).effective_status(),
    }
}

/// The ticket is all the right that this takes.
pub(super) async fn redeem(
    api: &Api,
    call: Call,
    members: Redeem,
) -> Result<Reply<One<ReleaseDocument>>, Failure> {
    let request_id = call.request_id.to_string();
    let done = api
        .service
        .redeem(&members.ticket, Dialect::V3, request_id)
        .await?;
    Ok(Reply::one(document(&done)))
}
