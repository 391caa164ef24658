//! One change that is asked for, on its way to a lane.

use uuid::Uuid;

use super::Context;
use super::batch::Key;
use super::lane::Once;
use crate::domain::{AccountId, Command, Email, ResellerId, Revision};

/// One change that is asked for.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) context: Context,
    pub(super) reseller: ResellerId,
    pub(super) what: What,
    pub(super) once: Option<Once>,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    Create {
        uid: Uuid,
        revision: Box<Revision>,
    },
    Command {
        account: AccountId,
        command: Command,
        only_at: Option<i64>,
    },
}

impl Request {
    pub(super) fn key(&self) -> Option<Key> {
        match &self.what {
            What::Create { .. } => None,
            What::Command { account, .. } => Some((self.reseller, *account)),
        }
    }

    /// Whether nothing but the account itself is needed to decide it, and one statement, in all likelihood, to write it.
    pub(super) fn is_of_the_lifecycle(&self) -> bool {
        let what = match &self.what {
            What::Create { .. } => false,
            What::Command { command, .. } => {
                matches!(
                    command,
                    Command::Place { .. }
                        | Command::Lift { .. }
                        | Command::SetStatus(_)
                        | Command::Delete { .. }
                )
            }
        };
        what && self.once.is_none()
    }

    /// Whether what its reseller says of the purge is needed to decide it.
    pub(super) fn is_of_the_purge(&self) -> bool {
        matches!(
            self.what,
            What::Command {
                command: Command::PlanPurge(_) | Command::Purge(_),
                ..
            }
        )
    }

    /// What this request says of the descriptive fields, if anything.
    pub(super) fn revision(&self) -> Option<&Revision> {
        match &self.what {
            What::Create { revision, .. }
            | What::Command {
                command: Command::Revise(revision),
                ..
            } => Some(revision),
            What::Command { .. } => None,
        }
    }

    /// The address that this request may give to an account, as far as it can be known beforehand.
    pub(super) fn email(&self) -> Option<&Email> {
        self.revision()?.profile.email.value()
    }
}
