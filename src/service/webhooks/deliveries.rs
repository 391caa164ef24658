//! Deliveries as the owner of an endpoint sees them: the log of attempts, tests and redeliveries.
//! The dispatcher makes the attempts (`dispatch.rs`).

use std::time::Duration;

use uuid::Uuid;

use super::endpoints::lock_endpoint;
use crate::domain::{Error, ResellerId, Resource, Scope, TEST, Time};
use crate::service::{
    AttemptFilter, Completion, Context, IdempotentRequest, LogPage, MAX_LOGGED, Service,
};
use crate::store::{Attempt, DeliveryKey, Tenancy};

impl Service {
    /// A page of the attempts to deliver events to a reseller's endpoints, and how many there are on
    /// all pages, if they are counted. Counting stops above [`MAX_LOGGED`]. A text is looked for in
    /// the newest [`LogPage::searched`] attempts.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `reseller_id` if an operator names none.
    pub async fn delivery_attempts(
        &self,
        context: &Context,
        reseller: Option<ResellerId>,
        mut filter: AttemptFilter,
        page: LogPage,
    ) -> Result<(Vec<Attempt>, Option<i64>), Error> {
        context.principal.require(Scope::WebhookRead)?;
        let reseller = context.principal.resolve_reseller(reseller)?;
        self.read(context.principal.tenancy(), move |tx| {
            Box::pin(async move {
                if filter.text.is_some() {
                    filter.from = tx.attempt_with_newer(reseller, page.searched - 1).await?;
                }
                let count = if page.is_counted {
                    Some(tx.count_attempts(reseller, &filter, MAX_LOGGED + 1).await?)
                } else {
                    None
                };
                let (skip, limit) = page.newest_first(count)?;
                let attempts = tx.list_attempts(reseller, &filter, skip, limit).await?;
                Ok((page.in_order(attempts), count))
            })
        })
        .await
    }

    /// Requests the delivery of a test event to an endpoint. The dispatcher delivers it soon; the
    /// log has the result.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn test_webhook(
        &self,
        context: &Context,
        id: Uuid,
        idempotency: Option<IdempotentRequest<()>>,
    ) -> Result<Completion<()>, Error> {
        context.principal.require(Scope::WebhookWrite)?;
        let (now, reseller) = (self.now(), context.principal.reseller);
        let caller = &context.principal;
        self.write_once(caller, caller.tenancy(), idempotency, move |tx| {
            Box::pin(async move {
                let endpoint = lock_endpoint(tx, reseller, id).await?;
                let key = DeliveryKey {
                    account: 0,
                    event_id: now.timestamp_micros(),
                    event: TEST.to_owned(),
                };
                tx.enqueue_delivery(endpoint.reseller_id, id, key, now, now)
                    .await?;
                tx.announce_endpoints(endpoint.reseller_id);
                Ok(())
            })
        })
        .await
    }

    /// Requests that all events since an instant are delivered to an endpoint again. Returns the
    /// number of deliveries.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn redeliver_since(
        &self,
        context: &Context,
        id: Uuid,
        since: Time,
        idempotency: Option<IdempotentRequest<u64>>,
    ) -> Result<Completion<u64>, Error> {
        context.principal.require(Scope::WebhookWrite)?;
        let (now, reseller) = (self.now(), context.principal.reseller);
        let caller = &context.principal;
        self.write_once(caller, caller.tenancy(), idempotency, move |tx| {
            Box::pin(async move {
                let endpoint = lock_endpoint(tx, reseller, id).await?;
                let count = tx
                    .redeliver_since(endpoint.reseller_id, id, since, now)
                    .await?;
                tx.announce_endpoints(endpoint.reseller_id);
                Ok(count)
            })
        })
        .await
    }

    /// Requests that the event of an earlier attempt is delivered again, whether that attempt
    /// succeeded or failed.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn redeliver_one(
        &self,
        context: &Context,
        attempt: Uuid,
        idempotency: Option<IdempotentRequest<()>>,
    ) -> Result<Completion<()>, Error> {
        context.principal.require(Scope::WebhookWrite)?;
        let (now, reseller) = (self.now(), context.principal.reseller);
        let caller = &context.principal;
        self.write_once(caller, caller.tenancy(), idempotency, move |tx| {
            Box::pin(async move {
                let found = tx.fetch_attempt(reseller, attempt).await?;
                let (owner, endpoint, key, at) =
                    found.ok_or(Error::NotFound(Resource::EventLog))?;
                lock_endpoint(tx, Some(owner), endpoint).await?;
                tx.enqueue_delivery(owner, endpoint, key, at, now).await?;
                tx.announce_endpoints(owner);
                Ok(())
            })
        })
        .await
    }

    /// Deletes attempts that are older than `keep`, at most 10,000 of them. Returns the number of
    /// deleted attempts.
    pub async fn trim_attempts(&self, keep: Duration) -> Result<u64, Error> {
        let before = self.now() - keep;
        self.background_write(Tenancy::Platform, move |tx| {
            Box::pin(tx.delete_attempts(before, 10_000))
        })
        .await
    }
}
