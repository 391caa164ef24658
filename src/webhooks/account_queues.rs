//! The queues of one endpoint, one for each account. They keep the deliveries of an account in
//! order and let accounts go on independently of one another. This file does no I/O: the runner
//! sends and writes.
//!
//! Usually the deliveries of an account come from the journal. When one fails, it and everything
//! behind it in the queue is *parked*, which means moved to the table of pending deliveries. While
//! an account has parked deliveries, new deliveries from the journal are parked behind them. When
//! its next attempt is due, the runner loads the parked deliveries and tries them in order. When
//! none is left, the account's deliveries come from the journal again.
//!
//! The endpoint's position may pass a journal entry once all its deliveries are delivered or
//! parked.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::message::Delivery;
use crate::domain::Time;
use crate::service::{DeliveryKey, Pending};

/// The deliveries of one account that are in memory, in order.
#[derive(Debug, Default)]
struct AccountQueue {
    deliveries: VecDeque<Delivery>,
    /// Whether the first delivery is being sent.
    is_sending: bool,
}

/// The queues of one endpoint.
#[derive(Debug, Default)]
pub(super) struct AccountQueues {
    by_account: HashMap<i32, AccountQueue>,
    /// Accounts whose first delivery can be sent now.
    ready: VecDeque<i32>,
    /// Accounts with deliveries in the table of pending ones.
    parked_accounts: HashSet<i32>,
    /// Journal entries with deliveries that are neither delivered nor parked, and how many of them.
    unsettled_entries: BTreeMap<i64, usize>,
    /// How many deliveries are in memory, waiting or being sent.
    in_memory: usize,
    /// Deliveries to remove from the table of pending ones at the next write.
    pub(super) settled: Vec<DeliveryKey>,
    /// Deliveries to store in the table of pending ones at the next write.
    pub(super) parked: Vec<Pending>,
}

impl AccountQueues {
    pub(super) fn new(parked_accounts: Vec<i32>) -> Self {
        Self {
            parked_accounts: parked_accounts.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Adds the deliveries of one journal entry. Those of parked accounts are parked at once.
    pub(super) fn push_new(&mut self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            let account = delivery.key.account;
            if self.parked_accounts.contains(&account) {
                self.park(&delivery, 0, None);
                continue;
            }
            *self
                .unsettled_entries
                .entry(delivery.key.event_id)
                .or_default() += 1;
            self.push(account, delivery);
        }
    }

    /// Adds parked deliveries that were loaded because an attempt is due, in order.
    pub(super) fn push_parked(&mut self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            self.push(delivery.key.account, delivery);
        }
    }

    fn push(&mut self, account: i32, delivery: Delivery) {
        let queue = self.by_account.entry(account).or_default();
        queue.deliveries.push_back(delivery);
        self.in_memory += 1;
        if !queue.is_sending && queue.deliveries.len() == 1 {
            self.ready.push_back(account);
        }
    }

    /// The next delivery to send. At most one delivery of each account is being sent at a time.
    /// `None` if no delivery can be sent now.
    pub(super) fn next(&mut self) -> Option<Delivery> {
        while let Some(account) = self.ready.pop_front() {
            if let Some(queue) = self.by_account.get_mut(&account)
                && let Some(delivery) = queue.deliveries.front()
            {
                queue.is_sending = true;
                return Some(delivery.clone());
            }
        }
        None
    }

    /// Removes the first delivery of an account: it was delivered, or there is nothing to send any
    /// more. Returns whether the account is parked and its queue is now empty. The runner then
    /// checks whether the table has more deliveries for it.
    pub(super) fn delivered(&mut self, account: i32) -> bool {
        let Some(queue) = self.by_account.get_mut(&account) else {
            return false;
        };
        queue.is_sending = false;
        let Some(delivery) = queue.deliveries.pop_front() else {
            return false;
        };
        self.in_memory -= 1;
        let is_empty = queue.deliveries.is_empty();
        if is_empty {
            self.by_account.remove(&account);
        } else {
            self.ready.push_back(account);
        }
        if delivery.is_parked {
            self.settled.push(delivery.key);
        } else {
            self.settle_one(delivery.key.event_id);
        }
        is_empty && self.parked_accounts.contains(&account)
    }

    /// The first delivery of an account failed. It and everything behind it is parked until the
    /// next attempt.
    pub(super) fn failed(&mut self, account: i32, next_attempt_at: Time) {
        let Some(queue) = self.by_account.remove(&account) else {
            return;
        };
        self.in_memory -= queue.deliveries.len();
        self.parked_accounts.insert(account);
        for (index, delivery) in queue.deliveries.into_iter().enumerate() {
            if index == 0 {
                self.park(&delivery, delivery.attempts + 1, Some(next_attempt_at));
            } else if !delivery.is_parked {
                self.park(&delivery, delivery.attempts, None);
            }
            if !delivery.is_parked {
                self.settle_one(delivery.key.event_id);
            }
        }
    }

    /// Notes that the table has no deliveries for this account any more.
    pub(super) fn mark_unparked(&mut self, account: i32) {
        self.parked_accounts.remove(&account);
    }

    /// Notes that the table has deliveries for this account.
    pub(super) fn mark_parked(&mut self, account: i32) {
        self.parked_accounts.insert(account);
    }

    fn park(&mut self, delivery: &Delivery, attempts: i32, next_attempt_at: Option<Time>) {
        self.parked.push(Pending {
            key: delivery.key.clone(),
            at: delivery.at,
            attempts,
            next_attempt_at,
        });
    }

    /// Counts one delivery of a journal entry as delivered or parked.
    fn settle_one(&mut self, event_id: i64) {
        if let Some(unsettled) = self.unsettled_entries.get_mut(&event_id) {
            *unsettled -= 1;
            if *unsettled == 0 {
                self.unsettled_entries.remove(&event_id);
            }
        }
    }

    /// How many deliveries from the journal are neither delivered nor parked.
    pub(super) fn unsettled(&self) -> usize {
        self.unsettled_entries.values().sum()
    }

    /// The journal entry up to which everything is delivered or parked, if the journal was read up
    /// to `read_to`.
    pub(super) fn position(&self, read_to: i64) -> i64 {
        self.unsettled_entries
            .first_key_value()
            .map_or(read_to, |(first, _)| first - 1)
    }

    /// How many accounts have parked deliveries.
    pub(super) fn parked_accounts(&self) -> usize {
        self.parked_accounts.len()
    }

    /// Accounts with deliveries in memory.
    pub(super) fn accounts(&self) -> Vec<i32> {
        self.by_account.keys().copied().collect()
    }

    /// Whether no delivery is in memory, neither waiting nor being sent.
    pub(super) fn is_empty(&self) -> bool {
        self.by_account.is_empty()
    }

    /// How many deliveries are in memory, waiting or being sent.
    pub(super) fn in_memory(&self) -> usize {
        self.in_memory
    }

    /// Whether a delivery can be sent now.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(account: i32, event_id: i64, is_parked: bool) -> Delivery {
        let key = DeliveryKey {
            account,
            event_id,
            event: "account.updated".to_owned(),
        };
        Delivery {
            key,
            at: Time::default(),
            attempts: 0,
            is_parked,
            message_id: String::new(),
            body: None,
        }
    }

    /// Takes everything that can be sent now: account and journal entry.
    fn send_all(queues: &mut AccountQueues) -> Vec<(i32, i64)> {
        std::iter::from_fn(|| queues.next())
            .map(|delivery| (delivery.key.account, delivery.key.event_id))
            .collect()
    }

    #[test]
    fn a_queue_keeps_its_order_and_delays_no_other() {
        let mut queues = AccountQueues::new(Vec::new());
        for (account, event) in [(1, 10), (1, 11), (2, 12), (1, 13)] {
            queues.push_new(vec![delivery(account, event, false)]);
        }
        assert_eq!(send_all(&mut queues), [(1, 10), (2, 12)]);
        assert_eq!((queues.position(13), queues.unsettled()), (9, 4));
        assert_eq!(queues.in_memory(), 4);
        queues.delivered(2);
        assert_eq!(queues.position(13), 9);
        queues.delivered(1);
        assert_eq!(
            (send_all(&mut queues), queues.position(13)),
            (vec![(1, 11)], 10)
        );
        // Entry 11 fails: entry 13 is parked behind it, and the position passes both.
        queues.failed(1, Time::MAX_UTC);
        assert_eq!((queues.in_memory(), queues.has_ready()), (0, false));
        assert_eq!(
            (
                send_all(&mut queues),
                queues.position(13),
                queues.unsettled()
            ),
            (vec![], 13, 0)
        );
        let parked: Vec<_> = queues
            .parked
            .iter()
            .map(|pending| {
                (
                    pending.key.event_id,
                    pending.attempts,
                    pending.next_attempt_at.is_some(),
                )
            })
            .collect();
        assert_eq!(parked, [(11, 1, true), (13, 0, false)]);
        // New deliveries for the parked account are parked behind them.
        queues.push_new(vec![delivery(1, 14, false), delivery(1, 14, false)]);
        assert_eq!(
            (
                send_all(&mut queues),
                queues.position(14),
                queues.parked.len()
            ),
            (vec![], 14, 4)
        );
        // The attempt is due: the parked deliveries are tried in order. When none is left,
        // deliveries come from the journal again.
        queues.push_parked(vec![delivery(1, 11, true), delivery(1, 13, true)]);
        assert_eq!(send_all(&mut queues), [(1, 11)]);
        assert!(!queues.delivered(1));
        assert_eq!(send_all(&mut queues), [(1, 13)]);
        assert!(queues.delivered(1), "the table should be checked for more");
        queues.mark_unparked(1);
        queues.push_new(vec![delivery(1, 15, false)]);
        assert_eq!(
            (send_all(&mut queues), queues.settled.len()),
            (vec![(1, 15)], 2)
        );
    }

    #[test]
    fn the_position_passes_an_entry_when_all_its_deliveries_are_made() {
        let mut queues = AccountQueues::new(Vec::new());
        queues.push_new(vec![delivery(1, 5, false), delivery(1, 5, false)]);
        queues.next();
        queues.delivered(1);
        assert_eq!(queues.position(9), 4);
        queues.next();
        queues.delivered(1);
        assert_eq!(queues.position(9), 9);
    }
}
