//! Webhook endpoints as their owners see them, the log of deliveries, and the events themselves for those who pull.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use data_encoding::BASE64;
use uuid::Uuid;

use crate::domain::{
    Account, AccountId, Authority, Conflict, Endpoint, EndpointPatch, Error, MAX_ENDPOINTS,
    ResellerId, Resource, Scope, SignatureStyle, TEST, Time, UPDATED, check_secret,
};
use crate::service::{Completion, Context, IdempotentRequest, Service};
use crate::store::{Attempt, DeliveryKey, JournalEntry, Tx};

/// How long an old secret may stay valid beside a new one, at most.
const MAX_GRACE: Duration = Duration::from_hours(24 * 30);

/// An endpoint to be made.
#[derive(Debug, Clone, Default)]
pub struct NewEndpoint {
    /// Of which reseller; with an operator's credential only.
    pub reseller: Option<ResellerId>,
    /// What it is to be; the URL is required.
    pub patch: EndpointPatch,
    /// The secret that its receiver knows already; none: a new one.
    pub secret: Option<String>,
}

/// An endpoint with what is known of its deliveries.
#[derive(Debug, Clone)]
pub struct EndpointView {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// How much is pending, counted up to 10,000.
    pub pending: i64,
    /// The secret: where it was just made, and never again.
    pub secret: Option<String>,
}

/// An event of a reseller.
#[derive(Debug, Clone)]
pub struct EventRead {
    /// The entry of the journal.
    pub entry: JournalEntry,
    /// Of which account.
    pub account_id: AccountId,
    /// The account as it is now; none if it was purged.
    pub account: Option<Account>,
}

/// Which deliveries are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct AttemptFilter {
    /// To which endpoint; none: to all.
    pub endpoint: Option<Uuid>,
    /// Only those that succeeded, or failed.
    pub succeeded: Option<bool>,
    /// Older than this one.
    pub before: Option<Uuid>,
}

impl Service {
    /// Makes an endpoint. It is told of what happens from now on.
    ///
    /// # Errors
    /// [`Error::InvalidField`], [`Error::Conflict`], [`Error::ResellerNotFound`] or [`Error::InsufficientScope`].
    pub async fn create_webhook(
        &self,
        context: &Context,
        new: NewEndpoint,
        once: Option<IdempotentRequest<EndpointView>>,
    ) -> Result<Completion<EndpointView>, Error> {
        context.principal.require(Scope::WebhookWrite)?;
        let reseller = context.principal.resolve_reseller(new.reseller)?;
        let (now, allow_http) = (self.now(), self.settings.webhooks_allow_http);
        let mut endpoint = Endpoint {
            id: Uuid::new_v4(),
            reseller_id: reseller,
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
        };
        if new.patch.url.is_none() {
            return Err(Error::invalid("url", "is required"));
        }
        new.patch.over(&mut endpoint, allow_http)?;
        let secret = match new.secret {
            Some(secret) => {
                check_secret(endpoint.style, &secret)?;
                secret
            }
            None => fresh_secret()?,
        };
        let work = self.write(context.principal.tenancy(), once, move |tx| {
            Box::pin(async move {
                tx.lock_reseller(reseller).await.map_err(|error| {
                    if error == Error::NotFound(Resource::Reseller) {
                        Error::ResellerNotFound
                    } else {
                        error
                    }
                })?;
                if i64::try_from(tx.list_endpoints(reseller).await?.len()).unwrap_or(i64::MAX)
                    >= MAX_ENDPOINTS
                {
                    return Err(Error::Conflict(Conflict::TooManyWebhooks));
                }
                endpoint.position = tx.latest_event(reseller).await?;
                tx.insert_endpoint(&endpoint).await?;
                tx.insert_secret(reseller, endpoint.id, &secret, now)
                    .await?;
                tx.announce_endpoints();
                Ok(EndpointView {
                    endpoint,
                    pending: 0,
                    secret: Some(secret),
                })
            })
        });
        work.await
    }

    /// The endpoints of a reseller, oldest first.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `reseller_id`, which an operator must name.
    pub async fn webhooks(
        &self,
        context: &Context,
        of: Option<ResellerId>,
    ) -> Result<Vec<EndpointView>, Error> {
        context.principal.require(Scope::WebhookRead)?;
        let reseller = context.principal.resolve_reseller(of)?;
        let read = self.read(context.principal.tenancy(), move |tx| {
            Box::pin(async move {
                let mut views = Vec::new();
                for endpoint in tx.list_endpoints(reseller).await? {
                    views.push(view(tx, endpoint).await?);
                }
                Ok(views)
            })
        });
        read.await
    }

    /// One endpoint.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn webhook(&self, context: &Context, id: Uuid) -> Result<EndpointView, Error> {
        context.principal.require(Scope::WebhookRead)?;
        let reseller = context.principal.reseller;
        let read = self.read(context.principal.tenancy(), move |tx| {
            Box::pin(async move {
                let endpoint = tx
                    .fetch_endpoint(reseller, id)
                    .await?
                    .ok_or(Error::NotFound(Resource::Webhook))?;
                view(tx, endpoint).await
            })
        });
        read.await
    }

    /// Changes an endpoint.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InvalidField`] or [`Error::InsufficientScope`].
    pub async fn revise_webhook(
        &self,
        context: &Context,
        id: Uuid,
        patch: EndpointPatch,
        once: Option<IdempotentRequest<EndpointView>>,
    ) -> Result<Completion<EndpointView>, Error> {
        context.principal.require(Scope::WebhookWrite)?;
        let (now, allow_http, reseller) = (
            self.now(),
            self.settings.webhooks_allow_http,
            context.principal.reseller,
        );
        let work = self.write(context.principal.tenancy(), once, move |tx| {
            Box::pin(async move {
                let mut endpoint = find(tx, reseller, id).await?;
                if patch.style.is_some_and(|style| style != endpoint.style) {
                    for secret in tx.fetch_secrets(endpoint.reseller_id, id, now).await? {
                        check_secret(patch.style.unwrap_or(endpoint.style), &secret).map_err(
                            |_| {
                                Error::invalid(
                                    "signature_style",
                                    "does not fit the endpoint's secret; rotate it first",
                                )
                            },
                        )?;
                    }
                }
                if patch.over(&mut endpoint, allow_http)? {
                    endpoint.revision += 1;
                    endpoint.updated_at = now;
                    tx.update_endpoint(&endpoint).await?;
                    tx.announce_endpoints();
                }
                view(tx, endpoint).await
            })
        });
        work.await
    }

    /// Removes an endpoint. What it was sent stays in the log until that is trimmed.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::InsufficientScope`].
    pub async fn delete_webhook(&self, context: &Context, id: Uuid) -> Result<(), Error> {
        context.principal.require(Scope::WebhookWrite)?;
        let reseller = context.principal.reseller;
        let work = self.write(context.principal.tenancy(), None, move |tx| {
            Box::pin(async move {
                let endpoint = find(tx, reseller, id).await?;
                tx.delete_endpoint(endpoint.reseller_id, id).await?;
                tx.announce_endpoints();
                Ok(())
            })
        });
        work.await?.done()
    }

    /// Makes a new secret. Deliveries are signed with the old one too until the grace period is over.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InvalidField`] or [`Error::InsufficientScope`].
    pub async fn rotate_webhook_secret(
        &self,
        context: &Context,
        id: Uuid,
        grace: Duration,
        secret: Option<String>,
        once: Option<IdempotentRequest<EndpointView>>,
    ) -> Result<Completion<EndpointView>, Error> {
        context.principal.require(Scope::WebhookWrite)?;
        if grace > MAX_GRACE {
            return Err(Error::invalid("grace_seconds", "must be at most 30 days"));
        }
        let (now, reseller) = (self.now(), context.principal.reseller);
        let fresh = fresh_secret()?;
        let work = self.write(context.principal.tenancy(), once, move |tx| {
            Box::pin(async move {
                let mut endpoint = find(tx, reseller, id).await?;
                let secret = secret.unwrap_or(fresh);
                check_secret(endpoint.style, &secret)?;
                tx.expire_secrets(endpoint.reseller_id, id, now + grace, now)
                    .await?;
                tx.insert_secret(endpoint.reseller_id, id, &secret, now)
                    .await?;
                endpoint.revision += 1;
                endpoint.updated_at = now;
                tx.update_endpoint(&endpoint).await?;
                tx.announce_endpoints();
                let view = view(tx, endpoint).await?;
                Ok(EndpointView {
                    secret: Some(secret),
                    ..view
                })
            })
        });
        work.await
    }

    /// Has a test delivered: soon, by whoever delivers; the log has what became of it.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::InsufficientScope`].
    pub async fn test_webhook(&self, context: &Context, id: Uuid) -> Result<(), Error> {
        context.principal.require(Scope::WebhookWrite)?;
        let (now, reseller) = (self.now(), context.principal.reseller);
        let work = self.write(context.principal.tenancy(), None, move |tx| {
            Box::pin(async move {
                let endpoint = find(tx, reseller, id).await?;
                let key = DeliveryKey {
                    account: 0,
                    event_id: now.timestamp_micros(),
                    event: TEST.to_owned(),
                };
                tx.enqueue_delivery(endpoint.reseller_id, id, key, now, now)
                    .await?;
                tx.announce_endpoints();
                Ok(())
            })
        });
        work.await?.done()
    }

    /// Has everything delivered once more that happened since an instant; says how much.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::InsufficientScope`].
    pub async fn redeliver_since(
        &self,
        context: &Context,
        id: Uuid,
        since: Time,
    ) -> Result<u64, Error> {
        context.principal.require(Scope::WebhookWrite)?;
        let (now, reseller) = (self.now(), context.principal.reseller);
        let work = self.write(context.principal.tenancy(), None, move |tx| {
            Box::pin(async move {
                let endpoint = find(tx, reseller, id).await?;
                let count = tx
                    .redeliver_since(endpoint.reseller_id, id, since, now)
                    .await?;
                tx.announce_endpoints();
                Ok(count)
            })
        });
        work.await?.done()
    }

    /// Has one thing delivered once more, whatever became of it the last time.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::InsufficientScope`].
    pub async fn redeliver_one(&self, context: &Context, attempt: Uuid) -> Result<(), Error> {
        context.principal.require(Scope::WebhookWrite)?;
        let (now, reseller) = (self.now(), context.principal.reseller);
        let work = self.write(context.principal.tenancy(), None, move |tx| {
            Box::pin(async move {
                let found = tx.fetch_attempt(reseller, attempt).await?;
                let (owner, endpoint, key, at) =
                    found.ok_or(Error::NotFound(Resource::EventLog))?;
                find(tx, Some(owner), endpoint).await?;
                tx.enqueue_delivery(owner, endpoint, key, at, now).await?;
                tx.announce_endpoints();
                Ok(())
            })
        });
        work.await?.done()
    }

    /// Attempts to deliver, newest first.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `reseller_id`, which an operator must name.
    pub async fn delivery_attempts(
        &self,
        context: &Context,
        of: Option<ResellerId>,
        filter: AttemptFilter,
        limit: i64,
    ) -> Result<Vec<Attempt>, Error> {
        context.principal.require(Scope::WebhookRead)?;
        let reseller = context.principal.resolve_reseller(of)?;
        let read = self.read(context.principal.tenancy(), move |tx| {
            Box::pin(async move {
                tx.list_attempts(
                    reseller,
                    filter.endpoint,
                    filter.succeeded,
                    filter.before,
                    limit,
                )
                .await
            })
        });
        read.await
    }

    /// The events of a reseller behind an entry of the journal, in order. A reader who goes on from the last one it got
    /// sees every event exactly once. Whose they are comes with them.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `reseller_id`, which an operator must name.
    pub async fn events(
        &self,
        context: &Context,
        of: Option<ResellerId>,
        after: i64,
        limit: i64,
    ) -> Result<(ResellerId, Vec<EventRead>), Error> {
        context.principal.require(Scope::WebhookRead)?;
        let (reseller, authority) = (
            context.principal.resolve_reseller(of)?,
            context.principal.authority(),
        );
        let mut events = self.read_events(reseller, after, limit).await?;
        if authority == Authority::Reseller {
            for event in &mut events {
                event.entry.hide_reasons_of_others();
            }
        }
        Ok((reseller, events))
    }

    /// Forgets attempts to deliver that are older than `keep`, at most 10,000 at a time; says how many.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn trim_attempts(&self, keep: Duration) -> Result<u64, Error> {
        let before = self.now() - keep;
        let work = self.write(crate::store::Tenancy::Platform, None, move |tx| {
            Box::pin(async move { tx.delete_attempts(before, 10_000).await })
        });
        work.await?.done()
    }
}

async fn find(tx: &mut Tx, reseller: Option<ResellerId>, id: Uuid) -> Result<Endpoint, Error> {
    tx.lock_endpoint(reseller, id)
        .await?
        .ok_or(Error::NotFound(Resource::Webhook))
}

async fn view(tx: &mut Tx, endpoint: Endpoint) -> Result<EndpointView, Error> {
    let pending = tx.count_pending(endpoint.reseller_id, endpoint.id).await?;
    Ok(EndpointView {
        endpoint,
        pending,
        secret: None,
    })
}

/// A new secret that fits both styles: the standard's prefix, then 256 random bits in base64.
fn fresh_secret() -> Result<String, Error> {
    crate::service::credentials::random().map(|bytes| format!("whsec_{}", BASE64.encode(&bytes)))
}

/// Events with their accounts as they are now.
pub(in crate::service) async fn with_accounts(
    tx: &mut Tx,
    reseller: ResellerId,
    entries: Vec<(AccountId, JournalEntry)>,
) -> Result<Vec<EventRead>, Error> {
    let ids: Vec<_> = entries
        .iter()
        .map(|(account, _)| (reseller, *account))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let accounts = if ids.is_empty() {
        Vec::new()
    } else {
        tx.fetch_accounts(&ids).await?
    };
    let accounts: HashMap<AccountId, Account> = accounts
        .into_iter()
        .map(|account| (account.id, account))
        .collect();
    Ok(entries
        .into_iter()
        .map(|(account_id, entry)| EventRead {
            entry,
            account_id,
            account: accounts.get(&account_id).cloned(),
        })
        .collect())
}
