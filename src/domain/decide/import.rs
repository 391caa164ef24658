//! The rules for imports: an account of another system becomes ours, or is compared with ours.

use super::super::import::{FREEZE_COLUMNS, SUSPEND_COLUMNS, in_column};
use super::super::{
    Account, Actor, Change, Error, Event, Hold, HoldChange, HoldKind, ImportedAccount,
    ImportedHold, NewAccount, Patch, Time,
};
use super::{Draft, check_date, creation};

impl Account {
    /// Decides the creation of an imported account, with its holds. The events are those of a
    /// creation, and those of its holds.
    ///
    /// # Errors
    /// [`Error::InvalidField`] naming the first column that is refused.
    pub fn import(
        new: &NewAccount,
        row: &ImportedAccount,
        by: &Actor,
        now: Time,
    ) -> Result<Change, Error> {
        let created_at = row.created_at.unwrap_or(now);
        check_date("created_at", created_at)?;
        if created_at > now {
            return Err(Error::invalid("created_at", "must not be in the future"));
        }
        let blank = Self {
            created_at,
            ..Self::blank(new, now)
        };
        let mut draft = Draft::new(&blank, by, now);
        draft.revise(&row.revision)?;
        draft.events = vec![Event::Created];
        draft.import_holds(row)?;
        Ok(creation(draft.finish(&blank), now))
    }

    /// Decides what a row of an import changes of this account. Its outcome is unchanged if the
    /// account is already as the row says.
    ///
    /// # Errors
    /// [`Error::AccountDeleted`], [`Error::Conflict`] or [`Error::InvalidField`], which names the
    /// column.
    pub fn reimport(&self, row: &ImportedAccount, by: &Actor, now: Time) -> Result<Change, Error> {
        if self.deleted_at.is_some() {
            return Err(Error::AccountDeleted);
        }
        let mut draft = Draft::new(self, by, now);
        draft.revise(&row.revision)?;
        draft.import_holds(row)?;
        Ok(draft.finish(self))
    }
}

impl Draft<'_> {
    fn import_holds(&mut self, row: &ImportedAccount) -> Result<(), Error> {
        for (kind, hold, columns) in [
            (HoldKind::Freeze, &row.freeze, FREEZE_COLUMNS),
            (HoldKind::Suspend, &row.suspension, SUSPEND_COLUMNS),
        ] {
            if let Some(hold) = hold {
                self.import_hold(kind, hold)
                    .map_err(|error| in_column(error, columns))?;
            }
        }
        Ok(())
    }

    /// Places a hold, or changes the one that the reseller has placed. One that is opened with a
    /// start in the past was opened then, in the other system.
    fn import_hold(&mut self, kind: HoldKind, imported: &ImportedHold) -> Result<(), Error> {
        let mut details = imported.details.clone();
        let mut holds = self.after.holds.iter();
        let owner = self.by.owner(imported.owner.as_ref());
        let is_own = |it: &&Hold| it.kind == kind && it.is_of(self.by.authority, owner);
        if let Some(open) = holds.find(|it| is_own(it) && !it.has_lapsed(self.now)) {
            // A file without a column for a time does not change it. In a call its absence means
            // from now on, and without end.
            let keep = |patch: &mut Patch<Time>, present: Option<Time>| {
                if let (Patch::Keep, Some(at)) = (&patch, present) {
                    *patch = Patch::Set(at);
                }
            };
            keep(&mut details.starts_at, open.details.starts_at);
            keep(&mut details.ends_at, open.details.ends_at);
            // No column has the level.
            details.level = open.details.level;
        }
        self.place(kind, imported.owner.as_ref(), imported.fresh, &details)?;
        let since = imported.details.starts_at.value();
        if let Some(since) = since.filter(|since| **since < self.now) {
            let is_new = |id| id == imported.fresh;
            for change in &mut self.holds {
                if let HoldChange::Opened(hold) = change
                    && is_new(hold.id)
                {
                    hold.opened_at = *since;
                }
            }
            for hold in &mut self.after.holds {
                if is_new(hold.id) {
                    hold.opened_at = *since;
                }
            }
        }
        Ok(())
    }
}
