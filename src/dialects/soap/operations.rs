//! The table of operations. The dispatcher, the WSDL and the help page are generated from it.

use super::handlers;
use super::operation::Operation;
use super::values::{
    ACCOUNT_ID, EMAIL, EXPIRY_DATE, Kind, NAME, PASSWORD, PAYMENT_URL, PLAN_ID, SEND_EMAIL, STATUS,
    TOKEN,
};
use crate::dialects::operation::Access;
use crate::domain::Scope;

const TOKEN_CHILD: (&str, Kind) = (TOKEN, Kind::Text);
const ID_CHILD: (&str, Kind) = (ACCOUNT_ID, Kind::Int);
const EMAIL_CHILD: (&str, Kind) = (EMAIL, Kind::Text);
const EXPIRY_CHILD: (&str, Kind) = (EXPIRY_DATE, Kind::DateTime);

const BY_ID: &[(&str, Kind)] = &[TOKEN_CHILD, ID_CHILD];
const BY_EMAIL: &[(&str, Kind)] = &[TOKEN_CHILD, EMAIL_CHILD];

/// Zoolz's message has this comma too.
const EXPIRY_FAILURE: &str = "General Error, failed to change account expiry date";
/// Zoolz's documentation has this wording, although the request names an account ID.
const FOREIGN_ID_OF_EXPIRY: &str = "Invalid Account ID, Email does not belong to you";
const READ: Access = Access::Scope(Scope::AccountRead);
const WRITE: Access = Access::Scope(Scope::AccountWrite);

/// `run!(handler)` makes a function pointer of a handler.
macro_rules! run {
    ($handler:ident) => {
        |api, context, call| Box::pin(handlers::$handler(api, context, call))
    };
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

/// Finds an operation by its name; case matters.
pub(super) fn by_name(name: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.name == name)
}
