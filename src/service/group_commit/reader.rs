//! Look-ups of many keys with one statement.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::hash::Hash;
use std::time::Duration;

use crate::domain::{Account, AccountKey, Error};
use crate::service::Clock;
use crate::store::{IdempotencyKey, Store, StoredRequest};

/// Looks up accounts by their keys, deleted ones included, with one statement for all. Runs on the
/// lane `read`. The callers have checked already that each may see the account under its key.
pub(in crate::service) async fn find_accounts(
    store: Store,
    limit: Duration,
    keys: Vec<AccountKey>,
) -> Vec<Result<Option<Account>, Error>> {
    let distinct: BTreeSet<AccountKey> = keys.iter().copied().collect();
    let work = async move {
        let resellers = distinct.iter().map(|(reseller, _)| *reseller).collect();
        let distinct: Vec<_> = distinct.into_iter().collect();
        let (tx, found) = store.look_up(&resellers, &distinct).await?;
        tx.commit().await?;
        Ok(found
            .into_iter()
            .map(|account| ((account.reseller_id, account.id), account))
            .collect())
    };
    find_each(keys, limit, work).await
}

/// Looks up the answers that are stored under idempotency keys, with one statement for all. Runs on
/// the lane `answer`.
pub(in crate::service) async fn find_answers(
    store: Store,
    clock: Clock,
    limit: Duration,
    keys: Vec<IdempotencyKey>,
) -> Vec<Result<Option<StoredRequest>, Error>> {
    let distinct: BTreeSet<_> = keys.iter().cloned().collect();
    let work = async move {
        let distinct: Vec<_> = distinct.into_iter().collect();
        let stored = store.look_up_answers(&distinct, clock.now()).await?;
        Ok(stored
            .into_iter()
            .map(|stored| (stored.key.clone(), stored))
            .collect())
    };
    find_each(keys, limit, work).await
}

/// Runs a look-up, and gives each key its part of the result, or the error. Keys may repeat.
pub(in crate::service) async fn find_each<K, T, W>(
    keys: Vec<K>,
    limit: Duration,
    work: W,
) -> Vec<Result<Option<T>, Error>>
where
    K: Eq + Hash,
    T: Clone,
    W: Future<Output = Result<HashMap<K, T>, Error>>,
{
    let found = tokio::time::timeout(limit, work).await;
    match found.unwrap_or(Err(Error::Unavailable)) {
        Ok(mut found) if found.len() == keys.len() => {
            keys.iter().map(|key| Ok(found.remove(key))).collect()
        }
        Ok(found) => keys.iter().map(|key| Ok(found.get(key).cloned())).collect(),
        Err(error) => keys.iter().map(|_| Err(error.clone())).collect(),
    }
}
