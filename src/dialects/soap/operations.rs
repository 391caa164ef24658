//! The operations, described once: the dispatcher, the WSDL and the help page are all read off this table.

/// The namespace of every operation: this bare string.
pub(super) const NAMESPACE: &str = "Zoolz";

/// One operation.
#[derive(Debug)]
pub struct Operation {
    /// The name of the request's element, and of the SOAP action behind `Zoolz/`.
    pub name: &'static str,
    /// The children of the request's element, in wire order.
    pub(super) children: &'static [(&'static str, Kind)],
    /// The message of a success.
    pub(super) success: &'static str,
    pub(super) verb: Verb,
}

/// The type of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int,
    Boolean,
    DateTime,
}

impl Kind {
    /// The name in XML Schema, and how often the element occurs at least.
    pub(super) fn schema(self) -> (&'static str, u8) {
        match self {
            Self::Text => ("string", 0),
            Self::Int => ("int", 1),
            Self::Boolean => ("boolean", 1),
            Self::DateTime => ("dateTime", 1),
        }
    }
}

/// What an operation asks of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Suspend,
    Activate,
    ChangeExpiry,
    Delete,
    Info,
    Create,
    Freeze,
    Unfreeze,
    UpdateStatus,
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

const fn operation(
    name: &'static str,
    verb: Verb,
    children: &'static [(&'static str, Kind)],
    success: &'static str,
) -> Operation {
    Operation {
        name,
        children,
        success,
        verb,
    }
}

const SUSPENDED: &str = "The account has been suspended";
const ACTIVATED: &str = "The account has been activated";
const EXPIRY_UPDATED: &str = "The Account Expiry Date has been updated";
const DELETED: &str = "The account has been Deleted";

/// Every operation: the original's, then ours in the same style.
pub const OPERATIONS: &[Operation] = &[
    operation(
        "SuspendAccountUsingAccountID",
        Verb::Suspend,
        BY_ID,
        SUSPENDED,
    ),
    operation("SuspendAccount", Verb::Suspend, BY_EMAIL, SUSPENDED),
    operation(
        "ActivateAccountUsingAccountID",
        Verb::Activate,
        BY_ID,
        ACTIVATED,
    ),
    operation("ActivateAccount", Verb::Activate, BY_EMAIL, ACTIVATED),
    operation(
        "ChangeAccountExpiryDateUsingAccountID",
        Verb::ChangeExpiry,
        &[TOKEN_CHILD, ID_CHILD, EXPIRY_CHILD],
        EXPIRY_UPDATED,
    ),
    operation(
        "ChangeAccountExpiryDate",
        Verb::ChangeExpiry,
        &[TOKEN_CHILD, EMAIL_CHILD, EXPIRY_CHILD],
        EXPIRY_UPDATED,
    ),
    operation("DeleteAccountUsingAccountID", Verb::Delete, BY_ID, DELETED),
    operation("DeleteAccount", Verb::Delete, BY_EMAIL, DELETED),
    operation("GetAccountInfoUsingAccountID", Verb::Info, BY_ID, ""),
    operation("GetAccountInfo", Verb::Info, BY_EMAIL, ""),
    operation(
        "CreateAccount",
        Verb::Create,
        &[
            TOKEN_CHILD,
            (NAME, Kind::Text),
            EMAIL_CHILD,
            (PASSWORD, Kind::Text),
            (PLAN_ID, Kind::Int),
            (SEND_EMAIL, Kind::Boolean),
        ],
        "The Account has been created successfully",
    ),
    operation(
        "FreezeAccountUsingAccountID",
        Verb::Freeze,
        &[TOKEN_CHILD, ID_CHILD, (PAYMENT_URL, Kind::Text)],
        "The account has been frozen",
    ),
    operation(
        "UnfreezeAccountUsingAccountID",
        Verb::Unfreeze,
        BY_ID,
        "The account has been unfrozen",
    ),
    operation(
        "UpdateAccountStatusUsingAccountID",
        Verb::UpdateStatus,
        &[TOKEN_CHILD, ID_CHILD, (STATUS, Kind::Text)],
        "The account status has been updated",
    ),
];

impl Operation {
    /// The operation of a name; case matters.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        OPERATIONS.iter().find(|operation| operation.name == name)
    }

    /// Whether it names the account by number; the result then has a `Joson` member.
    pub(super) fn is_by_id(&self) -> bool {
        self.children.iter().any(|(name, _)| *name == ACCOUNT_ID)
    }
}
