//! Transactions of their own, for everything that no lane carries out.
//!
//! [`Service::read`] and [`Service::write`] begin a transaction, call the work, and commit, or roll
//! back if the work fails. [`Service::answer_once`] also stores the answer under an idempotency key,
//! and [`Service::write_once`] checks the caller's reseller besides. All four run in a spawned task, so the transaction is finished even when the caller hangs up.
//! Each takes a permit of its reseller's share of the general connections (`shares.rs`). The
//! background jobs have connections of their own.

use std::any::Any;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::task::JoinError;
use tracing::{Instrument as _, Span, debug_span, error};
use uuid::Uuid;

use super::answer_space::AnswerSpace;
use super::idempotency::{Completion, IdempotentRequest};
use super::{Principal, Service, shares};
use crate::domain::{Error, Time};
use crate::shares::Holder;
use crate::store::{Store, Tenancy, Tx};
use crate::telemetry;

impl Service {
    /// Reads in a transaction of its own. All its statements see the same snapshot.
    pub(super) async fn read<T, F>(&self, tenancy: Tenancy, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, Error>> + Send + 'static,
    {
        self.read_as(shares::holder_of(&tenancy), tenancy, work)
            .await
    }

    /// Reads as [`Service::read`] does, and uses the share of `holder`. For transactions that reach
    /// more rows than those of the one who asked for them.
    pub(super) async fn read_as<T, F>(
        &self,
        holder: Holder,
        tenancy: Tenancy,
        work: F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, Error>> + Send + 'static,
    {
        let (store, shares) = (self.store.clone(), Arc::clone(&self.shares));
        self.detached(async move {
            let _permit = shares.transaction(holder).await?;
            finish(store.begin_reading(&tenancy).await?, work).await
        })
        .await
    }

    /// Reads a page on a listing connection, without a transaction.
    pub(super) async fn read_page<T, W>(
        &self,
        tenancy: &Tenancy,
        work: impl FnOnce(Store) -> W + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (store, shares) = (self.store.clone(), Arc::clone(&self.shares));
        let holder = shares::holder_of(tenancy);
        self.detached(async move {
            let _permit = shares.list(holder).await?;
            work(store).await
        })
        .await
    }

    /// Writes in a transaction of its own.
    pub(super) async fn write<T, F>(&self, tenancy: Tenancy, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, Error>> + Send + 'static,
    {
        self.write_as(shares::holder_of(&tenancy), tenancy, work)
            .await
    }

    /// Writes as [`Service::write`] does, and uses the share of `holder`.
    pub(super) async fn write_as<T, F>(
        &self,
        holder: Holder,
        tenancy: Tenancy,
        work: F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, Error>> + Send + 'static,
    {
        let (store, shares) = (self.store.clone(), Arc::clone(&self.shares));
        self.detached(async move {
            let _permit = shares.transaction(holder).await?;
            finish(store.begin(&tenancy).await?, work).await
        })
        .await
    }

    /// Reads as [`Service::read`] does, on the connections of the background jobs. It never waits
    /// for requests.
    pub(super) async fn background_read<T, F>(&self, tenancy: Tenancy, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, Error>> + Send + 'static,
    {
        let store = self.store.for_background();
        self.detached(async move { finish(store.begin_reading(&tenancy).await?, work).await })
            .await
    }

    /// Writes as [`Service::write`] does, on the connections of the background jobs. It never waits
    /// for requests.
    pub(super) async fn background_write<T, F>(&self, tenancy: Tenancy, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, Error>> + Send + 'static,
    {
        let store = self.store.for_background();
        self.detached(async move { finish(store.begin(&tenancy).await?, work).await })
            .await
    }

    /// Writes on behalf of a caller, as [`Service::answer_once`] does. If a suspension of the
    /// caller's reseller stops the caller's writes, the transaction checks that there is none, and
    /// keeps any from beginning until it ends. The caller itself may have been looked up earlier,
    /// or in another process.
    ///
    /// # Errors
    /// [`Error::ResellerSuspended`].
    pub(super) async fn write_once<T, F>(
        &self,
        caller: &Principal,
        tenancy: Tenancy,
        idempotency: Option<IdempotentRequest<T>>,
        work: F,
    ) -> Result<Completion<T>, Error>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, Error>> + Send + 'static,
    {
        let heeding = caller.reseller.filter(|_| caller.heeds_suspension);
        self.answer_once(tenancy, idempotency, move |tx| {
            Box::pin(async move {
                let result = work(tx).await?;
                // Last, so that the lock, for which creations wait, is held for the commit only.
                if let Some(reseller) = heeding {
                    tx.require_unsuspended(reseller).await?;
                }
                Ok(result)
            })
        })
        .await
    }

    /// Writes in a transaction of its own and, with `idempotency`, stores the answer in the same
    /// transaction. A repeat gets the stored answer. Work that failed stores no answer, so a repeat
    /// tries it again.
    pub(super) async fn answer_once<T, F>(
        &self,
        tenancy: Tenancy,
        idempotency: Option<IdempotentRequest<T>>,
        work: F,
    ) -> Result<Completion<T>, Error>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, Error>> + Send + 'static,
    {
        let Some(request) = idempotency else {
            let result = self.write(tenancy, work).await?;
            return Ok(Completion::Fresh(Box::new(result)));
        };
        let times = AnswerTimes {
            now: self.now(),
            expires_at: self.now() + self.settings.idempotency_window,
            wait: self.settings.idempotency_wait,
        };
        let space = Arc::clone(&self.answer_space);
        self.write(tenancy, move |tx| {
            Box::pin(answer_once(tx, request, times, space, work))
        })
        .await
    }

    /// Runs database work in a spawned task, within the time that one transaction may take.
    ///
    /// The task is spawned when this is called, not when the returned future is first polled. The
    /// work needs many kilobytes, and they are then never part of the request's own future.
    pub(super) fn detached<T, W>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, Error>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let limited = tokio::time::timeout(self.settings.transaction_timeout, work);
        let limited = telemetry::for_same_request(limited);
        // The request's own span is entered too, so that what the work logs carries the request id.
        let traced = limited
            .instrument(debug_span!(target: telemetry::SPANS, "detached"))
            .instrument(Span::current());
        let task = self.tasks.spawn(traced);
        async move {
            match task.await {
                Ok(Ok(result)) => result,
                Ok(Err(_elapsed)) => Err(Error::Unavailable),
                Err(panic) => Err(panicked(&panic)),
            }
        }
    }
}

/// Does the work, then commits, or rolls back if it failed.
async fn finish<T, F>(mut tx: Tx, work: F) -> Result<T, Error>
where
    F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, Error>>,
{
    match work(&mut tx).await {
        Ok(result) => tx.commit().await.map(|()| result),
        Err(error) => {
            tx.abort(&error).await;
            Err(error)
        }
    }
}

/// The times that the answer to a request has to do with.
#[derive(Clone, Copy)]
struct AnswerTimes {
    now: Time,
    /// When the answer expires.
    expires_at: Time,
    /// How long to wait for an earlier request with the same key.
    wait: Duration,
}

/// Does the work and stores its answer, or finds the answer that is stored already. An advisory
/// lock on the key makes a second request with it wait until the first one has committed.
async fn answer_once<T, F>(
    tx: &mut Tx,
    request: IdempotentRequest<T>,
    times: AnswerTimes,
    space: Arc<AnswerSpace>,
    work: F,
) -> Result<Completion<T>, Error>
where
    F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, Error>>,
{
    tx.lock_answer(&request.key, times.wait).await?;
    let stored = tx
        .fetch_answers(std::slice::from_ref(&request.key), times.now)
        .await?;
    if let Some(stored) = stored.into_iter().next() {
        return request.stored_answer(stored).map(Completion::Replayed);
    }
    let result = Ok(work(tx).await?);
    if let Some(stored) = request.with_answer(&result) {
        space.add([&stored], times.now);
        tx.insert_answers(&[stored], times.now, times.expires_at)
            .await?;
    }
    result.map(|result| Completion::Fresh(Box::new(result)))
}

/// The error that callers of a task get when the task panicked. The panic hook has logged the
/// panic.
pub(super) fn panicked(panic: &JoinError) -> Error {
    incident(panic)
}

/// The same for a panic that was caught.
pub(super) fn caught(panic: &(dyn Any + Send)) -> Error {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    incident(&message.unwrap_or("unknown"))
}

fn incident(panic: &dyn Display) -> Error {
    let incident = Uuid::new_v4();
    error!(%incident, %panic, "a task of the service panicked");
    Error::Internal { incident }
}
