//! What resellers share, and how much of it one of them may use at a time.

use std::sync::Arc;
use std::time::Duration;

use super::accounts::SNAPSHOT_PAGE_BYTES;
use super::{Principal, Service};
use crate::domain::{Error, ResellerId};
use crate::metrics::Metrics;
use crate::shares::{Holder, Limits, Permit, Refused, Shares};
use crate::store::Tenancy;

/// How much of each thing there is, and how much one holder may use. The configuration's section
/// `shares` explains each value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareSettings {
    /// Heavy requests that are carried out at a time, in all.
    pub heavy: usize,
    /// Heavy requests of one reseller at a time.
    pub heavy_per_reseller: usize,
    /// Event streams in all.
    pub streams: usize,
    /// Event streams of one reseller.
    pub streams_per_reseller: usize,
    /// Event streams of one credential.
    pub streams_per_token: usize,
    /// Bytes of request bodies, and of answers that wait to be read, in memory, in all.
    pub body_bytes: usize,
    /// The same of one reseller. An address whose caller is not known yet has a fourth of it.
    pub body_bytes_per_caller: usize,
    /// Requests of one holder that may wait for the same thing.
    pub queue: usize,
    /// How long a request waits.
    pub wait: Duration,
    /// Transactions that the general connections carry out at a time. One reseller may have a
    /// third of them.
    pub transactions: usize,
    /// Pages that the listing connections read at a time. One reseller may have a half of them.
    pub lists: usize,
    /// How long a transaction, or a page, waits for a connection.
    pub transaction_wait: Duration,
}

impl Default for ShareSettings {
    fn default() -> Self {
        Self {
            heavy: 64,
            heavy_per_reseller: 8,
            streams: 4_096,
            streams_per_reseller: 256,
            streams_per_token: 64,
            body_bytes: 64 << 20,
            body_bytes_per_caller: 16 << 20,
            queue: 256,
            wait: Duration::from_secs(5),
            transactions: 6,
            lists: 2,
            transaction_wait: Duration::from_secs(3),
        }
    }
}

/// How much work a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// A look-up or a change by key, or a page of another list.
    Light,
    /// Work that grows with the request or with the reseller: lists of accounts, simulations, bulk
    /// operations.
    Heavy,
}

/// The shares of one process.
#[derive(Debug)]
pub(super) struct ServiceShares {
    heavy: Shares,
    transactions: Shares,
    lists: Shares,
    streams: Shares,
    token_streams: Shares,
    bodies: Shares,
    /// Bodies of callers that are not known yet: a part of the memory, so that they never use up
    /// all of it.
    unknown_bodies: Shares,
    planning: Shares,
}

/// The part of the memory for bodies that callers have who are not known yet: one fourth.
const UNKNOWN_BODIES: usize = 4;
/// How many bulk jobs are planned at a time, in all. One of each reseller is: planning reads up to
/// 100,000 accounts, so it keeps one core of the database busy.
const PLANNING: usize = 2;

/// The permits of one event stream.
#[derive(Debug)]
pub struct StreamPermit {
    _of_reseller: Permit,
    _of_token: Option<Permit>,
}

/// The permits of one snapshot: it counts as an event stream, and its page as an answer in memory.
#[derive(Debug)]
pub struct SnapshotPermit {
    _stream: StreamPermit,
    _page: Permit,
}

impl ServiceShares {
    pub(super) fn new(settings: &ShareSettings, metrics: &Arc<Metrics>) -> Self {
        let ShareSettings { queue, wait, .. } = *settings;
        let shares = |name, total, each| {
            let limits = Limits {
                total,
                each,
                queue,
                wait,
            };
            Shares::new(name, limits, Arc::clone(metrics))
        };
        let planning = Limits {
            total: PLANNING,
            each: 1,
            queue,
            // Planning takes seconds.
            wait: wait * 4,
        };
        let transactions = Limits {
            total: settings.transactions,
            each: settings.transactions.div_ceil(3),
            queue,
            wait: settings.transaction_wait,
        };
        let lists = Limits {
            total: settings.lists,
            each: settings.lists.div_ceil(2),
            ..transactions
        };
        Self {
            lists: Shares::new("lists", lists, Arc::clone(metrics)),
            heavy: shares("heavy", settings.heavy, settings.heavy_per_reseller),
            transactions: Shares::new("transactions", transactions, Arc::clone(metrics)),
            streams: shares("streams", settings.streams, settings.streams_per_reseller),
            token_streams: shares("token_streams", usize::MAX, settings.streams_per_token),
            planning: Shares::new("planning", planning, Arc::clone(metrics)),
            unknown_bodies: shares(
                "unknown_body_bytes",
                settings.body_bytes / UNKNOWN_BODIES,
                settings.body_bytes_per_caller / UNKNOWN_BODIES,
            ),
            bodies: shares(
                "body_bytes",
                settings.body_bytes,
                settings.body_bytes_per_caller,
            ),
        }
    }

    /// Writes the use of every share into the metrics.
    pub(super) fn record(&self) {
        for shares in [
            &self.heavy,
            &self.transactions,
            &self.lists,
            &self.streams,
            &self.token_streams,
            &self.bodies,
            &self.unknown_bodies,
            &self.planning,
        ] {
            shares.record();
        }
    }

    /// Waits until a bulk job of the reseller may be planned.
    ///
    /// # Errors
    /// [`Error::ShareUsedUp`], or [`Error::Overloaded`] if others plan for too long.
    pub(super) async fn planning(&self, reseller: ResellerId) -> Result<Permit, Error> {
        let permit = self.planning.take(Holder::Reseller(reseller), 1).await;
        permit.map_err(|refused| refusal(refused, "bulk jobs being planned"))
    }

    /// Waits for one of the general connections.
    ///
    /// # Errors
    /// [`Error::ShareUsedUp`] if too many of the reseller's requests wait already;
    /// [`Error::Overloaded`] if the wait took too long.
    pub(super) async fn transaction(&self, holder: Holder) -> Result<Permit, Error> {
        let permit = self.transactions.take(holder, 1).await;
        permit.map_err(no_connection)
    }

    /// Waits for one of the listing connections.
    ///
    /// # Errors
    /// As [`ServiceShares::transaction`].
    pub(super) async fn list(&self, holder: Holder) -> Result<Permit, Error> {
        let permit = self.lists.take(holder, 1).await;
        permit.map_err(no_connection)
    }
}

impl Service {
    /// Waits until the holder may carry out a request of this cost. `None` for light requests,
    /// which never wait.
    ///
    /// # Errors
    /// [`Error::ShareUsedUp`], or [`Error::Overloaded`] if others use up all permits.
    pub async fn permit(&self, cost: Cost, holder: Holder) -> Result<Option<Permit>, Error> {
        match cost {
            Cost::Light => Ok(None),
            Cost::Heavy => {
                let permit = self.shares.heavy.take(holder, 1).await;
                permit.map(Some).map_err(|refused| {
                    refusal(refused, "requests for lists, searches and bulk operations")
                })
            }
        }
    }

    /// Takes the permits for an event stream of the caller.
    ///
    /// # Errors
    /// [`Error::ShareUsedUp`], or [`Error::Overloaded`] if others use up all permits.
    pub fn stream_permit(&self, caller: &Principal) -> Result<StreamPermit, Error> {
        let of_token = caller.token.map(|token| {
            let permit = self.shares.token_streams.try_take(Holder::Token(token), 1);
            permit.map_err(|refused| refusal(refused, "event streams and snapshots of this token"))
        });
        let of_token = of_token.transpose()?;
        let holder = Holder::Reseller(caller.storage_reseller());
        let permit = self.shares.streams.try_take(holder, 1);
        let of_reseller =
            permit.map_err(|refused| refusal(refused, "event streams and snapshots"))?;
        Ok(StreamPermit {
            _of_reseller: of_reseller,
            _of_token: of_token,
        })
    }

    /// Takes the permits for a snapshot of the caller, for as long as it is being sent.
    ///
    /// # Errors
    /// Those of [`Service::stream_permit`] and [`Service::body_permit`].
    pub async fn snapshot_permit(&self, caller: &Principal) -> Result<SnapshotPermit, Error> {
        let holder = Holder::Reseller(caller.storage_reseller());
        Ok(SnapshotPermit {
            _stream: self.stream_permit(caller)?,
            _page: self.body_permit(holder, SNAPSHOT_PAGE_BYTES).await?,
        })
    }

    /// Waits until the holder may keep this many more bytes of request bodies or of answers in
    /// memory.
    ///
    /// # Errors
    /// [`Error::ShareUsedUp`], or [`Error::Overloaded`] if others use up all of the memory.
    pub async fn body_permit(&self, holder: Holder, bytes: usize) -> Result<Permit, Error> {
        let shares = match holder {
            Holder::Address(_) => &self.shares.unknown_bodies,
            Holder::Reseller(_) | Holder::Token(_) | Holder::Webhooks => &self.shares.bodies,
        };
        let permit = shares.take(holder, bytes).await;
        permit.map_err(|refused| refusal(refused, "bytes of request bodies and answers"))
    }
}

/// Whose share a transaction uses: that of its reseller, or the operator's.
pub(super) fn holder_of(tenancy: &Tenancy) -> Holder {
    Holder::Reseller(match tenancy {
        Tenancy::Resellers(resellers) => resellers
            .iter()
            .next()
            .copied()
            .unwrap_or(ResellerId::PLATFORM),
        Tenancy::Platform | Tenancy::Credentials(_) => ResellerId::PLATFORM,
    })
}

fn no_connection(refused: Refused) -> Error {
    match refused {
        Refused::QueueFull => Error::ShareUsedUp {
            what: "requests that wait for the database",
        },
        Refused::OwnShare | Refused::AllShares => Error::Overloaded,
    }
}

fn refusal(refused: Refused, what: &'static str) -> Error {
    match refused {
        Refused::OwnShare | Refused::QueueFull => Error::ShareUsedUp { what },
        Refused::AllShares => Error::Overloaded,
    }
}
