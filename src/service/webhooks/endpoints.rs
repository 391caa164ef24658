//! Webhook endpoints: created, listed, changed, deleted, and given new secrets.

use std::time::Duration;

use chrono::TimeDelta;
use data_encoding::BASE64;
use uuid::Uuid;

use crate::domain::{
    ChosenSecret, Conflict, Endpoint, EndpointPatch, Error, MAX_ENDPOINTS, ResellerId, Resource,
    Scope, SignatureStyle, Time, UPDATED,
};
use crate::service::credentials::random;
use crate::service::resellers::lock_named_reseller;
use crate::service::{Completion, Context, IdempotentRequest, Service, Written};
use crate::store::Tx;

/// How long an old secret may stay valid beside a new one, at most.
const MAX_GRACE: Duration = Duration::from_hours(24 * 30);
/// How soon events are delivered. An endpoint whose events wait longer is not healthy.
pub(super) const PROMPT: TimeDelta = TimeDelta::seconds(2);

/// An endpoint to be created.
#[derive(Debug, Clone, Default)]
pub struct NewEndpoint {
    /// The reseller that gets the endpoint. An operator must name one.
    pub reseller: Option<ResellerId>,
    /// The endpoint's fields. The URL is required.
    pub patch: EndpointPatch,
    /// The secret, if the receiver has one already. `None` means that a new one is created.
    pub secret: Option<ChosenSecret>,
}

/// An endpoint with the state of its deliveries.
#[derive(Debug, Clone)]
pub struct EndpointView {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// `Healthy`, `Unhealthy` or `Suspended`.
    pub health: &'static str,
    /// How many deliveries are not made yet: those that are retried or wait behind one that is,
    /// counted up to 10,000, and those of the next 1,000 events that are not delivered.
    pub pending: i64,
    /// When the oldest of these events happened. `None` if nothing is pending.
    pub pending_since: Option<Time>,
    /// The secret, if this request has just set it. It is not shown again.
    pub secret: Option<String>,
}

impl Service {
    /// Creates an endpoint. It gets the events from now on.
    ///
    /// # Errors
    /// [`Error::InvalidField`], [`Error::ResellerNotFound`], or [`Error::Conflict`] if the reseller
    /// has too many endpoints.
    pub async fn create_webhook(
        &self,
        context: &Context,
        new: NewEndpoint,
        idempotency: Option<IdempotentRequest<EndpointView>>,
    ) -> Result<Completion<EndpointView>, Error> {
        context.principal.require(Scope::WebhookWrite)?;
        let reseller = context.principal.resolve_reseller(new.reseller)?;
        if new.patch.url.is_none() {
            return Err(Error::invalid("url", "is required"));
        }
        let now = self.now();
        let mut endpoint = blank_endpoint(reseller, now);
        new.patch
            .over(&mut endpoint, &self.settings.webhook_targets)?;
        let secret = match new.secret {
            Some(secret) => {
                secret.check(endpoint.style)?;
                secret.into_text()
            }
            None => fresh_secret()?,
        };
        let caller = &context.principal;
        self.write_once(caller, caller.tenancy(), idempotency, move |tx| {
            Box::pin(async move {
                lock_named_reseller(tx, reseller).await?;
                let count = tx.list_endpoints(reseller).await?.len();
                if i64::try_from(count).unwrap_or(i64::MAX) >= MAX_ENDPOINTS {
                    return Err(Error::Conflict(Conflict::TooManyWebhooks));
                }
                endpoint.position = tx.latest_event(reseller).await?;
                tx.insert_endpoint(&endpoint).await?;
                tx.insert_secret(reseller, endpoint.id, &secret, now)
                    .await?;
                tx.announce_endpoints(reseller);
                Ok(EndpointView {
                    health: endpoint.health(),
                    endpoint,
                    pending: 0,
                    pending_since: None,
                    secret: Some(secret),
                })
            })
        })
        .await
    }

    /// The endpoints of a reseller, oldest first.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `reseller_id` if an operator names none.
    pub async fn webhooks(
        &self,
        context: &Context,
        reseller: Option<ResellerId>,
    ) -> Result<Vec<EndpointView>, Error> {
        context.principal.require(Scope::WebhookRead)?;
        let reseller = context.principal.resolve_reseller(reseller)?;
        let now = self.now();
        self.read(context.principal.tenancy(), move |tx| {
            Box::pin(async move {
                let mut views = Vec::new();
                for endpoint in tx.list_endpoints(reseller).await? {
                    views.push(view(tx, endpoint, now).await?);
                }
                Ok(views)
            })
        })
        .await
    }

    /// One endpoint.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn webhook(&self, context: &Context, id: Uuid) -> Result<EndpointView, Error> {
        context.principal.require(Scope::WebhookRead)?;
        let (now, reseller) = (self.now(), context.principal.reseller);
        self.read(context.principal.tenancy(), move |tx| {
            Box::pin(async move {
                let endpoint = tx
                    .fetch_endpoint(reseller, id)
                    .await?
                    .ok_or(Error::NotFound(Resource::Webhook))?;
                view(tx, endpoint, now).await
            })
        })
        .await
    }

    /// Changes an endpoint. A `token` replaces its secret at once, and means the plain style unless
    /// the patch names a style. The present secret as token changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::InvalidField`].
    pub async fn revise_webhook(
        &self,
        context: &Context,
        id: Uuid,
        patch: EndpointPatch,
        token: Option<String>,
        idempotency: Option<IdempotentRequest<Written<EndpointView>>>,
    ) -> Result<Completion<Written<EndpointView>>, Error> {
        context.principal.require(Scope::WebhookWrite)?;
        let (now, targets, reseller) = (
            self.now(),
            self.settings.webhook_targets.clone(),
            context.principal.reseller,
        );
        let caller = &context.principal;
        self.write_once(caller, caller.tenancy(), idempotency, move |tx| {
            Box::pin(async move {
                let mut endpoint = lock_endpoint(tx, reseller, id).await?;
                let secret = other_secret(tx, &endpoint, token, now).await?;
                let patch = EndpointPatch {
                    style: patch
                        .style
                        .or_else(|| secret.as_ref().map(|_| SignatureStyle::Plain)),
                    ..patch
                };
                if let Some(style) = patch.style
                    && style != endpoint.style
                    && secret.is_none()
                {
                    check_present_secrets(tx, &endpoint, style, now).await?;
                }
                let is_revised = patch.over(&mut endpoint, &targets)?;
                let (owner, is_changed) = (endpoint.reseller_id, is_revised || secret.is_some());
                let secret = match secret {
                    Some(token) => {
                        token.check(endpoint.style)?;
                        let token = token.into_text();
                        tx.expire_secrets(owner, id, now, now).await?;
                        tx.insert_secret(owner, id, &token, now).await?;
                        Some(token)
                    }
                    None => None,
                };
                if is_changed {
                    endpoint.revision += 1;
                    endpoint.updated_at = now;
                    tx.update_endpoint(&endpoint).await?;
                    tx.announce_endpoints(endpoint.reseller_id);
                }
                let view = view(tx, endpoint, now).await?;
                let value = EndpointView { secret, ..view };
                Ok(Written { value, is_changed })
            })
        })
        .await
    }

    /// Deletes an endpoint. Its attempts stay in the log until they are trimmed.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete_webhook(
        &self,
        context: &Context,
        id: Uuid,
        idempotency: Option<IdempotentRequest<()>>,
    ) -> Result<Completion<()>, Error> {
        context.principal.require(Scope::WebhookWrite)?;
        let reseller = context.principal.reseller;
        let caller = &context.principal;
        self.write_once(caller, caller.tenancy(), idempotency, move |tx| {
            Box::pin(async move {
                let endpoint = lock_endpoint(tx, reseller, id).await?;
                tx.delete_endpoint(endpoint.reseller_id, id).await?;
                tx.announce_endpoints(endpoint.reseller_id);
                Ok(())
            })
        })
        .await
    }

    /// Sets a new secret. Deliveries are signed with both secrets until the grace period is over.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::InvalidField`].
    pub async fn rotate_webhook_secret(
        &self,
        context: &Context,
        id: Uuid,
        grace: Duration,
        secret: Option<String>,
        idempotency: Option<IdempotentRequest<EndpointView>>,
    ) -> Result<Completion<EndpointView>, Error> {
        context.principal.require(Scope::WebhookWrite)?;
        if grace > MAX_GRACE {
            return Err(Error::invalid("grace_seconds", "must be at most 30 days"));
        }
        let (now, reseller) = (self.now(), context.principal.reseller);
        let secret = match secret {
            Some(secret) => secret,
            None => fresh_secret()?,
        };
        let caller = &context.principal;
        self.write_once(caller, caller.tenancy(), idempotency, move |tx| {
            Box::pin(async move {
                let mut endpoint = lock_endpoint(tx, reseller, id).await?;
                ChosenSecret::Secret(secret.clone()).check(endpoint.style)?;
                let owner = endpoint.reseller_id;
                tx.expire_secrets(owner, id, now + grace, now).await?;
                tx.insert_secret(owner, id, &secret, now).await?;
                endpoint.revision += 1;
                endpoint.updated_at = now;
                tx.update_endpoint(&endpoint).await?;
                tx.announce_endpoints(owner);
                let view = view(tx, endpoint, now).await?;
                Ok(EndpointView {
                    secret: Some(secret),
                    ..view
                })
            })
        })
        .await
    }
}

/// Locks and reads an endpoint. `reseller` is the caller's; `None` means an operator, who reaches
/// all.
pub(super) async fn lock_endpoint(
    tx: &mut Tx,
    reseller: Option<ResellerId>,
    id: Uuid,
) -> Result<Endpoint, Error> {
    tx.lock_endpoint(reseller, id)
        .await?
        .ok_or(Error::NotFound(Resource::Webhook))
}

async fn view(tx: &mut Tx, endpoint: Endpoint, now: Time) -> Result<EndpointView, Error> {
    let parked = tx.count_pending(&endpoint).await?;
    let unread = tx.count_unread(&endpoint).await?;
    // Events from before the last change of the endpoint may have waited for that change.
    let is_late = unread
        .since
        .is_some_and(|since| now - since.max(endpoint.updated_at) > PROMPT);
    let health = match endpoint.health() {
        "Healthy" if is_late => "Unhealthy",
        health => health,
    };
    Ok(EndpointView {
        health,
        endpoint,
        pending: parked.count + unread.count,
        pending_since: parked.since.into_iter().chain(unread.since).min(),
        secret: None,
    })
}

/// A new endpoint before its fields are set.
fn blank_endpoint(reseller: ResellerId, now: Time) -> Endpoint {
    Endpoint {
        id: Uuid::new_v4(),
        reseller_id: reseller,
        name: None,
        url: String::new(),
        description: None,
        events: vec![UPDATED.to_owned()],
        style: SignatureStyle::Standard,
        suspended_by: None,
        revision: 1,
        position: 0,
        failing_since: None,
        last_success_at: None,
        created_at: now,
        updated_at: now,
    }
}

/// The token as the endpoint's new secret. `None` if there is no token, or if it is the present
/// secret.
async fn other_secret(
    tx: &mut Tx,
    endpoint: &Endpoint,
    token: Option<String>,
    now: Time,
) -> Result<Option<ChosenSecret>, Error> {
    let Some(token) = token else {
        return Ok(None);
    };
    let secrets = tx
        .fetch_secrets(endpoint.reseller_id, endpoint.id, now)
        .await?;
    let is_present = secrets.first() == Some(&token);
    Ok((!is_present).then_some(ChosenSecret::Token(token)))
}

/// Checks that the endpoint's secrets fit another signature style.
async fn check_present_secrets(
    tx: &mut Tx,
    endpoint: &Endpoint,
    style: SignatureStyle,
    now: Time,
) -> Result<(), Error> {
    for secret in tx
        .fetch_secrets(endpoint.reseller_id, endpoint.id, now)
        .await?
    {
        ChosenSecret::Token(secret).check(style).map_err(|_| {
            Error::invalid(
                "signature_style",
                "does not fit the endpoint's secret; rotate it first",
            )
        })?;
    }
    Ok(())
}

/// A new secret that fits both signature styles: the prefix of Standard Webhooks, then 256 random
/// bits in base64.
fn fresh_secret() -> Result<String, Error> {
    random().map(|bytes| format!("whsec_{}", BASE64.encode(&bytes)))
}
