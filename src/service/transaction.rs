//! Database work in a task of its own: it goes on when the caller is dropped.

use std::future::Future;

use futures_util::future::BoxFuture;
use tracing::{Instrument as _, Span, debug_span, error};
use uuid::Uuid;

use super::Service;
use super::idempotency::{Completion, IdempotentRequest};
use crate::domain::Error;
use crate::store::{StoredRequest, Tenancy, Tx};
use crate::telemetry;

impl Service {
    /// Carries out a change that is not of an account, in a transaction of its own. With `once`, a repeat is answered with
    /// the stored answer; one that failed is tried anew.
    pub(super) async fn write<T, F>(
        &self,
        tenancy: Tenancy,
        once: Option<IdempotentRequest<T>>,
        work: F,
    ) -> Result<Completion<T>, Error>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, Error>> + Send + 'static,
    {
        let (store, now, window) = (
            self.store.clone(),
            self.now(),
            self.settings.idempotency_window,
        );
        self.detached(async move {
            let mut tx = store.begin(&tenancy).await?;
            if let Some(once) = &once {
                tx.lock_answer(&once.key).await?;
                if let Some(kept) = tx
                    .fetch_answers(std::slice::from_ref(&once.key), now)
                    .await?
                    .pop()
                {
                    tx.rollback().await;
                    return if kept.fingerprint == once.fingerprint {
                        Ok(Completion::Replayed(kept.answer))
                    } else {
                        Err(Error::IdempotencyKeyReused)
                    };
                }
            }
            let done = match work(&mut tx).await {
                Ok(done) => Ok(done),
                Err(error) => {
                    tx.abort(&error).await;
                    return Err(error);
                }
            };
            if let Some(once) = once {
                let answer = (once.encode)(&done);
                tx.insert_answers(
                    &[StoredRequest {
                        key: once.key,
                        fingerprint: once.fingerprint,
                        answer,
                    }],
                    now,
                    now + window,
                )
                .await?;
            }
            tx.commit().await?;
            done.map(|done| Completion::Fresh(Box::new(done)))
        })
        .await
    }

    /// Reads in a transaction of its own, all from one snapshot.
    pub(super) async fn read<T, F>(&self, tenancy: Tenancy, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, Error>> + Send + 'static,
    {
        let store = self.store.clone();
        self.detached(async move {
            let mut tx = store.begin_reading(&tenancy).await?;
            match work(&mut tx).await {
                Ok(found) => tx.commit().await.map(|()| found),
                Err(error) => {
                    tx.abort(&error).await;
                    Err(error)
                }
            }
        })
        .await
    }

    /// Runs database work in a task of its own, which goes on when the caller is dropped, and within the time that
    /// one transaction may take. The task is started at once: what the work needs, many kilobytes, is never part of the future
    /// of the request that asks for it.
    pub(super) fn detached<T, W>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, Error>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let limited = tokio::time::timeout(self.settings.transaction_timeout, work);
        // The request's own span too, so that what is logged here has its id.
        let inside = limited
            .instrument(debug_span!(target: telemetry::SPANS, "detached"))
            .instrument(Span::current());
        let task = self.tasks.spawn(inside);
        async move {
            match task.await {
                Ok(Ok(result)) => result,
                Ok(Err(_elapsed)) => Err(Error::Unavailable),
                Err(panic) => Err(panicked(&panic)),
            }
        }
    }
}

/// The error of a task that panicked; the panic itself is in the log already.
pub(super) fn panicked(panic: &tokio::task::JoinError) -> Error {
    let incident = Uuid::new_v4();
    error!(%incident, %panic, "a task of the service panicked");
    Error::Internal { incident }
}
