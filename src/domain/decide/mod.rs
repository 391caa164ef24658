//! The rules of the lifecycle: what each command does in each state.
//!
//! Each rule edits a draft, which is a copy of the account. [`Draft::finish`] then compares the
//! draft with the account: the differences become the fields of the journal entry, and without a
//! difference the outcome is "unchanged". The rules therefore need no case for "it is already so",
//! and no change can be missing from the journal.
//!
//! The rules for holds are in [`holds`], those for imports in [`import`].

mod holds;
mod import;

use std::sync::Arc;

use chrono::TimeDelta;

use super::diff::{differences, hold_differences};
use super::expiry::notices;
use super::{
    Account, Actor, Announcement, Authority, Change, Command, Conflict, Error, Event, Fact,
    FieldChange, Hold, HoldChange, HoldKind, NewAccount, PurgePolicy, Revision, Status, Time,
};

/// How late a warning of the purge may be before the purge is postponed.
const NOTICE_TOLERANCE: TimeDelta = TimeDelta::hours(1);

/// A copy of the account that the rules edit, with a record of what they did.
struct Draft<'a> {
    after: Account,
    /// The holds opened, revised or closed so far.
    holds: Vec<HoldChange>,
    /// Additional fields for the journal entry, which comparing the account and the draft does not
    /// find.
    extra_fields: Vec<FieldChange>,
    events: Vec<Event>,
    by: &'a Actor,
    now: Time,
}

impl Account {
    /// Decides a command. Pure: the result depends on the account and the arguments only.
    ///
    /// A deleted account accepts only restore and the commands of the background jobs.
    ///
    /// # Errors
    /// [`Error::AccountDeleted`], [`Error::Conflict`] or [`Error::InvalidField`]; the command is
    /// then refused as a whole.
    pub fn decide(&self, command: &Command, by: &Actor, now: Time) -> Result<Change, Error> {
        let is_allowed_on_deleted = matches!(
            command,
            Command::Restore | Command::Announce | Command::PlanPurge(_) | Command::Purge(_)
        );
        if self.deleted_at.is_some() && !is_allowed_on_deleted {
            return Err(Error::AccountDeleted);
        }
        let mut draft = Draft::new(self, by, now);
        match command {
            Command::Place {
                kind,
                owner,
                fresh: new_id,
                details,
            } => draft.place(*kind, owner.as_ref(), *new_id, details)?,
            Command::Lift {
                kind,
                owner,
                only: expected,
            } => draft.lift(*kind, owner.as_ref(), *expected)?,
            Command::Redeem { hold, revision } => draft.redeem(*hold, *revision)?,
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

    /// Announces the earliest begin or lapse of a hold that is due. `None` if none is.
    #[must_use]
    pub fn announce_hold(&self, by: &Actor, now: Time) -> Option<Change> {
        let holds = self.holds.iter();
        let due = holds.filter_map(|hold| Some((hold.next_announcement()?, hold.id)));
        let (_, id) = due.filter(|(at, _)| *at <= now).min()?;
        let mut draft = Draft::new(self, by, now);
        draft.announce_hold(id);
        Some(draft.finish(self))
    }

    /// Decides the creation of an account.
    ///
    /// # Errors
    /// [`Error::InvalidField`] naming the first value that is refused.
    pub fn create(
        new: &NewAccount,
        revision: &Revision,
        by: &Actor,
        now: Time,
    ) -> Result<Change, Error> {
        let blank = Self::blank(new, now);
        let mut draft = Draft::new(&blank, by, now);
        draft.revise(revision)?;
        draft.events = vec![Event::Created];
        Ok(creation(draft.finish(&blank), now))
    }

    /// An account without any facts, before its creation.
    fn blank(new: &NewAccount, now: Time) -> Self {
        Self {
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
        }
    }
}

/// Completes the change that creates an account.
fn creation(mut change: Change, now: Time) -> Change {
    change.fields.push(FieldChange {
        field: "created_at".into(),
        before: Fact::Null,
        after: Fact::Time(change.after.created_at),
    });
    change.after.version = 1;
    change.after.updated_at = now;
    change
}

impl<'a> Draft<'a> {
    fn new(account: &Account, by: &'a Actor, now: Time) -> Self {
        Self {
            after: account.clone(),
            holds: Vec::new(),
            extra_fields: Vec::new(),
            events: Vec::new(),
            by,
            now,
        }
    }

    /// Activate, deactivate: sets the switch. Holds and expiry stay as they are.
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

    /// Sets the expiry date, which takes effect at once. A date in the past is allowed. Holds stay
    /// as they are.
    fn set_expiry(&mut self, at: Option<Time>) -> Result<(), Error> {
        if self.after.expires_at == at {
            return Ok(());
        }
        if let Some(at) = at {
            check_date("expires_at", at)?;
        }
        let now = self.now;
        self.edit_expiry(|account| {
            account.expires_at = at;
            account.expiry_set_at = Some(now);
        });
        self.events.push(Event::ExpiryChanged);
        Ok(())
    }

    /// Exempts the account from automation until an instant in the future, or ends the exemption.
    fn set_exemption(&mut self, until: Option<Time>) -> Result<(), Error> {
        if self.after.exempt_until == until {
            return Ok(());
        }
        if let Some(until) = until {
            check_date("exempt_until", until)?;
            if until <= self.now {
                return Err(Error::invalid("exempt_until", "must be in the future"));
            }
        }
        self.edit_expiry(|account| account.exempt_until = until);
        Ok(())
    }

    /// Edits the expiry date or the exemption. If the effective expiry moved, its announcements are
    /// scheduled anew.
    fn edit_expiry(&mut self, edit: impl FnOnce(&mut Account)) {
        let before = self.after.expires_in_effect_at();
        edit(&mut self.after);
        if self.after.expires_in_effect_at() != before {
            self.after.announce_at = self.after.next_expiry_announcement(before, self.now);
        }
    }

    /// Changes descriptive fields, and the switch and the expiry date if the revision names them.
    fn revise(&mut self, revision: &Revision) -> Result<(), Error> {
        let mut profile = revision.profile.over(&self.after.profile)?;
        profile.keep_unknown(&self.after.profile, self.after.created_at);
        self.after.profile = Arc::new(profile);
        if let Some(status) = revision.status {
            self.set_status(status);
        }
        revision.expires_at.map_or(Ok(()), |at| self.set_expiry(at))
    }

    /// Delete: sets `deleted_at`, and `purge_at` to the end of the restore window. Refused
    /// (conflict) while a retention hold or a suspension by the operator is open.
    fn delete(&mut self, purge_after: std::time::Duration) -> Result<(), Error> {
        let has_open = |kind, authority: Option<Authority>| {
            self.after.holds.iter().any(|hold| {
                hold.kind == kind
                    && authority.is_none_or(|it| it == hold.authority)
                    && !hold.has_lapsed(self.now)
            })
        };
        if has_open(HoldKind::Retention, None) {
            return Err(Error::Conflict(Conflict::RetentionHold));
        }
        if has_open(HoldKind::Suspend, Some(Authority::Operator)) {
            return Err(Error::Conflict(Conflict::SuspendedByOperator));
        }
        self.after.deleted_at = Some(self.now);
        self.after.purge_at = Some(self.now + purge_after);
        self.events.push(Event::Deleted);
        Ok(())
    }

    /// Restore: clears `deleted_at`; the other facts decide the state. On a live account nothing
    /// changes.
    fn restore(&mut self) {
        if self.after.deleted_at.take().is_some() {
            self.after.purge_at = None;
            self.after.announce_at = self.after.next_announcement_after_restore(self.now);
            self.events.push(Event::Restored);
        }
    }

    /// Makes the earliest announcement that is due. A late announcement is still made, and each is
    /// made once. If none is due, nothing changes.
    fn announce(&mut self) {
        match self.after.next_announcement() {
            Some((at, announcement)) if at <= self.now => match announcement {
                Announcement::Hold(id) => self.announce_hold(id),
                Announcement::Expiry => self.announce_expiry(at),
                Announcement::Purge => self.announce_purge(at),
            },
            _ => {}
        }
    }

    fn announce_expiry(&mut self, due: Time) {
        let Some((days, next)) = self.after.expiry_announcement(due) else {
            return;
        };
        self.after.announce_at = next;
        self.extra_fields.push(days_left("days_to_expiry", days));
        self.events.push(if days == 0 {
            Event::Expired
        } else {
            Event::Expiring
        });
        self.announced(due);
    }

    /// A late warning postpones the purge: the account keeps the number of days that the warning
    /// states.
    fn announce_purge(&mut self, due: Time) {
        let Some(at) = self.after.purge_due_at else {
            return;
        };
        let days = notices(at)
            .find(|(notice_at, _)| *notice_at >= due)
            .map_or(0, |(_, days)| days);
        let promised = self.now + TimeDelta::days(days);
        let at = if promised - at > NOTICE_TOLERANCE {
            promised
        } else {
            at
        };
        self.after.purge_due_at = Some(at);
        self.after.warn_at = notices(at)
            .find(|(_, left)| *left < days)
            .map(|(notice_at, _)| notice_at);
        self.extra_fields.push(days_left("days_to_purge", days));
        self.events.push(Event::Purging);
    }

    /// Puts the account into the purge plan, keeps it there, or takes it out, as
    /// [`Account::purge_plan`] decides. An account that enters the plan gets all warnings.
    fn plan_purge(&mut self, policy: &PurgePolicy) {
        let planned = self.after.purge_plan(policy, self.now);
        if planned != self.after.purge_due_at {
            self.after.purge_due_at = planned;
            self.after.warn_at =
                planned.and_then(|at| notices(at).map(|(notice_at, _)| notice_at).next());
        }
    }

    /// Purges the account if its plan is due and nothing stops it. The conditions are checked again
    /// here, because the account may have changed since it was planned.
    fn purge(&mut self, policy: &PurgePolicy) -> Result<(), Error> {
        let is_due = self.after.purge_due_at.is_some_and(|at| at <= self.now);
        if !is_due || self.after.purge_stop(policy, self.now).is_some() {
            return Err(Error::Conflict(Conflict::NotPlanned));
        }
        // The account cannot be looked up any more, so the journal entry itself names it.
        self.extra_fields.push(FieldChange {
            field: "uid".into(),
            before: Fact::from(&self.after.uid),
            after: Fact::Null,
        });
        self.extra_fields.push(FieldChange {
            field: "id".into(),
            before: Fact::Number(i64::from(self.after.id.as_i32())),
            after: Fact::Null,
        });
        self.extra_fields.push(FieldChange {
            field: "purged_at".into(),
            before: Fact::Null,
            after: Fact::Time(self.now),
        });
        self.events.push(Event::Purged);
        Ok(())
    }

    /// Compares the account before with the draft and makes the change.
    ///
    /// A change that affects the purge takes the account out of the purge plan. If the account is
    /// still to be purged, it is planned anew, with all warnings.
    fn finish(self, before: &Account) -> Change {
        let mut after = self.after;
        if affects_purge(before, &after, &self.holds) {
            (after.purge_due_at, after.warn_at) = (None, None);
        }
        let mut fields = differences(before, &after);
        fields.extend(hold_differences(&self.holds));
        fields.extend(self.extra_fields);
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

/// Whether a change affects when the account may be purged: it moves the expiry, the exemption or
/// the deletion, or touches a retention hold or a hold of the operator.
fn affects_purge(before: &Account, after: &Account, holds: &[HoldChange]) -> bool {
    let facts = |it: &Account| (it.expires_at, it.exempt_until, it.deleted_at);
    let can_stop_purge =
        |hold: &Hold| hold.kind == HoldKind::Retention || hold.authority == Authority::Operator;
    facts(before) != facts(after)
        || holds.iter().any(|change| match change {
            HoldChange::Opened(hold)
            | HoldChange::Revised { hold, .. }
            | HoldChange::Closed {
                hold,
                lapsed: false,
                ..
            } => can_stop_purge(hold),
            // Time did this, and the plan knew that it would.
            HoldChange::Begun(_) | HoldChange::Closed { lapsed: true, .. } => false,
        })
}

/// The field of a journal entry that says how many days are left.
fn days_left(field: &'static str, days: i64) -> FieldChange {
    FieldChange {
        field: field.into(),
        before: Fact::Null,
        after: Fact::Number(days),
    }
}

/// Refuses dates outside the supported years, 1970 to 9999.
fn check_date(field: &'static str, at: Time) -> Result<(), Error> {
    use chrono::Datelike as _;
    if (1970..=9999).contains(&at.year()) {
        Ok(())
    } else {
        Err(Error::invalid(field, "must be in the years 1970 to 9999"))
    }
}
