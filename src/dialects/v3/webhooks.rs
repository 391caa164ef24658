//! Webhook endpoints. `webhook_logs.rs` has the log of their deliveries.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Array, ArrayBuilder, Object, Type};

use super::Api;
use super::call::Request;
use super::path_id::WebhookId;
use super::respond::{Done, Many, Nothing, One, Reply};
use super::whole_list::Listing;
use crate::dialects::dates::{self, Role};
use crate::dialects::failure::Failure;
use crate::dialects::patches::{plain, text_or_none};
use crate::domain::{
    ChosenSecret, EVENTS, EndpointPatch, Error, Patch, ResellerId, SignatureStyle, SuspendedBy,
};
use crate::service::{Context, EndpointView, NewEndpoint, Written};
use crate::wire::{Field, nearest};

/// The default grace period, in seconds: for a day after a rotation, the old secret signs beside
/// the new one.
const GRACE: u64 = 86_400;

/// A webhook endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Webhook)]
pub(super) struct WebhookDocument {
    #[schema(format = Uuid)]
    id: String,
    reseller_id: i64,
    /// The name that its owner gave it. Empty if it has none.
    name: String,
    url: String,
    description: Option<String>,
    events: Vec<String>,
    /// How deliveries are signed: `standard` (the headers of Standard Webhooks) or `plain`
    /// (`Webhook-Signature` over the body).
    signature_style: &'static str,
    /// Whether events are delivered to the endpoint.
    enabled: bool,
    /// The same, as Cryptlex calls it.
    active: bool,
    /// `Healthy`, `Unhealthy` if the latest attempt failed or an event has waited for more than 2 s
    /// for its first attempt to end, or `Suspended`.
    health: &'static str,
    /// Why it is suspended: `owner`, `failures` or `gone`. Null if it is not.
    suspended_by: Option<&'static str>,
    /// Since when every attempt has failed. Null if the latest one succeeded.
    #[schema(format = DateTime)]
    failing_since: Option<String>,
    #[schema(format = DateTime)]
    last_success_at: Option<String>,
    /// The number of deliveries that are not made yet: those that wait to be retried, counted up to
    /// 10,000, and those of the next 1,000 events.
    pending: i64,
    /// When the oldest of these events happened. Null if nothing is pending.
    #[schema(format = DateTime)]
    pending_since: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    /// The signing secret, as Cryptlex calls it. Empty except in the answer that sets it.
    token: String,
    /// The signing secret. Only in the answer that sets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    secret: Option<String>,
}

fn with_secret(view: &EndpointView) -> WebhookDocument {
    let endpoint = &view.endpoint;
    WebhookDocument {
        id: endpoint.id.to_string(),
        reseller_id: endpoint.reseller_id.0,
        name: endpoint.name.clone().unwrap_or_default(),
        url: endpoint.url.clone(),
        description: endpoint.description.clone(),
        events: endpoint.events.clone(),
        signature_style: endpoint.style.as_str(),
        enabled: endpoint.suspended_by.is_none(),
        active: endpoint.suspended_by.is_none(),
        health: view.health,
        suspended_by: endpoint.suspended_by.map(SuspendedBy::as_str),
        failing_since: endpoint.failing_since.map(dates::write),
        last_success_at: endpoint.last_success_at.map(dates::write),
        pending: view.pending,
        pending_since: view.pending_since.map(dates::write),
        created_at: dates::write(endpoint.created_at),
        updated_at: dates::write(endpoint.updated_at),
        token: view.secret.clone().unwrap_or_default(),
        secret: view.secret.clone(),
    }
}

/// The document without the secret.
fn document(view: &EndpointView) -> WebhookDocument {
    WebhookDocument {
        token: String::new(),
        secret: None,
        ..with_secret(view)
    }
}

fn created(view: &EndpointView) -> Done<WebhookDocument> {
    Done::new(with_secret(view), true).at_path(format!("/v3/webhooks/{}", view.endpoint.id))
}

fn rotated(view: &EndpointView) -> Done<WebhookDocument> {
    Done::new(with_secret(view), true)
}

fn revised(view: &Written<EndpointView>) -> Done<WebhookDocument> {
    // It has the secret if the request set it.
    Done::new(with_secret(&view.value), view.is_changed)
}

/// An endpoint to change. Absent members keep their values.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebhookRequest)]
pub(super) struct WebhookRequest {
    /// The URL that receives events: absolute, with https.
    #[schema(
        max_length = 2048,
        pattern = "^[Hh][Tt][Tt][Pp][Ss]?://[^\\s/?#\\\\@]+([/?#][^\\s\\\\]*)?$"
    )]
    url: Option<String>,
    /// A name for people. Empty removes it; null keeps it, because Cryptlex's clients write null for
    /// what they do not change.
    #[schema(max_length = 255)]
    name: Option<String>,
    /// A description for people.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    description: Field<String>,
    #[schema(schema_with = event_names)]
    events: Option<Vec<String>>,
    /// How deliveries are signed: `standard` or `plain`.
    #[schema(pattern = "^(standard|plain)$")]
    signature_style: Option<String>,
    /// Whether events are delivered. True resumes deliveries where they stopped, even after answer
    /// 410 or days of failures.
    enabled: Option<bool>,
    /// The same, as Cryptlex calls it. If the two differ, the one that changes something counts.
    active: Option<bool>,
    /// A new secret, as Cryptlex calls it: 1 to 255 visible characters. It replaces the present one
    /// at once, and means the signature style `plain` unless `signatureStyle` says otherwise. Empty
    /// keeps the present one.
    token: Option<String>,
}

fn event_names() -> Array {
    let names = Object::builder()
        .schema_type(Type::String)
        .enum_values(Some(EVENTS));
    let description = "The events to deliver. If absent when the endpoint is created, \
                       `account.updated`, which every change causes.";
    ArrayBuilder::new()
        .items(names)
        .min_items(Some(1))
        .description(Some(description))
        .build()
}

/// What is wrong with the first name that is no event, with the name that is most like it. `None`
/// if all are events.
pub(crate) fn unknown_event(names: &[String]) -> Option<String> {
    let unknown = names.iter().find(|name| !EVENTS.contains(&name.as_str()))?;
    let hint = nearest(unknown, EVENTS).map_or_else(
        || "; the events".to_owned(),
        |near| format!("; did you mean {near}? The events"),
    );
    Some(format!(
        "{unknown:?} is not an event{hint} are {}",
        EVENTS.join(", ")
    ))
}

impl WebhookRequest {
    fn patch(self) -> Result<EndpointPatch, Error> {
        let style = |word: String| {
            SignatureStyle::parse(&word)
                .ok_or_else(|| Error::must_be("signature_style", "standard or plain", &word))
        };
        if let Some(unknown) = unknown_event(self.events.as_deref().unwrap_or_default()) {
            return Err(Error::invalid("events", unknown));
        }
        Ok(EndpointPatch {
            name: self
                .name
                .map_or(Patch::Keep, |name| text_or_none(Field::Value(name))),
            url: self.url,
            description: plain(self.description),
            events: self.events,
            style: self.signature_style.map(style).transpose()?,
            enabled: self.enabled,
            active: self.active,
        })
    }
}

/// An endpoint to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewWebhook {
    /// The URL that receives events: absolute, with https.
    #[schema(
        max_length = 2048,
        pattern = "^[Hh][Tt][Tt][Pp][Ss]?://[^\\s/?#\\\\@]+([/?#][^\\s\\\\]*)?$"
    )]
    url: Option<String>,
    /// A name for people. Empty removes it; null keeps it, because Cryptlex's clients write null for
    /// what they do not change.
    #[schema(max_length = 255)]
    name: Option<String>,
    /// A description for people.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    description: Field<String>,
    #[schema(schema_with = event_names)]
    events: Option<Vec<String>>,
    /// How deliveries are signed: `standard` or `plain`.
    #[schema(pattern = "^(standard|plain)$")]
    signature_style: Option<String>,
    /// Whether events are delivered. If absent, true.
    enabled: Option<bool>,
    /// The same, as Cryptlex calls it. If the two differ, false.
    active: Option<bool>,
    /// The reseller that will own the endpoint. Only with an operator's token.
    reseller_id: Option<i64>,
    /// A secret that the receiver already has. For `standard`: `whsec_` and the base64 of 24 to 64
    /// bytes. For `plain`: 16 to 255 visible characters. If absent, a new secret is generated.
    secret: Option<String>,
    /// The same, as Cryptlex calls it. It means the signature style `plain` unless `signatureStyle`
    /// says otherwise, and has 1 to 255 visible characters there. Empty is none.
    token: Option<String>,
}

impl NewWebhook {
    fn endpoint(self) -> Result<NewEndpoint, Error> {
        let token = self.token.filter(|token| !token.is_empty());
        let secret = match (self.secret, token) {
            (Some(secret), Some(token)) if secret != token => {
                let problem = "differs from secret, which is another name for it: leave one out";
                return Err(Error::invalid("token", problem));
            }
            (_, Some(token)) => Some(ChosenSecret::Token(token)),
            (secret, None) => secret.map(ChosenSecret::Secret),
        };
        let style = matches!(secret, Some(ChosenSecret::Token(_))).then_some(SignatureStyle::Plain);
        let request = WebhookRequest {
            name: self.name,
            url: self.url,
            description: self.description,
            events: self.events,
            signature_style: self.signature_style,
            enabled: self.enabled,
            active: self.active,
            token: None,
        };
        let patch = request.patch()?;
        Ok(NewEndpoint {
            reseller: self.reseller_id.map(ResellerId),
            patch: EndpointPatch {
                style: patch.style.or(style),
                ..patch
            },
            secret,
        })
    }
}

/// How to replace a secret.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RotateSecret {
    /// Seconds for which deliveries are also signed with the old secret, at most 30 days. If
    /// absent, one day.
    #[schema(maximum = 2_592_000)]
    grace_seconds: Option<u64>,
    /// The new secret. If absent, one is generated.
    secret: Option<String>,
}

/// Which deliveries to repeat.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Redeliver {
    /// Repeat the deliveries of events since this instant.
    #[schema(format = DateTime, min_length = 1)]
    since: String,
}

/// The result of a request to repeat deliveries.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Queued {
    /// The number of deliveries that were queued.
    queued: u64,
}

pub(super) fn queued(count: u64) -> Done<Queued> {
    Done::new(Queued { queued: count }, count > 0)
}

/// How endpoints are sorted and searched.
pub(super) const LISTING: Listing<EndpointView> = Listing {
    fields: &[
        ("name", |a, b| a.endpoint.name.cmp(&b.endpoint.name)),
        ("url", |a, b| a.endpoint.url.cmp(&b.endpoint.url)),
        ("createdAt", |a, b| {
            a.endpoint.created_at.cmp(&b.endpoint.created_at)
        }),
        ("updatedAt", |a, b| {
            a.endpoint.updated_at.cmp(&b.endpoint.updated_at)
        }),
    ],
    texts: |view| {
        let endpoint = &view.endpoint;
        vec![
            endpoint.name.as_deref(),
            endpoint.description.as_deref(),
            Some(&endpoint.url),
        ]
    },
};

type EndpointReply = Result<Reply<One<WebhookDocument>>, Failure>;
pub(super) type QueuedReply = Result<Reply<One<Queued>>, Failure>;

pub(super) async fn list(
    api: &Api,
    context: &Context,
    Request { call, .. }: Request<()>,
) -> Result<Reply<Many<WebhookDocument>>, Failure> {
    let endpoints = api
        .service
        .webhooks(context, call.query.reseller()?)
        .await?;
    // The test of the table shows that all endpoints of a reseller are smaller than a page can be.
    LISTING.reply(&call, endpoints, document, |_| {
        call.query.next_page(&call.uri)
    })
}

/// The names of all events, by the resource that they are about.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventNames {
    account: [&'static str; EVENTS.len()],
}

pub(super) async fn events(
    _: &Api,
    _: &Context,
    Request { .. }: Request<()>,
) -> Result<Reply<One<EventNames>>, Failure> {
    Ok(Reply::one(EventNames { account: EVENTS }))
}

pub(super) async fn get(
    api: &Api,
    context: &Context,
    Request {
        id: WebhookId(id), ..
    }: Request<WebhookId>,
) -> EndpointReply {
    Ok(Reply::one(document(
        &api.service.webhook(context, id).await?,
    )))
}

pub(super) async fn create(
    api: &Api,
    context: &Context,
    Request { members, call, .. }: Request<(), NewWebhook>,
) -> EndpointReply {
    let (new, idempotency) = (members.endpoint()?, call.secret_idempotency(created));
    let completion = api
        .service
        .create_webhook(context, new, idempotency)
        .await?;
    Ok(Reply::<One<_>>::completed(completion, created))
}

pub(super) async fn patch(
    api: &Api,
    context: &Context,
    Request {
        id: WebhookId(id),
        members,
        call,
    }: Request<WebhookId, WebhookRequest>,
) -> EndpointReply {
    let token = members.token.clone().filter(|token| !token.is_empty());
    let idempotency = if token.is_some() {
        call.secret_idempotency(revised)
    } else {
        call.idempotency(revised)
    };
    let patch = members.patch()?;
    let completion = api
        .service
        .revise_webhook(context, id, patch, token, idempotency)
        .await?;
    Ok(Reply::<One<_>>::completed(completion, revised))
}

pub(super) async fn delete(
    api: &Api,
    context: &Context,
    Request {
        id: WebhookId(id),
        call,
        ..
    }: Request<WebhookId>,
) -> Result<Reply<Nothing>, Failure> {
    let deleted = |(): &()| Done::new((), true);
    let idempotency = call.idempotency(deleted);
    let completion = api.service.delete_webhook(context, id, idempotency).await?;
    Ok(Reply::<Nothing>::completed(completion, deleted))
}

pub(super) async fn rotate_secret(
    api: &Api,
    context: &Context,
    Request {
        id: WebhookId(id),
        members,
        call,
    }: Request<WebhookId, RotateSecret>,
) -> EndpointReply {
    let grace = Duration::from_secs(members.grace_seconds.unwrap_or(GRACE));
    let (secret, idempotency) = (members.secret, call.secret_idempotency(rotated));
    let completion = api
        .service
        .rotate_webhook_secret(context, id, grace, secret, idempotency)
        .await?;
    Ok(Reply::<One<_>>::completed(completion, rotated))
}

pub(super) async fn test(
    api: &Api,
    context: &Context,
    Request {
        id: WebhookId(id),
        call,
        ..
    }: Request<WebhookId>,
) -> QueuedReply {
    let queued_one = |(): &()| queued(1);
    let idempotency = call.idempotency(queued_one);
    let completion = api.service.test_webhook(context, id, idempotency).await?;
    Ok(Reply::<One<_>>::completed(completion, queued_one))
}

pub(super) async fn redeliver(
    api: &Api,
    context: &Context,
    Request {
        id: WebhookId(id),
        members,
        call,
    }: Request<WebhookId, Redeliver>,
) -> QueuedReply {
    let zone = api.service.zone_of_webhook(context, id).await?;
    let since = dates::parse(&members.since, Role::Begin, zone);
    let since = since.map_err(|problem| Error::invalid("since", problem))?;
    let queued = |count: &u64| queued(*count);
    let idempotency = call.idempotency(queued);
    let completion = api
        .service
        .redeliver_since(context, id, since, idempotency)
        .await?;
    Ok(Reply::<One<_>>::completed(completion, queued))
}
