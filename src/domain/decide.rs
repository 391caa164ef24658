//! The rules of the lifecycle: what each command does in each state.
//!
//! Each rule edits a copy of the facts; what the journal, the events and the caller are told is read off the
//! difference. So "it was so already" needs no rule of its own, and nothing can be changed without being told.

use std::sync::Arc;

use chrono::TimeDelta;

use super::diff::{differences, hold_differences};
use super::expiry::notices;
use super::hold::HoldDetails;
use super::{
    Account, Actor, Authority, Change, Command, Conflict, Error, Event, Fact, FieldChange, Hold,
    HoldChange, HoldId, HoldKind, HoldPatch, NewAccount, PurgePolicy, Revision, Status, Time,
};

/// So much later than promised a warning of the purge may be without the purge being put off.
const NOTICE_TOLERANCE: TimeDelta = TimeDelta::hours(1);

/// The account under decision, with what has happened to it so far.
struct Draft<'a> {
    after: Account,
    holds: Vec<HoldChange>,
    /// What is told besides the differences of facts.
    told: Vec<FieldChange>,
    events: Vec<Event>,
    by: &'a Actor,
    now: Time,
}

impl Account {
    /// Decides a command: total, pure, and free of any clock but `now`.
    ///
    /// # Errors
    /// [`Error::AccountDeleted`], [`Error::Conflict`] or [`Error::InvalidField`]; then nothing changes.
    pub fn decide(&self, command: &Command, by: &Actor, now: Time) -> Result<Change, Error> {
        let is_of_the_deleted = matches!(
            command,
            Command::Restore | Command::Announce | Command::PlanPurge(_) | Command::Purge(_)
        );
        if self.deleted_at.is_some() && !is_of_the_deleted {
            return Err(Error::AccountDeleted);
        }
        let mut draft = Draft::of(self, by, now);
        match command {
            Command::Place {
                kind,
                fresh,
                details,
            } => draft.place(*kind, *fresh, details)?,
            Command::Lift { kind, only } => draft.lift(*kind, *only)?,
            Command::SetStatus(status) => draft.set_status(*status),
            Command::SetExpiry(at) => draft.set_expiry(*at)?,
            Command::SetExemption(until) => draft.set_exemption(*until)?,
            Command::Revise(revision) => draft.revise(revision)?,
            Command::Delete { purge_after } => draft.delete(*purge_after)?,
            Command::Restore => draft.restore(),
            Command::Announce => draft.announce(),
            Command::PlanPurge(policy) => draft.plan_purge(policy),
            Command::Purge(policy) => draft.purge(policy)?,
        }
        Ok(draft.finish(self))
    }

    /// Decides the creation of an account.
    ///
    /// # Errors
    /// [`Error::InvalidField`] naming the value that cannot be accepted.
    pub fn create(
        new: &NewAccount,
        revision: &Revision,
        by: &Actor,
        now: Time,
    ) -> Result<Change, Error> {
        let blank = Self {
            id: new.id,
            uid: new.uid,
            reseller_id: new.reseller_id,
            reseller_suspended_at: new.reseller_suspended_at,
            profile: Arc::default(),
            plan: None,
            status: Status::Active,
            status_set_at: now,
            expires_at: None,
            expiry_set_at: None,
            exempt_until: None,
            announce_at: None,
            deleted_at: None,
            purge_at: None,
            purge_due_at: None,
            warn_at: None,
            operator_released_at: None,
            holds: Vec::new(),
            version: 0,
            created_at: now,
            updated_at: now,
        };
        let mut draft = Draft::of(&blank, by, now);
        draft.revise(revision)?;
        let mut change = draft.finish(&blank);
        change.fields.push(FieldChange {
            field: "created_at",
            before: Fact::Null,
            after: Fact::Time(now),
        });
        change.events = vec![Event::Created];
        change.after.version = 1;
        change.after.updated_at = now;
        Ok(change)
    }
}

impl<'a> Draft<'a> {
    fn of(account: &Account, by: &'a Actor, now: Time) -> Self {
        Self {
            after: account.clone(),
            holds: Vec::new(),
            told: Vec::new(),
            events: Vec::new(),
            by,
            now,
        }
    }

    /// The caller's own open hold of a kind.
    fn own_hold(&self, kind: HoldKind) -> Option<usize> {
        self.after
            .holds
            .iter()
            .position(|hold| hold.kind == kind && hold.authority == self.by.authority)
    }

    fn place(&mut self, kind: HoldKind, fresh: HoldId, patch: &HoldPatch) -> Result<(), Error> {
        if let Some(at) = self.own_hold(kind)
            && self
                .after
                .holds
                .get(at)
                .is_some_and(|hold| hold.has_lapsed(self.now))
        {
            self.close(at);
        }
        let position = self.own_hold(kind);
        match position.and_then(|at| self.after.holds.get_mut(at)) {
            None => self.open(kind, fresh, patch)?,
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

    fn open(&mut self, kind: HoldKind, id: HoldId, patch: &HoldPatch) -> Result<(), Error> {
        let is_exempt = self
            .after
            .exempt_until
            .is_some_and(|until| until > self.now);
        if is_exempt && self.by.authority == Authority::System && kind != HoldKind::Retention {
            return Err(Error::Conflict(Conflict::Exempt));
        }
        let details = patch.over(&HoldDetails::default())?;
        refuse_past_end(&details, self.now)?;
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

    fn lift(&mut self, kind: HoldKind, only: Option<HoldId>) -> Result<(), Error> {
        let open = self.own_hold(kind).and_then(|at| {
            self.after
                .holds
                .get(at)
                .map(|hold| (at, hold.id, hold.has_lapsed(self.now)))
        });
        let Some((at, id, lapsed)) = open else {
            return Ok(());
        };
        if only.is_some_and(|only| only != id) {
            return Err(Error::Conflict(Conflict::StaleHold));
        }
        if lapsed {
            return Ok(());
        }
        self.close(at);
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

    fn close(&mut self, at: usize) {
        let hold = self.after.holds.remove(at);
        let lapsed = hold.has_lapsed(self.now);
        let ended = hold.details.ends_at.filter(|_| lapsed).unwrap_or(self.now);
        self.holds.push(HoldChange::Closed {
            hold,
            at: ended,
            lapsed,
        });
    }

    fn set_status(&mut self, status: Status) {
        if self.after.status == status {
            return;
        }
        self.after.status = status;
        self.after.status_set_at = self.now;
        self.events.push(match status {
            Status::Active => Event::Activated,
            Status::Inactive => Event::Deactivated,
        });
    }

    fn set_expiry(&mut self, at: Option<Time>) -> Result<(), Error> {
        if self.after.expires_at == at {
            return Ok(());
        }
        if let Some(at) = at {
            check_year("expires_at", at)?;
        }
        let now = self.now;
        self.move_expiry(|account| {
            account.expires_at = at;
            account.expiry_set_at = Some(now);
        });
        self.events.push(Event::ExpiryChanged);
        Ok(())
    }

    fn set_exemption(&mut self, until: Option<Time>) -> Result<(), Error> {
        if self.after.exempt_until == until {
            return Ok(());
        }
        if let Some(until) = until {
            check_year("exempt_until", until)?;
            if until <= self.now {
                return Err(Error::invalid("exempt_until", "must be in the future"));
            }
        }
        self.move_expiry(|account| account.exempt_until = until);
        Ok(())
    }

    /// Changes what the expiry is made of. What is announced of it begins anew only where the expiry that is in effect moved.
    fn move_expiry(&mut self, change: impl FnOnce(&mut Account)) {
        let before = self.after.expires_in_effect_at();
        change(&mut self.after);
        if self.after.expires_in_effect_at() != before {
            self.after.announce_at = self.after.next_announcement(before, self.now);
        }
    }

    fn revise(&mut self, revision: &Revision) -> Result<(), Error> {
        self.after.profile = Arc::new(revision.profile.over(&self.after.profile)?);
        if let Some(status) = revision.status {
            self.set_status(status);
        }
        revision.expires_at.map_or(Ok(()), |at| self.set_expiry(at))
    }

    fn delete(&mut self, purge_after: std::time::Duration) -> Result<(), Error> {
        let stands = |kind, authority: Option<Authority>| {
            self.after.holds.iter().any(|hold| {
                hold.kind == kind
                    && authority.is_none_or(|it| it == hold.authority)
                    && !hold.has_lapsed(self.now)
            })
        };
        if stands(HoldKind::Retention, None) {
            return Err(Error::Conflict(Conflict::RetentionHold));
        }
        if stands(HoldKind::Suspend, Some(Authority::Operator)) {
            return Err(Error::Conflict(Conflict::SuspendedByOperator));
        }
        self.after.deleted_at = Some(self.now);
        self.after.purge_at = Some(self.now + purge_after);
        self.events.push(Event::Deleted);
        Ok(())
    }

    fn restore(&mut self) {
        if self.after.deleted_at.take().is_some() {
            self.after.purge_at = None;
            self.after.announce_at = self.after.next_announcement_after_absence(self.now);
            self.events.push(Event::Restored);
        }
    }

    /// One announcement that is due, if one is. What is late is announced all the same: each of them once.
    fn announce(&mut self) {
        let is_due = |at: Option<Time>| at.filter(|at| *at <= self.now);
        let told = |field, days| FieldChange {
            field,
            before: Fact::Null,
            after: Fact::Number(days),
        };
        if let Some(due) =
            is_due(self.after.announce_at).filter(|_| self.after.deleted_at.is_none())
        {
            let Some((days, next)) = self.after.announcement(due) else {
                return;
            };
            self.after.announce_at = next;
            self.told.push(told("days_to_expiry", days));
            self.events.push(if days == 0 {
                Event::Expired
            } else {
                Event::Expiring
            });
        } else if let (Some(due), Some(at)) = (is_due(self.after.warn_at), self.after.purge_due_at)
        {
            let days = notices(at)
                .find(|(one, _)| *one >= due)
                .map_or(0, |(_, days)| days);
            // Whoever is told that so many days are left has them, however late it is told.
            let promised = self.now + TimeDelta::days(days);
            let at = if promised - at > NOTICE_TOLERANCE {
                promised
            } else {
                at
            };
            self.after.purge_due_at = Some(at);
            self.after.warn_at = notices(at)
                .find(|(_, left)| *left < days)
                .map(|(one, _)| one);
            self.told.push(told("days_to_purge", days));
            self.events.push(Event::Purging);
        }
    }

    fn plan_purge(&mut self, policy: &PurgePolicy) {
        let planned = self.after.purge_plan(policy, self.now);
        if planned != self.after.purge_due_at {
            self.after.purge_due_at = planned;
            self.after.warn_at = planned.and_then(|at| notices(at).map(|(one, _)| one).next());
        }
    }

    fn purge(&mut self, policy: &PurgePolicy) -> Result<(), Error> {
        let is_due = self.after.purge_due_at.is_some_and(|at| at <= self.now);
        if !is_due || self.after.purge_stop(policy, self.now).is_some() {
            return Err(Error::Conflict(Conflict::NotPlanned));
        }
        // Nobody can look it up any more, so what is told of it says which it was.
        self.told.push(FieldChange {
            field: "uid",
            before: Fact::from(&self.after.uid),
            after: Fact::Null,
        });
        self.told.push(FieldChange {
            field: "id",
            before: Fact::Number(i64::from(self.after.id.as_i32())),
            after: Fact::Null,
        });
        self.told.push(FieldChange {
            field: "purged_at",
            before: Fact::Null,
            after: Fact::Time(self.now),
        });
        self.events.push(Event::Purged);
        Ok(())
    }

    /// Reads the change off the difference between the account before and the draft.
    fn finish(self, before: &Account) -> Change {
        let mut after = self.after;
        if bears_on_the_purge(before, &after, &self.holds) {
            (after.purge_due_at, after.warn_at) = (None, None);
        }
        let mut fields = differences(before, &after);
        fields.extend(hold_differences(&self.holds));
        fields.extend(self.told);
        if !fields.is_empty() {
            after.version += 1;
            after.updated_at = self.now;
        }
        Change {
            after,
            holds: self.holds,
            fields,
            events: self.events,
        }
    }
}

/// Whether a change takes an account out of the plan of the purge: it is planned anew, with all its notices, if it still is to be.
fn bears_on_the_purge(before: &Account, after: &Account, holds: &[HoldChange]) -> bool {
    let facts = |it: &Account| (it.expires_at, it.exempt_until, it.deleted_at);
    let bears =
        |hold: &Hold| hold.kind == HoldKind::Retention || hold.authority == Authority::Operator;
    facts(before) != facts(after)
        || holds.iter().any(|change| match change {
            HoldChange::Opened(hold)
            | HoldChange::Revised { hold, .. }
            | HoldChange::Closed { hold, .. } => bears(hold),
        })
}

/// The details of an open hold after a repeat. What the repeat does not mention keeps its value, save that a
/// hold still waiting for its start begins now when the repeat names no start: it was asked for now.
fn revised_details(hold: &Hold, patch: &HoldPatch, now: Time) -> Result<HoldDetails, Error> {
    let mut details = patch.over(&hold.details)?;
    if hold.has_started(now) {
        if details.starts_at != hold.details.starts_at
            && details.starts_at.is_some_and(|start| start > now)
        {
            return Err(Error::Conflict(Conflict::HoldHasStarted));
        }
    } else if patch.starts_at == super::Patch::Keep {
        details.starts_at = Some(now);
    }
    if details.ends_at != hold.details.ends_at {
        refuse_past_end(&details, now)?;
    }
    Ok(details)
}

fn refuse_past_end(details: &HoldDetails, now: Time) -> Result<(), Error> {
    for (field, at) in [
        ("starts_at", details.starts_at),
        ("ends_at", details.ends_at),
    ] {
        if let Some(at) = at {
            check_year(field, at)?;
        }
    }
    match details.ends_at {
        Some(end) if end <= now => Err(Error::invalid("ends_at", "must be in the future")),
        _ => Ok(()),
    }
}

/// Dates are kept from 1970 up to and including 9999.
fn check_year(field: &'static str, at: Time) -> Result<(), Error> {
    use chrono::Datelike as _;
    if (1970..=9999).contains(&at.year()) {
        Ok(())
    } else {
        Err(Error::invalid(field, "must be in the years 1970 to 9999"))
    }
}
