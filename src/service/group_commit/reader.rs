//! Looks up many keys with one statement.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::hash::Hash;
use std::time::Duration;

use tracing::{Instrument as _, Span};

use crate::domain::{Account, AccountKey, Error};
use crate::service::transaction::panicked;
use crate::store::Store;

/// What looks up accounts.
#[derive(Clone)]
pub(in crate::service) struct Reader {
    pub(in crate::service) store: Store,
    pub(in crate::service) limit: Duration,
}

impl Reader {
    /// The accounts with these keys, deleted ones included, with one statement; each key is one that its caller may see.
    pub(in crate::service) async fn look_up(
        self,
        keys: Vec<AccountKey>,
    ) -> Vec<Result<Option<Account>, Error>> {
        let wanted: BTreeSet<AccountKey> = keys.iter().copied().collect();
        let work = async move {
            let resellers = wanted.iter().map(|(reseller, _)| *reseller).collect();
            let (tx, found) = self
                .store
                .look_up(&resellers, &wanted.into_iter().collect::<Vec<_>>())
                .await?;
            tx.commit().await?;
            Ok(found
                .into_iter()
                .map(|account| ((account.reseller_id, account.id), account))
                .collect())
        };
        find_each(keys, self.limit, work).await
    }
}

/// What `work` finds, told to each who asked; in a task of its own, started at once, so that not even a panic ends a lane.
pub(in crate::service) fn find_each<K, T, W>(
    keys: Vec<K>,
    limit: Duration,
    work: W,
) -> impl Future<Output = Vec<Result<Option<T>, Error>>> + Send + use<K, T, W>
where
    K: Eq + Hash + Send + 'static,
    T: Clone + Send + 'static,
    W: Future<Output = Result<HashMap<K, T>, Error>> + Send + 'static,
{
    let task = tokio::spawn(tokio::time::timeout(limit, work).instrument(Span::current()));
    async move {
        let found = match task.await {
            Ok(Ok(found)) => found,
            Ok(Err(_elapsed)) => Err(Error::Unavailable),
            Err(panic) => Err(panicked(&panic)),
        };
        match found {
            Ok(found) => keys.iter().map(|key| Ok(found.get(key).cloned())).collect(),
            Err(error) => keys.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}
