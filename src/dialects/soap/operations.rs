//! The table of operations. The dispatcher, the WSDL and the help page are generated from it.

use super::operation::Operation;
use super::values::{
    ACCOUNT_ID, COLD_STORAGE, COMPANY_NAME, COMPUTERS_LIMIT, EMAIL, EXPIRY_DATE, FREQUENCY,
    INSTANT_STORAGE, IS_ENABLED, Kind, LANGUAGE, NAME, NETWORK_DRIVE, PASSWORD, PAYMENT_URL,
    PLAN_ID, PLAN_NAME, PLAN_TYPE, SEND_EMAIL, SERVERS, STATUS, TOKEN, USERS,
};
use super::{handlers, plans};
use crate::dialects::operation::Access;
use crate::domain::Scope;

const TOKEN_CHILD: (&str, Kind) = (TOKEN, Kind::Text);
const ID_CHILD: (&str, Kind) = (ACCOUNT_ID, Kind::Int);
const EMAIL_CHILD: (&str, Kind) = (EMAIL, Kind::Text);
const EXPIRY_CHILD: (&str, Kind) = (EXPIRY_DATE, Kind::DateTime);
const NAME_CHILD: (&str, Kind) = (NAME, Kind::Text);
const PASSWORD_CHILD: (&str, Kind) = (PASSWORD, Kind::Text);
const PLAN_CHILD: (&str, Kind) = (PLAN_ID, Kind::Int);
const SEND_EMAIL_CHILD: (&str, Kind) = (SEND_EMAIL, Kind::Boolean);
const LANGUAGE_CHILD: (&str, Kind) = (LANGUAGE, Kind::OptionalInt);
const NETWORK_DRIVE_CHILD: (&str, Kind) = (NETWORK_DRIVE, Kind::OptionalBoolean);

const BY_ID: &[(&str, Kind)] = &[TOKEN_CHILD, ID_CHILD];
const BY_EMAIL: &[(&str, Kind)] = &[TOKEN_CHILD, EMAIL_CHILD];
const BY_EMAIL_AND_PASSWORD: &[(&str, Kind)] = &[TOKEN_CHILD, EMAIL_CHILD, PASSWORD_CHILD];

/// Zoolz's message has this comma too.
const EXPIRY_FAILURE: &str = "General Error, failed to change account expiry date";
/// Zoolz's documentation has this wording, although the request names an account ID.
const FOREIGN_ID_OF_EXPIRY: &str = "Invalid Account ID, Email does not belong to you";
const READ: Access = Access::Scope(Scope::AccountRead);
const WRITE: Access = Access::Scope(Scope::AccountWrite);

/// The page of the upgrade by account ID has this wording too.
const FOREIGN_ID_OF_UPGRADE: &str = "Invalid Email, Email does not belong to you";

/// `run!(handler)` makes a function pointer of a handler.
macro_rules! run {
    (plans::$handler:ident) => {
        |api, context, call| Box::pin(plans::$handler(api, context, call))
    };
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
const UPGRADE: [&str; 2] = [
    "The account has been upgraded successfully",
    "General Error. Failed to upgrade account",
];
const RESET_PASSWORD: [&str; 2] = [
    "The password has been reset",
    "General Error. Failed to reset password",
];
const TOGGLE_NETWORK_DRIVE: [&str; 2] = [
    "The network drive has been changed",
    "General Error. Failed to toggle network drive",
];
const PLAN_INFO: [&str; 2] = ["", "General Error. Failed to get plan info"];
const CREATE_PLAN: [&str; 2] = [
    "The Plan has been created successfully",
    "General Error. Failed to create plan",
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
    Operation::new("GetAccountInfoByID", BY_ID, READ, INFO, run!(info)).json(),
    Operation::new("GetAccountInfoByEmail", BY_EMAIL, READ, INFO, run!(info)).json(),
    Operation::new(
        "GetAccountInfoUsingEmailAndPass",
        BY_EMAIL_AND_PASSWORD,
        READ,
        INFO,
        run!(info_by_password),
    ),
    Operation::new(
        "GetAccountInfoByEmailAndPass",
        BY_EMAIL_AND_PASSWORD,
        READ,
        INFO,
        run!(info_by_password),
    )
    .json(),
    Operation::new(
        "ResetPassword",
        BY_EMAIL_AND_PASSWORD,
        WRITE,
        RESET_PASSWORD,
        run!(reset_password),
    )
    .never_writes(),
    Operation::new(
        "ToggleNetworkDrive",
        &[TOKEN_CHILD, ID_CHILD, (IS_ENABLED, Kind::Boolean)],
        WRITE,
        TOGGLE_NETWORK_DRIVE,
        run!(toggle_network_drive),
    )
    .never_writes(),
    Operation::new(
        "CreateAccount",
        &[
            TOKEN_CHILD,
            NAME_CHILD,
            EMAIL_CHILD,
            PASSWORD_CHILD,
            PLAN_CHILD,
            SEND_EMAIL_CHILD,
            // A text: whoever sent one that is no number was not refused before.
            (LANGUAGE, Kind::Text),
            (COMPANY_NAME, Kind::Text),
        ],
        WRITE,
        CREATE,
        run!(create),
    ),
    Operation::new(
        "CreateAccountWithLanguage",
        &[
            TOKEN_CHILD,
            NAME_CHILD,
            EMAIL_CHILD,
            PASSWORD_CHILD,
            PLAN_CHILD,
            SEND_EMAIL_CHILD,
            LANGUAGE_CHILD,
        ],
        WRITE,
        CREATE,
        run!(create),
    ),
    Operation::new(
        "CreateAccountWithNetworkDrive",
        &[
            TOKEN_CHILD,
            NAME_CHILD,
            EMAIL_CHILD,
            PASSWORD_CHILD,
            PLAN_CHILD,
            SEND_EMAIL_CHILD,
            LANGUAGE_CHILD,
            NETWORK_DRIVE_CHILD,
        ],
        WRITE,
        CREATE,
        run!(create),
    ),
    Operation::new(
        "CreateAccountWithComputersLimit",
        &[
            TOKEN_CHILD,
            NAME_CHILD,
            EMAIL_CHILD,
            PASSWORD_CHILD,
            PLAN_CHILD,
            SEND_EMAIL_CHILD,
            LANGUAGE_CHILD,
            NETWORK_DRIVE_CHILD,
            (COMPUTERS_LIMIT, Kind::OptionalInt),
        ],
        WRITE,
        CREATE,
        run!(create),
    ),
    Operation::new(
        "UpgradeAccountUsingAccountID",
        &[TOKEN_CHILD, ID_CHILD, PLAN_CHILD],
        WRITE,
        UPGRADE,
        run!(upgrade),
    )
    .foreign(FOREIGN_ID_OF_UPGRADE),
    Operation::new(
        "UpgradeAccount",
        &[TOKEN_CHILD, EMAIL_CHILD, PLAN_CHILD],
        WRITE,
        UPGRADE,
        run!(upgrade),
    ),
    Operation::new(
        "GetPlanInfo",
        &[TOKEN_CHILD, PLAN_CHILD],
        READ,
        PLAN_INFO,
        run!(plans::info),
    )
    .json(),
    Operation::new(
        "GetPlansInfo",
        &[TOKEN_CHILD],
        READ,
        PLAN_INFO,
        run!(plans::list),
    )
    .json(),
    Operation::new(
        "CreatePlan",
        &[
            TOKEN_CHILD,
            (PLAN_NAME, Kind::Text),
            (INSTANT_STORAGE, Kind::OptionalInt),
            (COLD_STORAGE, Kind::OptionalInt),
            (USERS, Kind::OptionalInt),
            (SERVERS, Kind::OptionalInt),
            (PLAN_TYPE, Kind::OptionalInt),
            (FREQUENCY, Kind::OptionalInt),
        ],
        WRITE,
        CREATE_PLAN,
        run!(plans::create),
    )
    .json(),
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
