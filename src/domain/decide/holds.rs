//! The rules for holds: freeze, suspend and retain; unfreeze, unsuspend and release.
//!
//! A command touches only the hold of its own kind and of the caller's own authority.

use super::super::{
    Authority, Conflict, Error, Event, Hold, HoldChange, HoldDetails, HoldId, HoldKind, HoldPatch,
    Time,
};
use super::{Draft, check_date};

impl Draft<'_> {
    /// The index of the caller's own open hold of a kind. `None` if there is none.
    fn own_hold(&self, kind: HoldKind) -> Option<usize> {
        self.after
            .holds
            .iter()
            .position(|hold| hold.kind == kind && hold.authority == self.by.authority)
    }

    /// Freeze, suspend, retain:
    /// - no open hold: opens a hold of the caller's authority;
    /// - open, with the same details: no change;
    /// - open, with other details: revises the hold. `opened_at` stays, and so do descriptions that
    ///   the call omits. Without a begin, a hold in force keeps its own and a scheduled one starts
    ///   now; without an end, it blocks until it is lifted.
    ///
    /// A lapsed hold is treated as closed: it is closed and a new one is opened.
    pub(super) fn place(
        &mut self,
        kind: HoldKind,
        new_id: HoldId,
        patch: &HoldPatch,
    ) -> Result<(), Error> {
        if let Some(index) = self.own_hold(kind)
            && self
                .after
                .holds
                .get(index)
                .is_some_and(|hold| hold.has_lapsed(self.now))
        {
            self.close(index);
        }
        let own = self.own_hold(kind);
        match own.and_then(|index| self.after.holds.get_mut(index)) {
            None => self.open(kind, new_id, patch)?,
            Some(hold) => {
                let details = revised_details(hold, patch, self.now)?;
                if details == hold.details {
                    return Ok(());
                }
                let replaced = std::mem::replace(&mut hold.details, details);
                hold.revision += 1;
                self.holds.push(HoldChange::Revised {
                    hold: hold.clone(),
                    replaced,
                });
            }
        }
        self.events.extend(match kind {
            HoldKind::Freeze => Some(Event::Frozen),
            HoldKind::Suspend => Some(Event::Suspended),
            HoldKind::Retention => None,
        });
        Ok(())
    }

    /// Opens a hold. The system cannot freeze or suspend an account that is exempt from automation.
    fn open(&mut self, kind: HoldKind, id: HoldId, patch: &HoldPatch) -> Result<(), Error> {
        let is_exempt = self
            .after
            .exempt_until
            .is_some_and(|until| until > self.now);
        if is_exempt && self.by.authority == Authority::System && kind != HoldKind::Retention {
            return Err(Error::Conflict(Conflict::Exempt));
        }
        let details = patch.over(&HoldDetails::default())?;
        check_dates(&details, self.now)?;
        let hold = Hold {
            id,
            kind,
            authority: self.by.authority,
            details,
            opened_at: self.now,
            opened_by: self.by.name.clone(),
            revision: 1,
        };
        self.after.holds.push(hold.clone());
        self.holds.push(HoldChange::Opened(hold));
        Ok(())
    }

    /// Unfreeze, unsuspend, release:
    /// - no open hold: no change;
    /// - open: closes the caller's own hold. Other authorities' holds stay.
    ///
    /// If `expected` names another hold than the open one, the answer is the conflict `stale_hold`:
    /// a late request must not lift a newer hold. A lapsed hold blocks nothing, so lifting it
    /// changes nothing.
    pub(super) fn lift(&mut self, kind: HoldKind, expected: Option<HoldId>) -> Result<(), Error> {
        let open = self.own_hold(kind).and_then(|index| {
            self.after
                .holds
                .get(index)
                .map(|hold| (index, hold.id, hold.has_lapsed(self.now)))
        });
        let Some((index, id, lapsed)) = open else {
            return Ok(());
        };
        if expected.is_some_and(|expected| expected != id) {
            return Err(Error::Conflict(Conflict::StaleHold));
        }
        if lapsed {
            return Ok(());
        }
        self.close(index);
        self.events.extend(match kind {
            HoldKind::Freeze => Some(Event::Unfrozen),
            HoldKind::Suspend => Some(Event::Unsuspended),
            HoldKind::Retention => None,
        });
        if self.by.authority == Authority::Operator && kind != HoldKind::Retention {
            self.after.operator_released_at = Some(self.now);
        }
        Ok(())
    }

    /// Lifts the caller's freeze for somebody who paid for one revision of it. If a later revision
    /// is open, the answer is the conflict `stale_ticket`: it may be another debt.
    pub(super) fn redeem(&mut self, hold: HoldId, revision: i32) -> Result<(), Error> {
        let own = self.own_hold(HoldKind::Freeze);
        let open = own.and_then(|index| self.after.holds.get(index));
        if open.is_some_and(|open| open.id == hold && open.revision != revision) {
            return Err(Error::Conflict(Conflict::StaleTicket));
        }
        self.lift(HoldKind::Freeze, Some(hold))
    }

    /// Closes a hold: at its own end if that has passed, else now.
    fn close(&mut self, index: usize) {
        let hold = self.after.holds.remove(index);
        let lapsed = hold.has_lapsed(self.now);
        let ended = hold.details.ends_at.filter(|_| lapsed).unwrap_or(self.now);
        self.holds.push(HoldChange::Closed {
            hold,
            at: ended,
            lapsed,
        });
    }
}

/// The details of an open hold after another call for it. Descriptions that the call omits keep
/// their value. The call states the time of the hold: one that gives no begin wants the block now,
/// so a hold whose start lies in the future starts now; one that gives no end wants it until it is
/// lifted.
fn revised_details(hold: &Hold, patch: &HoldPatch, now: Time) -> Result<HoldDetails, Error> {
    let mut current = hold.details.clone();
    if !hold.has_started(now) && patch.starts_at.value().is_none() {
        current.starts_at = Some(now);
    }
    let details = patch.over(&current)?;
    let is_moved = details.starts_at != hold.details.starts_at;
    if is_moved && hold.has_started(now) && details.starts_at.is_some_and(|start| start > now) {
        return Err(Error::Conflict(Conflict::HoldHasStarted));
    }
    if is_moved || details.ends_at != hold.details.ends_at {
        check_dates(&details, now)?;
    }
    Ok(details)
}

/// Refuses dates outside the supported years, and an end that has passed.
fn check_dates(details: &HoldDetails, now: Time) -> Result<(), Error> {
    for (field, at) in [
        ("starts_at", details.starts_at),
        ("ends_at", details.ends_at),
    ] {
        if let Some(at) = at {
            check_date(field, at)?;
        }
    }
    match details.ends_at {
        Some(end) if end <= now => Err(Error::invalid("ends_at", "must be in the future")),
        _ => Ok(()),
    }
}
