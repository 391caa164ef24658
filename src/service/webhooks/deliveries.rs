//! What the dispatcher asks of the database: work, leases, events, what is pending, and where its results are kept.

use std::collections::HashMap;

use uuid::Uuid;

use super::endpoints::with_accounts;
use crate::domain::{Endpoint, Error, ResellerId, Time};
use crate::service::{EventRead, Service};
use crate::store::{Pending, Progress, Tenancy};

/// Something pending, with the event that it is about; none: a test, or an event that is kept no longer.
#[derive(Debug, Clone)]
pub struct PendingRead {
    /// What is pending.
    pub pending: Pending,
    /// The event.
    pub event: Option<EventRead>,
}

/// What an endpoint needs besides new events.
#[derive(Debug, Clone, Default)]
pub struct Due {
    /// For each account that is due: what is pending of it, in order.
    pub lanes: Vec<Vec<PendingRead>>,
    /// When something else is due.
    pub next: Option<Time>,
    /// Of the accounts asked about, those of which nothing is pending any more.
    pub clear: Vec<i32>,
}

impl Service {
    /// How many endpoints each of the resellers has that deliveries are made to; only those that have any.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn count_endpoints(&self) -> Result<HashMap<ResellerId, usize>, Error> {
        self.read(Tenancy::Platform, |tx| {
            Box::pin(async move { tx.count_endpoints().await })
        })
        .await
    }

    /// Where deliveries are made to: every endpoint that is not suspended, with its URL.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn webhook_targets(&self) -> Result<Vec<(ResellerId, Uuid, String)>, Error> {
        self.read(Tenancy::Platform, |tx| {
            Box::pin(async move { tx.list_targets().await })
        })
        .await
    }

    /// Counts the endpoints, and how long one has failed, for the metrics.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn observe_endpoints(&self) -> Result<(), Error> {
        let health = self
            .read(Tenancy::Platform, |tx| {
                Box::pin(async move { tx.fetch_endpoint_health().await })
            })
            .await?;
        let longest = health
            .failing_since
            .map(|since| (self.now() - since).to_std().unwrap_or_default());
        self.metrics().set_endpoints(
            health.healthy,
            health.failing,
            health.suspended,
            longest.unwrap_or_default(),
        );
        Ok(())
    }

    /// Endpoints that nobody delivers to and that have something to be delivered; of these resellers, or of all.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn find_deliveries(
        &self,
        resellers: Option<Vec<ResellerId>>,
        limit: i64,
    ) -> Result<Vec<(ResellerId, Uuid)>, Error> {
        let now = self.now();
        self.read(Tenancy::Platform, move |tx| {
            Box::pin(async move { tx.find_work(resellers.as_deref(), now, limit).await })
        })
        .await
    }

    /// Takes the lease of an endpoint; the endpoint with its secrets and the accounts of which something is pending, or
    /// none if another has it.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn lease_endpoint(
        &self,
        reseller: ResellerId,
        id: Uuid,
        owner: Uuid,
        until: Time,
    ) -> Result<Option<(Endpoint, Vec<String>, Vec<i32>)>, Error> {
        let now = self.now();
        let work = self.write(Tenancy::of(reseller), None, move |tx| {
            Box::pin(async move {
                if !tx.lease_endpoint(reseller, id, owner, now, until).await? {
                    return Ok(None);
                }
                let Some(endpoint) = tx.fetch_endpoint(Some(reseller), id).await? else {
                    return Ok(None);
                };
                let secrets = tx.fetch_secrets(reseller, id, now).await?;
                Ok(Some((
                    endpoint,
                    secrets,
                    tx.list_blocked(reseller, id).await?,
                )))
            })
        });
        work.await?.done()
    }

    /// The endpoint and its secrets as they are now; none if it is gone.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn endpoint_as_it_is(
        &self,
        reseller: ResellerId,
        id: Uuid,
    ) -> Result<Option<(Endpoint, Vec<String>)>, Error> {
        let now = self.now();
        let read = self.read(Tenancy::of(reseller), move |tx| {
            Box::pin(async move {
                let Some(endpoint) = tx.fetch_endpoint(Some(reseller), id).await? else {
                    return Ok(None);
                };
                Ok(Some((endpoint, tx.fetch_secrets(reseller, id, now).await?)))
            })
        });
        read.await
    }

    /// The events of a reseller behind an entry of the journal, in order, with their accounts.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn read_events(
        &self,
        reseller: ResellerId,
        after: i64,
        limit: i64,
    ) -> Result<Vec<EventRead>, Error> {
        let read = self.read(Tenancy::of(reseller), move |tx| {
            Box::pin(async move {
                let entries = tx.list_events(reseller, after, limit).await?;
                with_accounts(tx, reseller, entries).await
            })
        });
        read.await
    }

    /// What is due of an endpoint: at most `lanes` accounts that are not `busy`, and of each at most `depth`; and which of the
    /// accounts that are `done` have nothing more.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn read_due(
        &self,
        reseller: ResellerId,
        endpoint: Uuid,
        busy: Vec<i32>,
        done: Vec<i32>,
        lanes: i64,
        depth: i64,
    ) -> Result<Due, Error> {
        let now = self.now();
        let read = self.read(Tenancy::of(reseller), move |tx| {
            Box::pin(async move {
                let mut due = Due {
                    clear: tx.list_clear(reseller, endpoint, &done).await?,
                    ..Due::default()
                };
                let mut taken = busy;
                let accounts = tx.list_due(reseller, endpoint, &taken, now, lanes).await?;
                let pending = tx
                    .list_pending(reseller, endpoint, &accounts, depth)
                    .await?;
                let owners: Vec<i32> = pending.iter().map(|one| one.key.account).collect();
                let ids: Vec<i64> = pending.iter().map(|one| one.key.event_id).collect();
                let times: Vec<Time> = pending.iter().map(|one| one.at).collect();
                let entries = tx.fetch_events(reseller, &owners, &ids, &times).await?;
                let events = with_accounts(tx, reseller, entries).await?;
                let events: HashMap<i64, EventRead> = events
                    .into_iter()
                    .map(|event| (event.entry.id, event))
                    .collect();
                for pending in pending {
                    let read = PendingRead {
                        event: events.get(&pending.key.event_id).cloned(),
                        pending,
                    };
                    match due.lanes.last_mut() {
                        Some(lane)
                            if lane.first().is_some_and(|first: &PendingRead| {
                                first.pending.key.account == read.pending.key.account
                            }) =>
                        {
                            lane.push(read);
                        }
                        _ => due.lanes.push(vec![read]),
                    }
                }
                taken.extend(accounts);
                due.next = tx.next_due(reseller, endpoint, &taken).await?;
                Ok(due)
            })
        });
        read.await
    }

    /// Writes what became of deliveries; the endpoint's revision and whether it is suspended, or none if the lease is lost.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn record_deliveries(
        &self,
        reseller: ResellerId,
        endpoint: Uuid,
        owner: Uuid,
        progress: Progress,
    ) -> Result<Option<(i64, bool)>, Error> {
        let work = self.write(Tenancy::of(reseller), None, move |tx| {
            Box::pin(async move {
                tx.record_progress(reseller, endpoint, owner, &progress)
                    .await
            })
        });
        work.await?.done()
    }
}
