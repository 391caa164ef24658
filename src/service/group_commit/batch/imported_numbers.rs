//! The numbers of imported accounts, and the sequence of numbers.

use crate::domain::{AccountId, Error};
use crate::store::Tx;

/// Moves the sequence past the numbers in the rows, as long as that wastes no more numbers
/// than there are rows. So the next creations need not pass over them one by one, and cannot draw
/// one of them while this import is not committed yet.
pub(super) async fn pass_dense(tx: &mut Tx, mut brought: Vec<AccountId>) -> Result<(), Error> {
    brought.sort_unstable();
    let reached = tx.count_account_ids().await?;
    let beyond = brought
        .into_iter()
        .filter(|id| i64::from(id.as_i32()) > reached);
    let is_dense = |(rows, id): &(i64, AccountId)| i64::from(id.as_i32()) - reached <= 2 * rows;
    match (1..).zip(beyond).filter(is_dense).last() {
        Some((_, last)) => tx.pass_account_ids(last).await,
        None => Ok(()),
    }
}

/// Draws ids that are not reserved; fewer than `count` at the end of the sequence.
pub(super) async fn draw(
    tx: &mut Tx,
    count: usize,
    is_reserved: impl Fn(&AccountId) -> bool,
) -> Result<Vec<AccountId>, Error> {
    let mut fresh = Vec::with_capacity(count);
    while fresh.len() < count {
        let missing = i32::try_from(count - fresh.len()).unwrap_or(i32::MAX);
        let drawn = tx.next_account_ids(missing).await?;
        if drawn.is_empty() {
            break;
        }
        let (reserved, free): (Vec<_>, Vec<_>) = drawn.into_iter().partition(&is_reserved);
        fresh.extend(free);
        // Often many in a row are reserved. The sequence goes to the end of the row at once.
        let next = |id: &AccountId| AccountId::new(i64::from(id.as_i32()) + 1).ok();
        let row =
            std::iter::successors(reserved.last().copied(), |id| next(id).filter(&is_reserved));
        if let Some(last) = row.last() {
            tx.pass_account_ids(last).await?;
        }
    }
    Ok(fresh)
}
