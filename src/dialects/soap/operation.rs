//! The row of the table of operations.

use futures_util::future::BoxFuture;

use super::Api;
use super::call::{Answer, Call};
use super::codes::{Detail, Subject, Wording};
use super::values::{ACCOUNT_ID, EMAIL, Kind};
use crate::dialects::failure::Failure;
use crate::dialects::operation::{Access, BodyLimit, Cost, WhileSuspended};
use crate::domain::Scope;
use crate::service::Context;

const FOREIGN_ID: &str = "Invalid Account ID, Account ID does not belong to you";
const FOREIGN_EMAIL: &str = "Invalid Email, Email does not belong to you";

/// A row of the table: everything that defines one operation.
#[derive(Clone, Copy)]
pub struct Operation {
    /// The name of the request's element, and of the SOAP action after `Zoolz/`. Also the name in
    /// metrics and logs.
    pub name: &'static str,
    /// The children of the request's element, in the order of the WSDL.
    pub(super) children: &'static [(&'static str, Kind)],
    /// Who may call it.
    pub access: Access,
    /// Whether the credentials of a suspended reseller may call it.
    pub while_suspended: WhileSuspended,
    /// Whether a repeat with the same `Idempotency-Key` gets the stored answer.
    pub idempotent: bool,
    /// The largest body that the operation accepts.
    pub body_limit: BodyLimit,
    /// How much work the operation is. The dispatcher limits how many heavy operations run at once.
    pub cost: Cost,
    /// The texts of its results.
    pub(super) wording: Wording,
    pub(super) handler: Handler,
}

/// The function that executes an operation.
pub(super) type Handler =
    for<'a> fn(&'a Api, &'a Context, &'a Call) -> BoxFuture<'a, Result<Answer, Failure>>;

impl Operation {
    pub(super) const fn new(
        name: &'static str,
        children: &'static [(&'static str, Kind)],
        access: Access,
        [success, failure]: [&'static str; 2],
        handler: Handler,
    ) -> Self {
        let subject = subject(children);
        Self {
            name,
            children,
            access,
            while_suspended: if matches!(access, Access::Scope(Scope::AccountWrite)) {
                WhileSuspended::Refused
            } else {
                WhileSuspended::Admitted
            },
            idempotent: matches!(access, Access::Scope(Scope::AccountWrite)),
            body_limit: BodyLimit::Configured,
            cost: Cost::Light,
            wording: Wording {
                operation: name,
                success,
                failure,
                foreign: match subject {
                    Subject::AccountId => FOREIGN_ID,
                    Subject::Email | Subject::None => FOREIGN_EMAIL,
                },
                subject,
                detail: match subject {
                    Subject::AccountId => Detail::Joson,
                    Subject::Email | Subject::None => Detail::None,
                },
            },
            handler,
        }
    }

    /// With another message for another reseller's account.
    pub(super) const fn foreign(self, foreign: &'static str) -> Self {
        let wording = Wording {
            foreign,
            ..self.wording
        };
        Self { wording, ..self }
    }

    /// With a `JSON` element in its results.
    pub(super) const fn json(self) -> Self {
        let wording = Wording {
            detail: Detail::Json,
            ..self.wording
        };
        Self { wording, ..self }
    }

    /// For an operation that is always refused. So it needs no idempotency key, and the credentials
    /// of a suspended reseller may call it.
    pub(super) const fn never_writes(self) -> Self {
        Self {
            while_suspended: WhileSuspended::Admitted,
            idempotent: false,
            ..self
        }
    }

    /// The child by which the request names its account: `accountID` or `email`. `None` if it names
    /// no account that exists already.
    #[must_use]
    pub const fn account_child(&self) -> Option<&'static str> {
        match self.wording.subject {
            Subject::AccountId => Some(ACCOUNT_ID),
            Subject::Email => Some(EMAIL),
            Subject::None => None,
        }
    }
}

/// Operations on an account have its number or its address as their second child.
const fn subject(children: &[(&'static str, Kind)]) -> Subject {
    match children {
        [_, (name, _), ..] => match name.as_bytes() {
            b"accountID" => Subject::AccountId,
            b"email" => Subject::Email,
            _ => Subject::None,
        },
        _ => Subject::None,
    }
}
