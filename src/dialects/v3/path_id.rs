//! The `{id}` in paths. The type that a handler takes decides which kind of resource it names; the
//! row of the table is derived from that type.

use uuid::Uuid;

use super::Api;
use crate::dialects::failure::Failure;
use crate::domain::{AccountId, Error, ResellerId, Resource, TokenId};
use crate::service::{AccountRef, Context};

/// The kind of resource that `{id}` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Id {
    /// The path has no id.
    None,
    /// An account, by number or UUID.
    Account,
    /// A plan, by UUID.
    Plan,
    /// A token, by number.
    Token,
    /// A webhook endpoint, by UUID.
    Webhook,
    /// A delivery attempt, by UUID.
    EventLog,
    /// An entry of the journal, by number.
    Entry,
    /// A bulk job, by UUID.
    BulkJob,
    /// A reseller, by number.
    Reseller,
}

impl Id {
    /// An id as it is written by default, so that all ways to write it are one. `None` if it is
    /// malformed: then nothing has it.
    pub(super) fn canonical(self, text: &str) -> Option<String> {
        let number = || text.parse().ok().map(|number: i64| number.to_string());
        let uuid = || Uuid::try_parse(text).ok().map(|uuid| uuid.to_string());
        match self {
            Self::None => Some(text.to_owned()),
            Self::Account => number().or_else(uuid),
            Self::Token | Self::Reseller | Self::Entry => number(),
            Self::Plan | Self::Webhook | Self::EventLog | Self::BulkJob => uuid(),
        }
    }
}

/// A type that a handler takes as the id of its path.
pub(super) trait PathId: Sized + Send {
    /// The kind of resource.
    const KIND: Id;

    /// Reads the id, and looks up the account if it is named by UUID. A malformed id is answered as
    /// if the resource did not exist.
    fn resolve(
        api: &Api,
        context: &Context,
        text: &str,
    ) -> impl Future<Output = Result<Self, Failure>> + Send;
}

impl PathId for () {
    const KIND: Id = Id::None;

    async fn resolve(_: &Api, _: &Context, _: &str) -> Result<Self, Failure> {
        Ok(())
    }
}

impl PathId for AccountId {
    const KIND: Id = Id::Account;

    async fn resolve(api: &Api, context: &Context, text: &str) -> Result<Self, Failure> {
        match account_ref(text)? {
            AccountRef::Id(number) => Ok(number),
            AccountRef::Uid(uid) => Ok(api.service.resolve(context, uid).await?),
            AccountRef::Email(_) => Err(Error::AccountNotFound.into()),
        }
    }
}

/// Reads an account's number or UUID.
///
/// # Errors
/// [`Error::AccountNotFound`] if the text is neither.
pub(super) fn account_ref(text: &str) -> Result<AccountRef, Error> {
    let unknown = Error::AccountNotFound;
    match text.parse() {
        Ok(number) => AccountId::new(number)
            .map(AccountRef::Id)
            .map_err(|_| unknown),
        Err(_) => Uuid::try_parse(text)
            .map(AccountRef::Uid)
            .map_err(|_| unknown),
    }
}

/// Reads a number, from 1 on.
fn number(text: &str, resource: Resource) -> Result<i64, Failure> {
    let number = text.parse().ok().filter(|number| *number > 0);
    Ok(number.ok_or(Error::NotFound(resource))?)
}

fn uuid(text: &str, resource: Resource) -> Result<Uuid, Failure> {
    Ok(Uuid::try_parse(text).map_err(|_| Error::NotFound(resource))?)
}

/// The id of a plan.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlanId(pub(super) Uuid);
/// The id of a webhook endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct WebhookId(pub(super) Uuid);
/// The id of a delivery attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventLogId(pub(super) Uuid);
/// The number of an entry of the journal.
#[derive(Debug, Clone, Copy)]
pub(super) struct EntryId(pub(super) i64);
/// The id of a bulk job.
#[derive(Debug, Clone, Copy)]
pub(super) struct JobId(pub(super) Uuid);

/// Ids that need no look-up. Each line has the type, its kind, the function that reads it, and the
/// resource that is reported as not found if it is malformed.
macro_rules! path_ids {
    ($($name:ident $kind:ident $read:ident $resource:ident;)*) => {$(
        impl PathId for $name {
            const KIND: Id = Id::$kind;

            async fn resolve(_: &Api, _: &Context, text: &str) -> Result<Self, Failure> {
                Ok(Self($read(text, Resource::$resource)?))
            }
        }
    )*};
}

path_ids! {
    PlanId Plan uuid Plan;
    WebhookId Webhook uuid Webhook;
    EventLogId EventLog uuid EventLog;
    EntryId Entry number EventLog;
    JobId BulkJob uuid BulkJob;
    TokenId Token number Token;
    ResellerId Reseller number Reseller;
}
