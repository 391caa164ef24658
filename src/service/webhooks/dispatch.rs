//! What the webhook dispatcher reads and writes: endpoints to work on, leases, due deliveries,
//! results.
//!
//! A delivery that failed is *pending*, and is tried again when it is due. Until it succeeds or is
//! given up, later events of the same account wait behind it, so that an endpoint gets them in
//! order.

use std::collections::HashMap;

use uuid::Uuid;

use super::endpoints::PROMPT;
use super::events::with_accounts;
use crate::domain::{Endpoint, Error, ResellerId, Time};
use crate::service::{EventRead, Service};
use crate::shares::Holder;
use crate::store::{Pending, Progress, Tenancy, Tx};

/// A pending delivery, with its event.
#[derive(Debug, Clone)]
pub struct PendingRead {
    /// The pending delivery.
    pub pending: Pending,
    /// The event. `None` means a test, or an event whose journal entry was dropped.
    pub event: Option<EventRead>,
}

/// The pending deliveries of an endpoint that are due.
#[derive(Debug, Clone, Default)]
pub struct Due {
    /// For each account with a due delivery: its pending deliveries, in order.
    pub accounts: Vec<Vec<PendingRead>>,
    /// When the next delivery of another account is due.
    pub next: Option<Time>,
    /// The accounts of `done` that have no pending delivery left.
    pub clear: Vec<i32>,
}

impl Service {
    /// How many endpoints each reseller has that are not suspended. Resellers without any are
    /// missing.
    pub async fn count_endpoints(&self) -> Result<HashMap<ResellerId, usize>, Error> {
        self.background_read(Tenancy::Platform, |tx| Box::pin(tx.count_endpoints()))
            .await
    }

    /// Every endpoint that is not suspended, with its URL.
    pub async fn webhook_targets(&self) -> Result<Vec<(ResellerId, Uuid, String)>, Error> {
        self.read(Tenancy::Platform, |tx| Box::pin(tx.list_targets()))
            .await
    }

    /// Records in the metrics how many endpoints are healthy, failing and suspended, how long the
    /// longest failure lasts, and which endpoints are late.
    pub async fn observe_endpoints(&self) -> Result<(), Error> {
        let now = self.now();
        let (health, backlog) = self
            .background_read(Tenancy::Platform, move |tx| {
                Box::pin(async move {
                    let health = tx.fetch_endpoint_health().await?;
                    Ok((health, tx.fetch_backlog(now - PROMPT, now).await?))
                })
            })
            .await?;
        let oldest = backlog
            .since
            .map(|since| (now - since).to_std().unwrap_or_default());
        self.metrics().webhooks().set_late_endpoints(
            backlog.unleased,
            backlog.leased,
            oldest.unwrap_or_default(),
        );
        let longest = health
            .failing_since
            .map(|since| (self.now() - since).to_std().unwrap_or_default());
        self.metrics().webhooks().set_endpoints(
            health.healthy,
            health.failing,
            health.suspended,
            longest.unwrap_or_default(),
        );
        Ok(())
    }

    /// Endpoints that have something to be delivered, and that no other dispatcher than `owner` has
    /// leased, without those in `running`. `None` means those of all resellers. First comes one
    /// endpoint of each reseller, then a second one of each, and so on, so that `limit` cuts off
    /// endpoints of the resellers with the most of them.
    pub async fn find_deliveries(
        &self,
        resellers: Option<Vec<ResellerId>>,
        owner: Uuid,
        running: Vec<Uuid>,
        limit: i64,
    ) -> Result<Vec<(ResellerId, Uuid)>, Error> {
        let now = self.now();
        self.background_read(Tenancy::Platform, move |tx| {
            Box::pin(async move {
                tx.find_work(resellers.as_deref(), owner, &running, now, limit)
                    .await
            })
        })
        .await
    }

    /// Leases an endpoint until an instant. Returns the endpoint, its secrets, and the accounts
    /// that have pending deliveries. `None` means that another dispatcher has leased it.
    pub async fn lease_endpoint(
        &self,
        reseller: ResellerId,
        id: Uuid,
        owner: Uuid,
        until: Time,
    ) -> Result<Option<(Endpoint, Vec<String>, Vec<i32>)>, Error> {
        let now = self.now();
        self.write_as(Holder::Webhooks, Tenancy::of(reseller), move |tx| {
            Box::pin(async move {
                if !tx.lease_endpoint(reseller, id, owner, now, until).await? {
                    return Ok(None);
                }
                let Some((endpoint, secrets)) = fetch_with_secrets(tx, reseller, id, now).await?
                else {
                    return Ok(None);
                };
                let accounts = tx.list_blocked(reseller, id).await?;
                Ok(Some((endpoint, secrets, accounts)))
            })
        })
        .await
    }

    /// An endpoint and its secrets as they are now. `None` means that it was deleted.
    pub async fn endpoint_as_it_is(
        &self,
        reseller: ResellerId,
        id: Uuid,
    ) -> Result<Option<(Endpoint, Vec<String>)>, Error> {
        let now = self.now();
        self.read_as(Holder::Webhooks, Tenancy::of(reseller), move |tx| {
            Box::pin(fetch_with_secrets(tx, reseller, id, now))
        })
        .await
    }

    /// The due deliveries of an endpoint: of at most `max_accounts` accounts that are not `busy`,
    /// and of each at most `depth`. It also finds out which of the accounts that are `done` have
    /// nothing pending any more.
    pub async fn read_due(
        &self,
        reseller: ResellerId,
        endpoint: Uuid,
        busy: Vec<i32>,
        done: Vec<i32>,
        max_accounts: i64,
        depth: i64,
    ) -> Result<Due, Error> {
        let now = self.now();
        self.read_as(Holder::Webhooks, Tenancy::of(reseller), move |tx| {
            Box::pin(async move {
                let clear = tx.list_clear(reseller, endpoint, &done).await?;
                let accounts = tx
                    .list_due(reseller, endpoint, &busy, now, max_accounts)
                    .await?;
                let pending = tx
                    .list_pending(reseller, endpoint, &accounts, depth)
                    .await?;
                let mut taken = busy;
                taken.extend(accounts);
                Ok(Due {
                    accounts: by_account(with_events(tx, reseller, pending).await?),
                    next: tx.next_due(reseller, endpoint, &taken).await?,
                    clear,
                })
            })
        })
        .await
    }

    /// Writes the results of deliveries. Returns the endpoint's revision and whether it is
    /// suspended. `None` means that the lease was lost, and nothing was written.
    pub async fn record_deliveries(
        &self,
        reseller: ResellerId,
        endpoint: Uuid,
        owner: Uuid,
        progress: Progress,
    ) -> Result<Option<(i64, bool)>, Error> {
        self.write_as(Holder::Webhooks, Tenancy::of(reseller), move |tx| {
            Box::pin(async move {
                tx.record_progress(reseller, endpoint, owner, &progress)
                    .await
            })
        })
        .await
    }
}

async fn fetch_with_secrets(
    tx: &mut Tx,
    reseller: ResellerId,
    id: Uuid,
    now: Time,
) -> Result<Option<(Endpoint, Vec<String>)>, Error> {
    let Some(endpoint) = tx.fetch_endpoint(Some(reseller), id).await? else {
        return Ok(None);
    };
    let secrets = tx.fetch_secrets(reseller, id, now).await?;
    Ok(Some((endpoint, secrets)))
}

/// Adds the events to pending deliveries.
async fn with_events(
    tx: &mut Tx,
    reseller: ResellerId,
    pending: Vec<Pending>,
) -> Result<Vec<PendingRead>, Error> {
    let accounts: Vec<i32> = pending
        .iter()
        .map(|delivery| delivery.key.account)
        .collect();
    let ids: Vec<i64> = pending
        .iter()
        .map(|delivery| delivery.key.event_id)
        .collect();
    let times: Vec<Time> = pending.iter().map(|delivery| delivery.at).collect();
    let entries = tx.fetch_events(reseller, &accounts, &ids, &times).await?;
    let events: HashMap<i64, EventRead> = with_accounts(tx, reseller, entries)
        .await?
        .into_iter()
        .map(|event| (event.entry.id, event))
        .collect();
    Ok(pending
        .into_iter()
        .map(|pending| PendingRead {
            event: events.get(&pending.key.event_id).cloned(),
            pending,
        })
        .collect())
}

/// Groups pending deliveries, which are sorted by account, into one list for each account.
fn by_account(pending: Vec<PendingRead>) -> Vec<Vec<PendingRead>> {
    let account = |read: &PendingRead| read.pending.key.account;
    let mut groups: Vec<Vec<PendingRead>> = Vec::new();
    for read in pending {
        match groups.last_mut() {
            Some(group)
                if group
                    .last()
                    .is_some_and(|last| account(last) == account(&read)) =>
            {
                group.push(read);
            }
            _ => groups.push(vec![read]),
        }
    }
    groups
}
