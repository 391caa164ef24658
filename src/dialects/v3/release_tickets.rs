//! Release tickets, with which a payment service lifts a freeze without a token.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::call::Call;
use super::respond::{One, Reply};
use crate::dialects::failure::Failure;
use crate::domain::{Dialect, Outcome};
use crate::service::CommandOutcome;

/// The body of `POST /v3/release-tickets/redeem`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RedeemRequest)]
pub(super) struct Redeem {
    /// The ticket from the answer to the freeze.
    #[schema(value_type = String, max_length = 255)]
    ticket: secrecy::SecretString,
}

/// The result of redeeming a release ticket.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Release)]
pub(super) struct ReleaseDocument {
    /// Whether this request lifted the freeze. False if it had been lifted before.
    changed: bool,
    /// The computed state of the account.
    effective_status: &'static str,
}

fn document(done: &CommandOutcome) -> ReleaseDocument {
    ReleaseDocument {
        changed: done.outcome == Outcome::Applied,
        effective_status: done.account.state(done.at).effective_status(),
    }
}

/// Lifts the freeze that the ticket names. The ticket itself authorizes the request.
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
