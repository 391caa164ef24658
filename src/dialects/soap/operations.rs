//! The table of operations. The dispatcher, the WSDL and the help page are generated from it.

use futures_util::future::BoxFuture;

use super::Api;
use super::call::Call;
use super::handlers::{self, Answer};
use crate::dialects::failure::Failure;
use crate::dialects::operation::{Access, BodyLimit, Cost};
use crate::domain::Scope;
use crate::service::Context;

/// The XML namespace of every operation. Zoolz uses this bare word.
pub(super) const NAMESPACE: &str = "Zoolz";

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
    /// Whether a repeat with the same `Idempotency-Key` gets the stored answer.
    pub idempotent: bool,
    /// The largest body that the operation accepts.
    pub body_limit: BodyLimit,
    /// How much work the operation is. The dispatcher limits how many heavy operations run at once.
    pub cost: Cost,
    /// The message of a success.
    pub(super) success: &'static str,
    /// The message of a failed change.
    pub(super) failure: &'static str,
    /// The message for another reseller's account, unless such accounts are hidden.
    pub(super) foreign: &'static str,
    pub(super) handler: Handler,
}

/// The function that executes an operation.
pub(super) type Handler =
    for<'a> fn(&'a Api, &'a Context, &'a Call) -> BoxFuture<'a, Result<Answer, Failure>>;

/// The type of a child element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int,
    Boolean,
    DateTime,
}

impl Kind {
    /// The type's name in XML Schema, and the element's `minOccurs`.
    pub(super) fn schema(self) -> (&'static str, u8) {
        match self {
            Self::Text => ("string", 0),
            Self::Int => ("int", 1),
            Self::Boolean => ("boolean", 1),
            Self::DateTime => ("dateTime", 1),
        }
    }
}

pub(super) const TOKEN: &str = "authToken";
pub(super) const ACCOUNT_ID: &str = "accountID";
pub(super) const EMAIL: &str = "email";
pub(super) const EXPIRY_DATE: &str = "expiryDate";
pub(super) const NAME: &str = "name";
pub(super) const PASSWORD: &str = "password";
pub(super) const PLAN_ID: &str = "planID";
pub(super) const SEND_EMAIL: &str = "sendEmail";
pub(super) const PAYMENT_URL: &str = "paymentUrl";
pub(super) const STATUS: &str = "status";

const TOKEN_CHILD: (&str, Kind) = (TOKEN, Kind::Text);
const ID_CHILD: (&str, Kind) = (ACCOUNT_ID, Kind::Int);
const EMAIL_CHILD: (&str, Kind) = (EMAIL, Kind::Text);
const EXPIRY_CHILD: (&str, Kind) = (EXPIRY_DATE, Kind::DateTime);

const BY_ID: &[(&str, Kind)] = &[TOKEN_CHILD, ID_CHILD];
const BY_EMAIL: &[(&str, Kind)] = &[TOKEN_CHILD, EMAIL_CHILD];

/// The comma stands in Zoolz's message too.
const EXPIRY_FAILURE: &str = "General Error, failed to change account expiry date";
const FOREIGN_ID: &str = "Invalid Account ID, Account ID does not belong to you";
/// Zoolz's documentation has this wording, although the request names an account ID.
const FOREIGN_ID_OF_EXPIRY: &str = "Invalid Account ID, Email does not belong to you";
const FOREIGN_EMAIL: &str = "Invalid Email, Email does not belong to you";

const READ: Access = Access::Scope(Scope::AccountRead);
const WRITE: Access = Access::Scope(Scope::AccountWrite);

/// `run!(handler)` makes a function pointer of a handler.
macro_rules! run {
    ($handler:ident) => {
        |api, context, call| Box::pin(handlers::$handler(api, context, call))
    };
}

impl Operation {
    const fn new(
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
            idempotent: matches!(access, Access::Scope(Scope::AccountWrite)),
            body_limit: BodyLimit::Configured,
            cost: Cost::Light,
            success,
            failure,
            foreign: if has_account_id(children) {
                FOREIGN_ID
            } else {
                FOREIGN_EMAIL
            },
            handler,
        }
    }

    const fn foreign(self, foreign: &'static str) -> Self {
        Self { foreign, ..self }
    }

    /// Finds an operation by its name; case matters.
    pub(super) fn by_name(name: &str) -> Option<&'static Self> {
        OPERATIONS.iter().find(|operation| operation.name == name)
    }

    /// Whether the request names the account by number. The result then has a `Joson` element.
    #[must_use]
    pub const fn is_by_id(&self) -> bool {
        has_account_id(self.children)
    }
}

/// Operations that take an account's number have it as their second child.
const fn has_account_id(children: &[(&'static str, Kind)]) -> bool {
    matches!(children, [_, (_, Kind::Int), ..])
}

const SUSPEND: [&str; 2] = [
    "The account has been suspended",
    "General Error. Failed to suspend account",
];
const ACTIVATE: [&str; 2] = [
    "The account has been activated",
    "General Error. Failed to activate account",
];
const CHANGE_EXPIRY: [&str; 2] = ["The Account Expiry Date has been updated", EXPIRY_FAILURE];
const DELETE: [&str; 2] = [
    "The account has been Deleted",
    "General Error. Failed to delete account",
];
const INFO: [&str; 2] = ["", "General Error. Failed to get account info"];
const CREATE: [&str; 2] = [
    "The Account has been created successfully",
    "General Error. Failed to create account",
];
const FREEZE: [&str; 2] = [
    "The account has been frozen",
    "General Error. Failed to freeze account",
];
const UNFREEZE: [&str; 2] = [
    "The account has been unfrozen",
    "General Error. Failed to unfreeze account",
];
const UPDATE_STATUS: [&str; 2] = [
    "The account status has been updated",
    "General Error. Failed to update account status",
];

/// All operations: Zoolz's, then ours in the same style.
pub const OPERATIONS: &[Operation] = &[
    Operation::new(
        "SuspendAccountUsingAccountID",
        BY_ID,
        WRITE,
        SUSPEND,
        run!(suspend),
    ),
    Operation::new("SuspendAccount", BY_EMAIL, WRITE, SUSPEND, run!(suspend)),
    Operation::new(
        "ActivateAccountUsingAccountID",
        BY_ID,
        WRITE,
        ACTIVATE,
        run!(activate),
    ),
    Operation::new("ActivateAccount", BY_EMAIL, WRITE, ACTIVATE, run!(activate)),
    Operation::new(
        "ChangeAccountExpiryDateUsingAccountID",
        &[TOKEN_CHILD, ID_CHILD, EXPIRY_CHILD],
        WRITE,
        CHANGE_EXPIRY,
        run!(change_expiry),
    )
    .foreign(FOREIGN_ID_OF_EXPIRY),
    Operation::new(
        "ChangeAccountExpiryDate",
        &[TOKEN_CHILD, EMAIL_CHILD, EXPIRY_CHILD],
        WRITE,
        CHANGE_EXPIRY,
        run!(change_expiry),
    ),
    Operation::new(
        "DeleteAccountUsingAccountID",
        BY_ID,
        WRITE,
        DELETE,
        run!(delete),
    ),
    Operation::new("DeleteAccount", BY_EMAIL, WRITE, DELETE, run!(delete)),
    Operation::new(
        "GetAccountInfoUsingAccountID",
        BY_ID,
        READ,
        INFO,
        run!(info),
    ),
    Operation::new("GetAccountInfo", BY_EMAIL, READ, INFO, run!(info)),
    Operation::new(
        "CreateAccount",
        &[
            TOKEN_CHILD,
            (NAME, Kind::Text),
            EMAIL_CHILD,
            (PASSWORD, Kind::Text),
            (PLAN_ID, Kind::Int),
            (SEND_EMAIL, Kind::Boolean),
        ],
        WRITE,
        CREATE,
        run!(create),
    ),
    Operation::new(
        "FreezeAccountUsingAccountID",
        &[TOKEN_CHILD, ID_CHILD, (PAYMENT_URL, Kind::Text)],
        WRITE,
        FREEZE,
        run!(freeze),
    ),
    Operation::new(
        "UnfreezeAccountUsingAccountID",
        BY_ID,
        WRITE,
        UNFREEZE,
        run!(unfreeze),
    ),
    Operation::new(
        "UpdateAccountStatusUsingAccountID",
        &[TOKEN_CHILD, ID_CHILD, (STATUS, Kind::Text)],
        WRITE,
        UPDATE_STATUS,
        run!(update_status),
    ),
];
