//! Reverting a change, provided nothing has changed it since.

use std::time::Duration;

use thiserror::Error;

use super::{
    Account, Authority, Command, HoldDetails, HoldId, HoldKind, HoldPatch, Owner, Patch, Status,
    Time,
};

/// What a change did, with what is needed to revert it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revertible {
    /// It opened a hold.
    Opened(HoldKind, Option<Owner>, HoldId),
    /// It revised a hold that had these details before.
    Revised(HoldKind, Option<Owner>, HoldId, Box<HoldDetails>),
    /// It closed a hold that had these details.
    Closed(HoldKind, Option<Owner>, Box<HoldDetails>),
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

/// Why a change is not reverted, although no later command touched what it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotReverted {
    /// The account is not as the change left it.
    #[error("it was changed since")]
    Changed,
    /// The hold that the change placed has ended by itself.
    #[error("the hold that the job placed has ended by itself since")]
    HoldEnded,
    /// The hold that the change lifted would have ended by itself.
    #[error("the hold that the job lifted would have ended by itself since")]
    OldHoldEnded,
    /// The exemption that the change replaced would have ended by itself.
    #[error("the exemption that the job replaced would have ended by itself since")]
    OldExemptionEnded,
}

impl Account {
    /// The command that reverts a change made by this authority, if the account is still as the
    /// change left it. The caller has made sure that no later command touched the same fact or
    /// hold: whether one did cannot be seen from the account. `new_id` is the identity of the new
    /// hold, if reverting opens one.
    ///
    /// What would have ended by itself in the meantime is not brought back.
    ///
    /// # Errors
    /// [`NotReverted`] if there is nothing to revert.
    pub fn revert(
        &self,
        change: &Revertible,
        by: Authority,
        new_id: HoldId,
        purge_after: Duration,
        now: Time,
    ) -> Result<Command, NotReverted> {
        let own = |kind, owner: &Option<Owner>| {
            self.holds
                .iter()
                .find(|hold| hold.kind == kind && hold.is_of(by, owner.as_ref()))
        };
        let named = |kind, owner, id| own(kind, owner).filter(|hold| hold.id == id);
        let has_ended = |end: Option<Time>| end.is_some_and(|end| end <= now);
        let lift = |kind, owner: &Option<Owner>, id| Command::Lift {
            kind,
            owner: owner.clone(),
            only: Some(id),
        };
        let place = |kind, owner: &Option<Owner>, details| Command::Place {
            kind,
            owner: owner.clone(),
            fresh: new_id,
            details: exactly(details),
        };
        match change {
            Revertible::Opened(kind, owner, id) => {
                // One that is gone has lapsed: no command closed it.
                let hold = named(*kind, owner, *id).ok_or(NotReverted::HoldEnded)?;
                if hold.has_lapsed(now) {
                    return Err(NotReverted::HoldEnded);
                }
                Ok(lift(*kind, owner, *id))
            }
            Revertible::Revised(kind, owner, id, before) => {
                let hold = named(*kind, owner, *id);
                let has_lapsed = hold.is_none_or(|hold| hold.has_lapsed(now));
                if has_lapsed && has_ended(before.ends_at) {
                    Err(NotReverted::HoldEnded)
                } else if has_ended(before.ends_at) {
                    Ok(lift(*kind, owner, *id))
                } else {
                    Ok(place(*kind, owner, before))
                }
            }
            Revertible::Closed(kind, owner, before) => {
                if own(*kind, owner).is_some() {
                    Err(NotReverted::Changed)
                } else if has_ended(before.ends_at) {
                    Err(NotReverted::OldHoldEnded)
                } else {
                    Ok(place(*kind, owner, before))
                }
            }
            Revertible::Status(from, to) => only_if(self.status == *to, Command::SetStatus(*from)),
            Revertible::Expiry(from, to) => {
                only_if(self.expires_at == *to, Command::SetExpiry(*from))
            }
            Revertible::Exemption(from, to) => {
                let from = from.filter(|until| *until > now);
                if self.exempt_until == *to && *to == from {
                    return Err(NotReverted::OldExemptionEnded);
                }
                only_if(self.exempt_until == *to, Command::SetExemption(from))
            }
            Revertible::Deleted => only_if(self.deleted_at.is_some(), Command::Restore),
            Revertible::Restored => {
                only_if(self.deleted_at.is_none(), Command::Delete { purge_after })
            }
        }
    }
}

fn only_if(is_as_left: bool, command: Command) -> Result<Command, NotReverted> {
    is_as_left.then_some(command).ok_or(NotReverted::Changed)
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
        level: details.level,
    }
}
