//! The attempts of a runner: started while there are slots, and recorded when they have ended.

use std::time::Instant;

use tokio::task::JoinSet;
use tracing::{Instrument as _, debug, debug_span};
use uuid::Uuid;

use super::runner::{FinishedAttempt, Runner};
use super::{schedule, sign};
use crate::domain::SuspendedBy;
use crate::service::Attempt;
use crate::shares::Permit;
use crate::telemetry;

impl Runner {
    /// Starts attempts while there are deliveries, and slots that can be had now.
    pub(super) async fn start(&mut self, under_way: &mut JoinSet<FinishedAttempt>) {
        loop {
            let can_start = self.queues.has_ready()
                && under_way.len() < self.context.settings.endpoint_concurrency
                && !self.is_over
                && self.suspend.is_none()
                && self.has_lease();
            if !can_start {
                self.slot = None;
                return;
            }
            let is_failing = self.failing_since.is_some();
            if self.slot.as_ref().is_none_or(|(_, of)| *of != is_failing) {
                let request = self.context.limits.slot(self.context.reseller, is_failing);
                self.slot = Some((request, is_failing));
            }
            let Some((request, _)) = &mut self.slot else {
                return;
            };
            let Some(slot) = request.if_granted().await else {
                return;
            };
            self.slot = None;
            self.send_next(slot, under_way);
        }
    }

    /// Starts an attempt for the next delivery that can be sent. Without one, the slot is free
    /// again.
    pub(super) fn send_next(&mut self, slot: Permit, under_way: &mut JoinSet<FinishedAttempt>) {
        let Some(delivery) = self.queues.next() else {
            return;
        };
        let began_at = self.context.service.now();
        let Some(body) = delivery.body.clone() else {
            // Retention removed the event, so there is nothing to send.
            if self.queues.delivered(delivery.key.account) {
                self.emptied.push(delivery.key.account);
            }
            return;
        };
        let headers = sign::headers(
            self.endpoint.style,
            &self.secrets,
            &delivery.message_id,
            began_at.timestamp(),
            &body,
        );
        let (sender, url) = (self.context.sender.clone(), self.endpoint.url.clone());
        let span = debug_span!(target: telemetry::SPANS, "delivery", endpoint = %self.context.id, message = delivery.message_id);
        let attempt = async move {
            let started = Instant::now();
            let response = sender.send(&url, headers, body).await;
            drop(slot);
            FinishedAttempt {
                delivery,
                began_at,
                duration: started.elapsed(),
                response,
            }
        };
        under_way.spawn(attempt.instrument(span));
    }

    /// Records the result of an attempt.
    pub(super) fn record(&mut self, finished: FinishedAttempt) {
        let FinishedAttempt {
            delivery,
            began_at,
            duration,
            response,
        } = finished;
        let now = self.context.service.now();
        self.attempts.push(Attempt {
            id: Uuid::now_v7(),
            endpoint_id: self.context.id,
            key: delivery.key.clone(),
            event_at: delivery.at,
            number: delivery.attempts + 1,
            at: began_at,
            succeeded: response.succeeded(),
            status: response
                .status
                .and_then(|status| i16::try_from(status).ok()),
            problem: response.problem.clone(),
            answer: response.body.clone(),
            duration_ms: i32::try_from(duration.as_millis()).unwrap_or(i32::MAX),
        });
        let age = response
            .succeeded()
            .then(|| (now - delivery.at).to_std().unwrap_or_default());
        self.context.service.metrics().webhooks().attempt(age);
        if response.succeeded() {
            self.failing_since = None;
            self.last_success_at = Some(now);
            if self.queues.delivered(delivery.key.account) {
                self.emptied.push(delivery.key.account);
            }
            return;
        }
        debug!(endpoint = %self.context.id, problem = response.problem, "a webhook delivery failed; it will be retried");
        let since = *self.failing_since.get_or_insert(now);
        if response.status == Some(410) {
            self.suspend = Some(SuspendedBy::Gone);
        } else if now - since >= self.context.settings.suspend_after {
            self.suspend = Some(SuspendedBy::Failures);
        }
        let delay = schedule::delay(
            &self.context.settings.retries,
            delivery.attempts,
            response.retry_after,
            now,
        );
        let next = now + delay;
        self.queues.failed(delivery.key.account, next);
        self.next_due = Some(self.next_due.map_or(next, |due| due.min(next)));
    }
}
