//! Release tickets, with which a payment service lifts a freeze without a token.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::call::Call;
use super::respond::{Done, One, Reply};
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

fn released(done: &CommandOutcome) -> Done<ReleaseDocument> {
    let changed = done.outcome == Outcome::Applied;
    let document = ReleaseDocument {
        changed,
        effective_status: done.account.state(done.at).effective_status(),
    };
    Done::new(document, changed)
}

/// Lifts the freeze that the ticket names. The ticket itself authorizes the request.
pub(super) async fn redeem(
    api: &Api,
    mut call: Call,
    members: Redeem,
) -> Result<Reply<One<ReleaseDocument>>, Failure> {
    let ticket = api.service.release_ticket(&members.ticket).await?;
    if let Some(stored) = call.look_up_answer(api, &ticket.bearer).await? {
        return Ok(Reply::stored(stored));
    }
    let (request_id, idempotency) = (call.request_id.to_string(), call.idempotency(released));
    let completion = api
        .service
        .redeem(&ticket, Dialect::V3, request_id, idempotency)
        .await?;
    Ok(Reply::<One<_>>::completed(completion, released))
}
