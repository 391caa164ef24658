//! The lanes of one endpoint: one for each account, in order within, independent of one another. Pure; the runner does
//! the sending and the writing.
//!
//! A lane is *open* while its items come from the journal. When an item fails, it and everything behind it in the lane is
//! parked in the table of what is pending, and the lane is *shut*: what the journal brings for it is parked at once. When
//! it is due, what is parked is loaded and tried; when nothing of it is left the lane is open again.
//!
//! The endpoint's position may pass an entry of the journal once every item of it is delivered or parked.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::message::Item;
use crate::domain::Time;
use crate::service::{DeliveryKey, Pending};

#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Item>,
    is_busy: bool,
}

/// The lanes of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    by_account: HashMap<i32, Lane>,
    /// Lanes that have something in front that can be sent now.
    ready: VecDeque<i32>,
    /// Accounts of which something is parked.
    shut: HashSet<i32>,
    /// Entries of the journal with items that are neither delivered nor parked, and how many.
    open_entries: BTreeMap<i64, usize>,
    /// What is to be written.
    pub(super) settled: Vec<DeliveryKey>,
    pub(super) parked: Vec<Pending>,
}

impl Lanes {
    pub(super) fn new(shut: Vec<i32>) -> Self {
        Self {
            shut: shut.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Takes the items of one entry of the journal.
    pub(super) fn push_new(&mut self, items: Vec<Item>) {
        for item in items {
            let account = item.key.account;
            if self.shut.contains(&account) {
                self.park(&item, 0, None);
                continue;
            }
            *self.open_entries.entry(item.key.event_id).or_default() += 1;
            self.push(account, item);
        }
    }

    /// Takes what is parked of an account, in order.
    pub(super) fn push_parked(&mut self, items: Vec<Item>) {
        for item in items {
            self.push(item.key.account, item);
        }
    }

    fn push(&mut self, account: i32, item: Item) {
        let lane = self.by_account.entry(account).or_default();
        lane.queue.push_back(item);
        if !lane.is_busy && lane.queue.len() == 1 {
            self.ready.push_back(account);
        }
    }

    /// The next item that can be sent: at most one of each lane is under way.
    pub(super) fn next(&mut self) -> Option<Item> {
        while let Some(account) = self.ready.pop_front() {
            if let Some(lane) = self.by_account.get_mut(&account)
                && let Some(item) = lane.queue.front()
            {
                lane.is_busy = true;
                return Some(item.clone());
            }
        }
        None
    }

    /// The item in front of a lane was delivered, or there was nothing left to be told of it. Says whether all that was
    /// loaded of a shut lane is gone, so that it should be looked at again.
    pub(super) fn delivered(&mut self, account: i32) -> bool {
        let Some(lane) = self.by_account.get_mut(&account) else {
            return false;
        };
        lane.is_busy = false;
        let Some(item) = lane.queue.pop_front() else {
            return false;
        };
        let is_empty = lane.queue.is_empty();
        if is_empty {
            self.by_account.remove(&account);
        } else {
            self.ready.push_back(account);
        }
        if item.is_parked {
            self.settled.push(item.key);
        } else {
            self.close_entry(item.key.event_id);
        }
        is_empty && self.shut.contains(&account)
    }

    /// The item in front of a lane failed: it is to be tried at an instant, and nothing behind it before that.
    pub(super) fn failed(&mut self, account: i32, next_attempt_at: Time) {
        let Some(lane) = self.by_account.remove(&account) else {
            return;
        };
        self.shut.insert(account);
        for (place, item) in lane.queue.into_iter().enumerate() {
            if place == 0 {
                self.park(&item, item.attempts + 1, Some(next_attempt_at));
            } else if !item.is_parked {
                self.park(&item, item.attempts, None);
            }
            if !item.is_parked {
                self.close_entry(item.key.event_id);
            }
        }
    }

    /// Nothing of this account is parked any more.
    pub(super) fn reopen(&mut self, account: i32) {
        self.shut.remove(&account);
    }

    /// Takes it that something of an account is parked.
    pub(super) fn shut(&mut self, account: i32) {
        self.shut.insert(account);
    }

    fn park(&mut self, item: &Item, attempts: i32, next_attempt_at: Option<Time>) {
        self.parked.push(Pending {
            key: item.key.clone(),
            at: item.at,
            attempts,
            next_attempt_at,
        });
    }

    fn close_entry(&mut self, event_id: i64) {
        if let Some(left) = self.open_entries.get_mut(&event_id) {
            *left -= 1;
            if *left == 0 {
                self.open_entries.remove(&event_id);
            }
        }
    }

    /// How many items are neither delivered nor parked.
    pub(super) fn open(&self) -> usize {
        self.open_entries.values().sum()
    }

    /// Up to where everything is delivered or parked, given how far the journal was read.
    pub(super) fn position(&self, read_to: i64) -> i64 {
        self.open_entries
            .first_key_value()
            .map_or(read_to, |(first, _)| first - 1)
    }

    /// How many accounts have something parked.
    pub(super) fn shut_lanes(&self) -> usize {
        self.shut.len()
    }

    /// Accounts that have something under way or waiting here.
    pub(super) fn loaded(&self) -> Vec<i32> {
        self.by_account.keys().copied().collect()
    }

    /// Whether anything waits here or is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.by_account.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(account: i32, event_id: i64, is_parked: bool) -> Item {
        let key = DeliveryKey {
            account,
            event_id,
            event: "account.updated".to_owned(),
        };
        Item {
            key,
            at: Time::default(),
            attempts: 0,
            is_parked,
            message_id: String::new(),
            body: None,
        }
    }

    fn sent(lanes: &mut Lanes) -> Vec<(i32, i64)> {
        std::iter::from_fn(|| lanes.next())
            .map(|item| (item.key.account, item.key.event_id))
            .collect()
    }

    #[test]
    fn a_lane_is_in_order_and_holds_up_no_other() {
        let mut lanes = Lanes::new(Vec::new());
        for (account, event) in [(1, 10), (1, 11), (2, 12), (1, 13)] {
            lanes.push_new(vec![item(account, event, false)]);
        }
        assert_eq!(sent(&mut lanes), [(1, 10), (2, 12)]);
        assert_eq!((lanes.position(13), lanes.open()), (9, 4));
        lanes.delivered(2);
        assert_eq!(lanes.position(13), 9);
        lanes.delivered(1);
        assert_eq!((sent(&mut lanes), lanes.position(13)), (vec![(1, 11)], 10));
        // It fails: what is behind it is parked with it, and the position passes all of it.
        lanes.failed(1, Time::MAX_UTC);
        assert_eq!(
            (sent(&mut lanes), lanes.position(13), lanes.open()),
            (vec![], 13, 0)
        );
        let parked: Vec<_> = lanes
            .parked
            .iter()
            .map(|one| {
                (
                    one.key.event_id,
                    one.attempts,
                    one.next_attempt_at.is_some(),
                )
            })
            .collect();
        assert_eq!(parked, [(11, 1, true), (13, 0, false)]);
        // What comes for a shut lane is parked behind.
        lanes.push_new(vec![item(1, 14, false), item(1, 14, false)]);
        assert_eq!(
            (sent(&mut lanes), lanes.position(14), lanes.parked.len()),
            (vec![], 14, 4)
        );
        // It is due: what was parked is tried in order, and the lane is open when nothing is left.
        lanes.push_parked(vec![item(1, 11, true), item(1, 13, true)]);
        assert_eq!(sent(&mut lanes), [(1, 11)]);
        assert!(!lanes.delivered(1));
        assert_eq!(sent(&mut lanes), [(1, 13)]);
        assert!(lanes.delivered(1), "it should be looked at again");
        lanes.reopen(1);
        lanes.push_new(vec![item(1, 15, false)]);
        assert_eq!((sent(&mut lanes), lanes.settled.len()), (vec![(1, 15)], 2));
    }

    #[test]
    fn an_entry_is_passed_when_all_of_its_names_are_told() {
        let mut lanes = Lanes::new(Vec::new());
        lanes.push_new(vec![item(1, 5, false), item(1, 5, false)]);
        lanes.next();
        lanes.delivered(1);
        assert_eq!(lanes.position(9), 4);
        lanes.next();
        lanes.delivered(1);
        assert_eq!(lanes.position(9), 9);
    }
}
