//! Reverting a change, provided nothing has changed it since.

use std::time::Duration;

use super::{
    Account, Authority, Command, HoldDetails, HoldId, HoldKind, HoldPatch, Patch, Status, Time,
};

/// What a change did, with what is needed to revert it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revertible {
    /// It opened a hold.
    Opened(HoldKind, HoldId),
    /// It revised a hold that had these details before.
    Revised(HoldKind, HoldId, Box<HoldDetails>),
    /// It closed a hold that had these details.
    Closed(HoldKind, Box<HoldDetails>),
    /// It moved the switch from the first value to the second.
    Status(Status, Status),
    /// It moved the expiry date from the first value to the second.
    Expiry(Option<Time>, Option<Time>),
    /// It moved the end of the exemption from the first value to the second.
    Exemption(Option<Time>, Option<Time>),
    /// It deleted the account.
    Deleted,
    /// It restored the account.
    Restored,
}

impl Account {
    /// The command that reverts a change made by this authority. `None` if a later command changed
    /// the same fact. `new_id` is the identity of the new hold, if reverting opens one.
    #[must_use]
    pub fn revert(
        &self,
        change: &Revertible,
        by: Authority,
        new_id: HoldId,
        purge_after: Duration,
    ) -> Option<Command> {
        let own = |kind| {
            self.holds
                .iter()
                .find(|hold| hold.kind == kind && hold.authority == by)
        };
        match change {
            Revertible::Opened(kind, id) => {
                own(*kind)
                    .filter(|hold| hold.id == *id)
                    .map(|_| Command::Lift {
                        kind: *kind,
                        only: Some(*id),
                    })
            }
            Revertible::Revised(kind, id, before) => {
                own(*kind)
                    .filter(|hold| hold.id == *id)
                    .map(|_| Command::Place {
                        kind: *kind,
                        fresh: new_id,
                        details: exactly(before),
                    })
            }
            Revertible::Closed(kind, before) => own(*kind).is_none().then(|| Command::Place {
                kind: *kind,
                fresh: new_id,
                details: exactly(before),
            }),
            Revertible::Status(from, to) => {
                (self.status == *to).then_some(Command::SetStatus(*from))
            }
            Revertible::Expiry(from, to) => {
                (self.expires_at == *to).then_some(Command::SetExpiry(*from))
            }
            Revertible::Exemption(from, to) => {
                (self.exempt_until == *to).then_some(Command::SetExemption(*from))
            }
            Revertible::Deleted => self.deleted_at.is_some().then_some(Command::Restore),
            Revertible::Restored => self
                .deleted_at
                .is_none()
                .then_some(Command::Delete { purge_after }),
        }
    }
}

/// The patch that turns any details into exactly these.
fn exactly(details: &HoldDetails) -> HoldPatch {
    fn patch<T: Clone>(value: Option<&T>) -> Patch<T> {
        value.map_or(Patch::Clear, |value| Patch::Set(value.clone()))
    }
    HoldPatch {
        reason_code: patch(details.reason_code.as_ref()),
        reason: patch(details.reason.as_ref()),
        public_message: patch(details.public_message.as_ref()),
        payment_url: patch(details.payment_url.as_ref()),
        starts_at: patch(details.starts_at.as_ref()),
        ends_at: patch(details.ends_at.as_ref()),
    }
}
