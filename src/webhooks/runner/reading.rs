//! What a runner reads: the journal, and pending deliveries that are due.

use super::{
    DUE_ACCOUNTS, DUE_PER_ACCOUNT, MAX_PARKED_ACCOUNTS, READ_PAGE, READS_PER_TURN, Runner, as_limit,
};
use crate::domain::Error;
use crate::shares::Holder;
use crate::webhooks::message::Delivery;

impl Runner {
    /// Reads the journal up to its end, until there is no room for more, or as much as one turn
    /// may.
    pub(super) async fn read_journal(&mut self) -> Result<(), Error> {
        for _ in 0..READS_PER_TURN {
            if !self.has_room() {
                break;
            }
            let page = self.page();
            let events = self
                .context
                .service
                .read_events(
                    Holder::Webhooks,
                    self.context.reseller,
                    self.read_to,
                    as_limit(page),
                )
                .await?;
            if !events.rows.is_empty() {
                // What happened after the owner changed the endpoint is delivered to the changed one.
                self.refresh().await?;
                if self.is_over {
                    break;
                }
            }
            self.is_caught_up = !events.has_more;
            let now = self.context.service.now();
            for event in events.rows {
                if self.queues.bytes() >= self.context.limits.max_bytes() {
                    // The rest is read again once there is room.
                    self.is_caught_up = false;
                    return Ok(());
                }
                self.read_to = event.entry.id;
                let subscribed = self.endpoint.wants(&event.entry.events);
                self.queues.push_new(Delivery::of_event(
                    event,
                    subscribed,
                    self.context.settings.writer,
                    now,
                ));
            }
        }
        Ok(())
    }

    /// Whether the journal should be read further now.
    ///
    /// Deliveries that wait to be written as parked count, too. Otherwise an endpoint with nearly
    /// all accounts parked would read the whole journal before it writes anything, and lose its
    /// lease.
    pub(super) fn has_room(&self) -> bool {
        let most = self.context.limits.max_unsettled();
        let is_below_limits = self.queues.unsettled() + self.page() <= most
            && self.queues.bytes() < self.context.limits.max_bytes()
            && self.queues.parked.len() < most
            && self.queues.parked_accounts() < MAX_PARKED_ACCOUNTS;
        is_below_limits && !self.is_caught_up && self.suspend.is_none()
    }

    /// How many journal entries one read returns at most.
    pub(super) fn page(&self) -> usize {
        READ_PAGE.min(self.context.limits.max_unsettled() / 2)
    }

    /// Whether the table of pending deliveries has to be checked, and there is room for what is
    /// found.
    pub(super) fn can_load_due(&self) -> bool {
        self.check_due
            && self.queues.in_memory() < self.context.limits.max_unsettled()
            && self.queues.bytes() < self.context.limits.max_bytes()
    }

    /// Loads pending deliveries that are due, and notes which parked accounts have none left.
    pub(super) async fn load_due(&mut self) -> Result<(), Error> {
        // The table must contain what was settled or parked meanwhile, because it is read next.
        if !(self.queues.settled.is_empty() && self.queues.parked.is_empty()) {
            self.write(Some(self.next_lease_end())).await?;
        }
        if self.is_over {
            return Ok(());
        }
        let (id, reseller) = (self.context.id, self.context.reseller);
        let most = self.context.limits.max_unsettled();
        let room = most.saturating_sub(self.queues.in_memory());
        let emptied = std::mem::take(&mut self.emptied);
        let due = self
            .context
            .service
            .read_due(
                reseller,
                id,
                self.queues.accounts(),
                emptied,
                as_limit((room / DUE_PER_ACCOUNT).clamp(1, DUE_ACCOUNTS)),
                as_limit(DUE_PER_ACCOUNT),
            )
            .await?;
        let now = self.context.service.now();
        due.clear
            .into_iter()
            .for_each(|account| self.queues.mark_unparked(account));
        for pending in due.accounts {
            if self.queues.bytes() >= self.context.limits.max_bytes() {
                // The rest is loaded again once there is room.
                self.check_due = true;
                break;
            }
            let deliveries: Vec<Delivery> = pending
                .into_iter()
                .map(|read| {
                    Delivery::of_pending(
                        read.pending,
                        read.event,
                        self.context.settings.writer,
                        now,
                    )
                })
                .collect();
            if let Some(first) = deliveries.first() {
                self.queues.mark_parked(first.key.account);
            }
            self.queues.push_parked(deliveries);
        }
        self.next_due = due.next;
        Ok(())
    }
}
