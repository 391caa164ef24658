//! Webhook endpoints, and the log of what they were sent.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Array, ArrayBuilder, Object, Type};
use uuid::Uuid;

use super::Api;
use super::call::Call;
use super::codes::Failure;
use super::page::{Page, Several};
use crate::dialects::dates;
use crate::dialects::patches::{Reading, text};
use crate::domain::{
    EVENTS, EndpointPatch, Error, ResellerId, Resource, Scope, SignatureStyle, SuspendedBy,
};
use crate::service::{Attempt, AttemptFilter, EndpointView, NewEndpoint};
use crate::wire::Field;

/// How long an old secret signs beside a new one, unless asked otherwise: a day.
const GRACE: u64 = 86_400;

/// A webhook endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Webhook)]
pub(super) struct WebhookDocument {
    #[schema(format = Uuid)]
    id: String,
    reseller_id: i64,
    url: String,
    description: Option<String>,
    events: Vec<String>,
    /// `standard` (the headers of Standard Webhooks) or `plain` (`Webhook-Signature` over the body).
    signature_style: &'static str,
    /// Whether it is sent anything.
    enabled: bool,
    /// `Healthy`, `Unhealthy` while the latest attempt failed, or `Suspended`.
    health: &'static str,
    /// `owner`, `failures` or `gone`, if it is suspended.
    suspended_by: Option<&'static str>,
    /// Since when nothing has succeeded, if the latest attempt failed.
    #[schema(format = DateTime)]
    failing_since: Option<String>,
    #[schema(format = DateTime)]
    last_success_at: Option<String>,
    /// How many deliveries wait to be tried again, counted up to 10,000.
    pending: i64,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    /// In the answer that made it, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    secret: Option<String>,
}

fn with_secret(view: &EndpointView) -> WebhookDocument {
    let endpoint = &view.endpoint;
    WebhookDocument {
        id: endpoint.id.to_string(),
        reseller_id: endpoint.reseller_id.0,
        url: endpoint.url.clone(),
        description: endpoint.description.clone(),
        events: endpoint.events.clone(),
        signature_style: endpoint.style.as_str(),
        enabled: endpoint.suspended_by.is_none(),
        health: endpoint.health(),
        suspended_by: endpoint.suspended_by.map(SuspendedBy::as_str),
        failing_since: endpoint.failing_since.map(dates::write),
        last_success_at: endpoint.last_success_at.map(dates::write),
        pending: view.pending,
        created_at: dates::write(endpoint.created_at),
        updated_at: dates::write(endpoint.updated_at),
        secret: view.secret.clone(),
    }
}

/// What is kept for a repeat: without the secret.
fn document(view: &EndpointView) -> WebhookDocument {
    WebhookDocument {
        secret: None,
        ..with_secret(view)
    }
}

/// An endpoint to be changed: what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebhookRequest)]
pub(super) struct WebhookRequest {
    /// An absolute https URL.
    #[schema(
        max_length = 2048,
        pattern = "^https://[A-Za-z][A-Za-z0-9]*([.-][A-Za-z0-9]+)*(:[0-9]{1,4})?(/[A-Za-z0-9._~-]*)*$"
    )]
    url: Option<String>,
    /// For people.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    description: Field<String>,
    #[schema(schema_with = event_names)]
    events: Option<Vec<String>>,
    /// `standard` or `plain`.
    #[schema(pattern = "^(standard|plain)$")]
    signature_style: Option<String>,
    /// Whether it is sent anything. True takes up again where it was left, also after 410 or days of failures.
    enabled: Option<bool>,
}

fn event_names() -> Array {
    let names = Object::builder()
        .schema_type(Type::String)
        .enum_values(Some(EVENTS));
    let says = "What it wants to be told; `account.updated`, which every change is, if absent on creation.";
    ArrayBuilder::new()
        .items(names)
        .min_items(Some(1))
        .description(Some(says))
        .build()
}

impl WebhookRequest {
    fn patch(self, read: Reading) -> Result<EndpointPatch, Error> {
        let style = |word: String| {
            SignatureStyle::parse(&word)
                .ok_or_else(|| Error::invalid("signature_style", "must be standard or plain"))
        };
        Ok(EndpointPatch {
            url: self.url,
            description: text(self.description, read),
            events: self.events,
            style: self.signature_style.map(style).transpose()?,
            enabled: self.enabled,
        })
    }
}

/// What a creation may name besides.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WebhookPlace {
    /// Of which reseller; with an operator's token only.
    reseller_id: Option<i64>,
    /// The secret that the receiver knows already: for `standard` `whsec_` and the base64 of 24 to 64 bytes, for `plain` 16 to
    /// 255 visible characters. A new one if absent.
    secret: Option<String>,
}

/// An endpoint to be made.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes; is never made")]
#[schema(as = NewWebhook)]
pub(super) struct NewWebhookSchema {
    #[serde(flatten)]
    webhook: WebhookRequest,
    #[serde(flatten)]
    place: WebhookPlace,
}

/// How a secret is replaced.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RotateSecret {
    /// Seconds for which deliveries are signed with the old one too; a day if absent, 30 days at most.
    #[schema(maximum = 2_592_000)]
    grace_seconds: Option<u64>,
    /// The new one; made if absent.
    secret: Option<String>,
}

/// Which deliveries are made once more.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Redeliver {
    /// What has happened since then.
    #[schema(format = DateTime, min_length = 1)]
    since: String,
}

/// How many deliveries were asked for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Queued {
    queued: u64,
}

/// An attempt to deliver.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebhookEventLog)]
pub(super) struct LogDocument {
    #[schema(format = Uuid)]
    id: String,
    #[schema(format = Uuid)]
    webhook_id: String,
    event: String,
    /// The message's identity, the same for every attempt at it.
    event_id: String,
    account_id: Option<i32>,
    /// 1 is the first.
    attempt: i32,
    succeeded: bool,
    status_code: Option<i16>,
    problem: Option<String>,
    /// How the answer begins.
    response: Option<String>,
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

fn id(call: &Call, of: Resource) -> Result<Uuid, Failure> {
    Ok(Uuid::try_parse(call.id()).map_err(|_| Error::NotFound(of))?)
}

pub(super) async fn list(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::WebhookRead).await?;
        let of = Page::read(&call.uri, &["resellerId"])?
            .number("resellerId")?
            .map(ResellerId);
        let found = api.service.webhooks(&context, of).await?;
        Ok(Several::of(
            found.iter().map(document).collect(),
            call.format(),
        ))
    };
    call.answer(outcome.await)
}

pub(super) async fn get(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::WebhookRead).await?;
        Ok(document(
            &api.service
                .webhook(&context, id(&call, Resource::Webhook)?)
                .await?,
        ))
    };
    call.answer(outcome.await)
}

pub(super) async fn create(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::WebhookWrite).await?;
        let (place, request): (WebhookPlace, WebhookRequest) = (call.members()?, call.members()?);
        let patch = request.patch(call.reading(&context))?;
        let new = NewEndpoint {
            reseller: place.reseller_id.map(ResellerId),
            patch,
            secret: place.secret,
        };
        let once = call.once_for(&context, StatusCode::CREATED, document)?;
        Ok(api.service.create_webhook(&context, new, once).await?)
    };
    call.answer_done(outcome.await, StatusCode::CREATED, with_secret)
}

pub(super) async fn patch(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::WebhookWrite).await?;
        let patch = call
            .members::<WebhookRequest>()?
            .patch(call.reading(&context))?;
        let once = call.once_for(&context, StatusCode::OK, document)?;
        Ok(api
            .service
            .revise_webhook(&context, id(&call, Resource::Webhook)?, patch, once)
            .await?)
    };
    call.answer_done(outcome.await, StatusCode::OK, document)
}

pub(super) async fn delete(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::WebhookWrite).await?;
        Ok(api
            .service
            .delete_webhook(&context, id(&call, Resource::Webhook)?)
            .await?)
    };
    match outcome.await {
        Ok(()) => super::call::respond(StatusCode::NO_CONTENT, None, Vec::new()),
        Err(failure) => call.refuse(&failure),
    }
}

pub(super) async fn rotate_secret(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::WebhookWrite).await?;
        let request = call.members::<RotateSecret>()?;
        let grace = Duration::from_secs(request.grace_seconds.unwrap_or(GRACE));
        let once = call.once_for(&context, StatusCode::OK, document)?;
        Ok(api
            .service
            .rotate_webhook_secret(
                &context,
                id(&call, Resource::Webhook)?,
                grace,
                request.secret,
                once,
            )
            .await?)
    };
    call.answer_done(outcome.await, StatusCode::OK, with_secret)
}

pub(super) async fn test(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::WebhookWrite).await?;
        api.service
            .test_webhook(&context, id(&call, Resource::Webhook)?)
            .await?;
        Ok(Queued { queued: 1 })
    };
    call.answer_with(outcome.await, StatusCode::ACCEPTED)
}

pub(super) async fn redeliver(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::WebhookWrite).await?;
        let since = call.members::<Redeliver>()?.since;
        let since = dates::parse(&since, context.principal.timezone)
            .map_err(|problem| Error::invalid("since", problem))?;
        Ok(Queued {
            queued: api
                .service
                .redeliver_since(&context, id(&call, Resource::Webhook)?, since)
                .await?,
        })
    };
    call.answer_with(outcome.await, StatusCode::ACCEPTED)
}

pub(super) async fn logs(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::WebhookRead).await?;
        let page = Page::read(
            &call.uri,
            &["resellerId", "webhookId", "succeeded", "before"],
        )?;
        let uuid = |name: &str| {
            page.text(name)
                .map(|text| {
                    Uuid::try_parse(text).map_err(|_| Failure::parameter(name, "must be a UUID"))
                })
                .transpose()
        };
        let succeeded = match page.text("succeeded") {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) => return Err(Failure::parameter("succeeded", "must be true or false")),
        };
        let filter = AttemptFilter {
            endpoint: uuid("webhookId")?,
            succeeded,
            before: uuid("before")?,
        };
        let found = api
            .service
            .delivery_attempts(
                &context,
                page.number("resellerId")?.map(ResellerId),
                filter,
                page.limit,
            )
            .await?;
        let last = found
            .last()
            .filter(|_| i64::try_from(found.len()) == Ok(page.limit));
        let next = last.map(|last| page.link("before", &last.id.to_string(), &call.uri));
        Ok((
            Several::of(found.iter().map(log_document).collect(), call.format()),
            next,
        ))
    };
    call.answer_page(outcome.await)
}

pub(super) async fn redeliver_one(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::WebhookWrite).await?;
        api.service
            .redeliver_one(&context, id(&call, Resource::EventLog)?)
            .await?;
        Ok(Queued { queued: 1 })
    };
    call.answer_with(outcome.await, StatusCode::ACCEPTED)
}
