//! A snapshot of all accounts, from which a consumer starts to follow the events.
//!
//! A snapshot is read in pages, each in a transaction of its own. One transaction for all of it would
//! keep VACUUM from removing the old versions of every row, for as long as the slowest reader takes.
//!
//! The cursor of a reseller is read together with the first page of its accounts: it is behind the
//! last event that this transaction sees. The events of a reseller become visible in the order of
//! their numbers, and an account and its event become visible together. So every page contains all
//! changes up to the cursor. An account on a later page may contain changes behind the cursor too.
//! They are among the events behind it, and the account's version says so: an event whose sequence
//! is not greater than the version is contained already. So a consumer misses no change, and can
//! tell those that it has.

use crate::domain::{Account, Error, ResellerId, Scope, Time};
use crate::service::{Context, Service};
use crate::store::Tx;

/// The most accounts on a page, and about the most bytes of them. A reader that stops reading keeps a
/// page in memory.
const PAGE: i64 = 100;
/// About the most bytes of accounts on a page; a single account may be larger.
pub(in crate::service) const SNAPSHOT_PAGE_BYTES: usize = 128 << 10;

/// A position in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotPlace {
    /// The reseller.
    pub reseller: ResellerId,
    /// The number of the account after which the next page begins. `None` after the last account of
    /// the reseller.
    after: Option<i32>,
}

/// A page of a snapshot: accounts of one reseller.
#[derive(Debug)]
pub struct SnapshotPage {
    /// The reseller.
    pub reseller: ResellerId,
    /// The number of the reseller's last event, on the first page of the reseller.
    pub begins_after: Option<i64>,
    /// The accounts by number, deleted ones included.
    pub accounts: Vec<Account>,
    /// The instant for which the states of these accounts are computed.
    pub at: Time,
    /// Where the next page begins.
    pub next: SnapshotPlace,
}

impl Service {
    /// The page of a snapshot after a position; `None` begins with the first reseller. With `only`,
    /// the snapshot has this reseller alone; else it has every reseller that the caller sees, one
    /// after the other. The answer is `None` after the last page.
    ///
    /// # Errors
    /// [`Error::ResellerNotFound`] if the caller is another reseller than the one it names, or if
    /// there is no such reseller.
    pub async fn snapshot(
        &self,
        context: &Context,
        only: Option<ResellerId>,
        after: Option<SnapshotPlace>,
    ) -> Result<Option<SnapshotPage>, Error> {
        let caller = &context.principal;
        caller.require(Scope::AccountRead)?;
        let only = match caller.reseller {
            Some(_) => Some(caller.resolve_reseller(only)?),
            None => only,
        };
        let at = self.now();
        self.read(caller.tenancy(), move |tx| {
            Box::pin(async move { page(tx, only, after, at).await })
        })
        .await
    }
}

async fn page(
    tx: &mut Tx,
    only: Option<ResellerId>,
    place: Option<SnapshotPlace>,
    at: Time,
) -> Result<Option<SnapshotPage>, Error> {
    let within = place.and_then(|place| Some((place.reseller, place.after?)));
    let (reseller, after, begins_after) = if let Some((reseller, after)) = within {
        (reseller, after, None)
    } else {
        let previous = place.map_or(0, |place| place.reseller.0);
        let next = tx.list_resellers(only, previous, 1).await?.pop();
        let Some(next) = next.map(|reseller| reseller.id) else {
            return match (only, place) {
                (Some(_), None) => Err(Error::ResellerNotFound),
                _ => Ok(None),
            };
        };
        (next, 0, Some(tx.latest_event(next).await?))
    };
    let budget = i64::try_from(SNAPSHOT_PAGE_BYTES).unwrap_or(i64::MAX);
    let accounts = tx.list_for_snapshot(reseller, after, PAGE, budget).await?;
    let last = accounts.rows.last().map(|last| last.id.as_i32());
    Ok(Some(SnapshotPage {
        reseller,
        begins_after,
        at,
        next: SnapshotPlace {
            reseller,
            after: last.filter(|_| accounts.has_more),
        },
        accounts: accounts.rows,
    }))
}
