//! The row of the table of operations.

use futures_util::future::BoxFuture;

use super::Api;
use super::call::{Answer, Call};
use super::codes::Wording;
use super::values::Kind;
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
                foreign: if has_account_id(children) {
                    FOREIGN_ID
                } else {
                    FOREIGN_EMAIL
                },
                is_by_id: has_account_id(children),
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

    /// Whether the request names the account by number. The result then has a `Joson` element.
    #[must_use]
    pub const fn is_by_id(&self) -> bool {
        self.wording.is_by_id
    }
}

/// Operations that take an account's number have it as their second child.
const fn has_account_id(children: &[(&'static str, Kind)]) -> bool {
    matches!(children, [_, (_, Kind::Int), ..])
}
