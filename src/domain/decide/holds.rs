//! The rules for holds: freeze, suspend and retain; unfreeze, unsuspend and release; and the
//! announcements of what time does to holds.
//!
//! A command touches only the hold of its own kind, of the caller's own authority and owner.

use super::super::{
    Authority, Conflict, Error, Event, Fact, FieldChange, Hold, HoldChange, HoldDetails, HoldId,
    HoldKind, HoldPatch, Level, MAX_OWNERS, Owner, Time,
};
use super::{Draft, check_date};

impl Draft<'_> {
    /// The index of the open hold of a kind that the caller may revise and lift. `None` if there is
    /// none.
    fn own_hold(&self, kind: HoldKind, owner: Option<&Owner>) -> Option<usize> {
        let owner = self.by.owner(owner);
        self.after
            .holds
            .iter()
            .position(|hold| hold.kind == kind && hold.is_of(self.by.authority, owner))
    }

    /// Freeze, suspend, retain:
    /// - no open hold: opens a hold of the caller's authority and owner;
    /// - open, with the same details: no change;
    /// - open, with other details: revises the hold. `opened_at` stays, and so do descriptions that
    ///   the call omits. Without a begin, a hold in force keeps its own and a scheduled one starts
    ///   now; without an end, it blocks until it is lifted; without a level, it blocks.
    ///
    /// A lapsed hold is treated as closed: it is closed and a new one is opened.
    pub(super) fn place(
        &mut self,
        kind: HoldKind,
        owner: Option<&Owner>,
        new_id: HoldId,
        patch: &HoldPatch,
    ) -> Result<(), Error> {
        if kind == HoldKind::Retention && patch.level != Level::Block {
            return Err(Error::invalid(
                "level",
                "must be block: a retention hold has no other level",
            ));
        }
        if let Some(index) = self.own_hold(kind, owner)
            && self
                .after
                .holds
                .get(index)
                .is_some_and(|hold| hold.has_lapsed(self.now))
        {
            self.close(index);
        }
        let own = self.own_hold(kind, owner);
        let (placed, was_blocking) = match own.and_then(|index| self.after.holds.get_mut(index)) {
            None => (self.open(kind, owner, new_id, patch)?, false),
            Some(hold) => {
                let details = revised_details(hold, patch, self.now)?;
                if details == hold.details {
                    return Ok(());
                }
                let replaced = hold.clone();
                hold.details = details;
                hold.revision += 1;
                hold.has_begun = hold.has_started(self.now);
                let was_blocking = replaced.blocks(self.now);
                self.holds.push(HoldChange::Revised {
                    hold: hold.clone(),
                    replaced: Box::new(replaced),
                });
                (hold.clone(), was_blocking)
            }
        };
        self.events.extend(if placed.has_started(self.now) {
            Event::of_hold(kind, was_blocking, placed.blocks(self.now))
        } else {
            (kind != HoldKind::Retention).then_some(Event::HoldScheduled)
        });
        Ok(())
    }

    /// Opens a hold. The system cannot freeze or suspend an account that is exempt from automation.
    fn open(
        &mut self,
        kind: HoldKind,
        owner: Option<&Owner>,
        id: HoldId,
        patch: &HoldPatch,
    ) -> Result<Hold, Error> {
        let is_exempt = self
            .after
            .exempt_until
            .is_some_and(|until| until > self.now);
        if is_exempt && self.by.authority == Authority::System && kind != HoldKind::Retention {
            return Err(Error::Conflict(Conflict::Exempt));
        }
        let authority = self.by.authority;
        let owner = self.by.owner(owner);
        let is_another_owners =
            |hold: &&Hold| hold.kind == kind && hold.authority == authority && hold.owner.is_some();
        let owners = self.after.holds.iter().filter(is_another_owners).count();
        if owner.is_some() && owners >= MAX_OWNERS {
            return Err(Error::Conflict(Conflict::TooManyHolds));
        }
        let details = patch.over(&HoldDetails::default())?;
        check_dates(&details, self.now)?;
        let hold = Hold {
            id,
            kind,
            authority,
            owner: owner.cloned(),
            has_begun: details.starts_at.is_none_or(|start| start <= self.now),
            details,
            opened_at: self.now,
            opened_by: self.by.name.clone(),
            revision: 1,
        };
        self.after.holds.push(hold.clone());
        self.holds.push(HoldChange::Opened(hold.clone()));
        Ok(hold)
    }

    /// Unfreeze, unsuspend, release:
    /// - no open hold: no change;
    /// - open: closes the caller's own hold. The holds of other authorities and owners stay.
    ///
    /// `expected` names the hold that the caller means. If it is open and another's, the answer is
    /// [`Error::NotYourHold`]. If it is not open, or has lapsed, the answer is the conflict
    /// `stale_hold`: a late request must not lift a newer hold.
    pub(super) fn lift(
        &mut self,
        kind: HoldKind,
        owner: Option<&Owner>,
        expected: Option<HoldId>,
    ) -> Result<(), Error> {
        let own = self.own_hold(kind, owner);
        if let Some(expected) = expected {
            let mut holds = self.after.holds.iter();
            match holds.find(|hold| hold.id == expected && !hold.has_lapsed(self.now)) {
                None => return Err(Error::Conflict(Conflict::StaleHold)),
                Some(hold) if !hold.is_of(self.by.authority, self.by.owner(owner)) => {
                    return Err(Error::NotYourHold {
                        holder: hold.holder(),
                    });
                }
                Some(hold) if hold.kind != kind => {
                    return Err(Error::Conflict(Conflict::StaleHold));
                }
                Some(_) => {}
            }
        }
        if let Some(index) = own {
            self.lift_at(index);
        }
        Ok(())
    }

    /// Closes a hold of the caller, unless it has lapsed.
    fn lift_at(&mut self, index: usize) {
        let Some(hold) = self.after.holds.get(index) else {
            return;
        };
        if hold.has_lapsed(self.now) {
            return;
        }
        let (kind, was_blocking) = (hold.kind, hold.blocks(self.now));
        self.close(index);
        self.events
            .extend(Event::of_hold(kind, was_blocking, false));
        if was_blocking && self.by.authority == Authority::Operator && kind != HoldKind::Retention {
            self.after.operator_released_at = Some(self.now);
        }
    }

    /// Lifts a freeze of the caller's authority, whatever its owner, for somebody who paid for one
    /// revision of it. If a later revision is open, the answer is the conflict `stale_ticket`: it
    /// may be another debt. If other freezes of the authority are open instead, it is `stale_hold`.
    /// If none is, nothing changes.
    pub(super) fn redeem(&mut self, hold: HoldId, revision: i32) -> Result<(), Error> {
        let authority = self.by.authority;
        let is_freeze = |it: &Hold| it.kind == HoldKind::Freeze && it.authority == authority;
        let mut holds = self.after.holds.iter().enumerate();
        match holds.find(|(_, open)| open.id == hold && is_freeze(open)) {
            Some((_, open)) if open.revision != revision => {
                Err(Error::Conflict(Conflict::StaleTicket))
            }
            Some((index, _)) => {
                self.lift_at(index);
                Ok(())
            }
            None if self.after.holds.iter().any(is_freeze) => {
                Err(Error::Conflict(Conflict::StaleHold))
            }
            None => Ok(()),
        }
    }

    /// Announces what time did to a hold: that it has begun, or that it has lapsed, which closes
    /// it.
    pub(super) fn announce_hold(&mut self, id: HoldId) {
        let index = self.after.holds.iter().position(|hold| hold.id == id);
        let Some((index, hold)) =
            index.and_then(|index| Some((index, self.after.holds.get_mut(index)?)))
        else {
            return;
        };
        let Some(at) = hold.next_announcement().filter(|at| *at <= self.now) else {
            return;
        };
        let (kind, is_block) = (hold.kind, hold.details.level == Level::Block);
        if hold.has_begun {
            self.close(index);
            self.events.extend(Event::of_hold(kind, is_block, false));
        } else {
            hold.has_begun = true;
            self.holds.push(HoldChange::Begun(hold.clone()));
            self.events.extend(Event::of_hold(kind, false, is_block));
        }
        self.announced(at);
    }

    /// Records the instant that an announcement is about, which may be earlier than the
    /// announcement.
    pub(super) fn announced(&mut self, at: Time) {
        self.extra_fields.push(FieldChange {
            field: "effective_at".into(),
            before: Fact::Null,
            after: Fact::Time(at),
        });
    }

    /// Closes a hold: at its own end if that has passed, else now.
    fn close(&mut self, index: usize) {
        let hold = self.after.holds.remove(index);
        let lapsed = hold.has_lapsed(self.now);
        let ended = hold.details.ends_at.filter(|_| lapsed).unwrap_or(self.now);
        if lapsed && hold.authority == Authority::Operator && hold.kind != HoldKind::Retention {
            self.after.operator_released_at = self.after.operator_released_at.max(Some(ended));
        }
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
