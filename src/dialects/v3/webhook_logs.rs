//! The log of delivery attempts.

use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::call::Request;
use super::log_page::{log_page, log_reply};
use super::path_id::EventLogId;
use super::respond::{Many, One, Reply};
use super::webhooks::{QueuedReply, queued};
use crate::dialects::dates;
use crate::dialects::failure::Failure;
use crate::service::{Attempt, AttemptFilter, Context};

/// One attempt to deliver an event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebhookEventLog)]
pub(super) struct LogDocument {
    #[schema(format = Uuid)]
    id: String,
    #[schema(format = Uuid)]
    webhook_id: String,
    event: String,
    /// The id of the message. All attempts to deliver the message have the same id.
    event_id: String,
    /// The account's number. Null for a test message.
    account_id: Option<i32>,
    /// The number of the attempt, from 1.
    attempt: i32,
    succeeded: bool,
    /// The HTTP status of the receiver's answer. Null if there was no answer.
    status_code: Option<i16>,
    /// Why the attempt failed. Null if it succeeded.
    problem: Option<String>,
    /// The beginning of the receiver's answer.
    response: Option<String>,
    /// The duration of the attempt, in milliseconds.
    duration_ms: i32,
    #[schema(format = DateTime)]
    created_at: String,
}

fn log_document(attempt: &Attempt) -> LogDocument {
    LogDocument {
        id: attempt.id.to_string(),
        webhook_id: attempt.endpoint_id.to_string(),
        event: attempt.key.event.clone(),
        event_id: crate::domain::message_id(attempt.key.event_id, &attempt.key.event),
        account_id: Some(attempt.key.account).filter(|account| *account > 0),
        attempt: attempt.number,
        succeeded: attempt.succeeded,
        status_code: attempt.status,
        problem: attempt.problem.clone(),
        response: attempt.answer.clone(),
        duration_ms: attempt.duration_ms,
        created_at: dates::write(attempt.at),
    }
}

pub(super) async fn redeliver(
    api: &Api,
    context: &Context,
    Request {
        id: EventLogId(id),
        call,
        ..
    }: Request<EventLogId>,
) -> QueuedReply {
    let queued_one = |(): &()| queued(1);
    let idempotency = call.idempotency(queued_one);
    let completion = api.service.redeliver_one(context, id, idempotency).await?;
    Ok(Reply::<One<_>>::completed(completion, queued_one))
}

pub(super) async fn list(
    api: &Api,
    context: &Context,
    Request { call, .. }: Request<()>,
) -> Result<Reply<Many<LogDocument>>, Failure> {
    let query = &call.query;
    let succeeded = match query.text("succeeded") {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(word) => return Err(Failure::must_be("succeeded", "true or false", word)),
    };
    let filter = AttemptFilter {
        endpoint: query.uuid("webhookId")?,
        succeeded,
        from: None,
        before: query.before()?,
        text: query.search.clone(),
    };
    let reseller = query.reseller()?;
    let page = log_page(query)?;
    let (attempts, count) = api
        .service
        .delivery_attempts(context, reseller, filter, page)
        .await?;
    if query.is_by_page() {
        return log_reply(&call, attempts, count, log_document);
    }
    let next = |last: &Attempt| query.link("before", &last.id.to_string(), &call.uri);
    Ok(Reply::page(
        call.format(),
        query.rows(attempts),
        log_document,
        next,
    ))
}
