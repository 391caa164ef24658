//! Resellers. Operators create and change them; a reseller can read itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::call::{Call, Request};
use super::respond::{Done, Many, One, Reply};
use super::whole_list::{Listing, MOST};
use crate::dialects::dates;
use crate::dialects::failure::Failure;
use crate::dialects::patches::plain;
use crate::domain::{Error, ResellerId};
use crate::service::{Context, NewReseller, Reseller, ResellerPatch, Suspension, Written};
use crate::wire::Field;

/// A reseller.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Reseller)]
pub(super) struct ResellerDocument {
    id: i64,
    name: String,
    /// The time zone for dates that name none.
    timezone: String,
    /// How SOAP results write their `Code`: as `word` or `number`.
    soap_codes: &'static str,
    /// The largest number of accounts. Null means no limit.
    account_limit: Option<i32>,
    /// Whether deleted and expired accounts are purged.
    purges: bool,
    /// The number of days after its expiry for which an account is not purged, 1 to 3650.
    purge_grace_days: i32,
    /// The largest number of accounts that one purge run may remove.
    purge_limit: i32,
    /// Since when a purge run is held back, because more accounts than the limit were due. Null if
    /// none is held.
    #[schema(format = DateTime)]
    purge_held_at: Option<String>,
    /// The number of accounts that were due when the run was held.
    purge_held_count: Option<i32>,
    /// Since when the reseller is suspended. Null if it is not.
    #[schema(format = DateTime)]
    suspended_at: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

fn document(reseller: &Reseller) -> ResellerDocument {
    ResellerDocument {
        id: reseller.id.0,
        name: reseller.name.clone(),
        timezone: reseller.timezone.clone(),
        soap_codes: if reseller.soap_numbers {
            "number"
        } else {
            "word"
        },
        account_limit: reseller.account_limit,
        purges: reseller.purge.is_on,
        purge_grace_days: reseller.purge.grace_days,
        purge_limit: reseller.purge.limit,
        purge_held_at: reseller.purge.held.map(|(at, _)| dates::write(at)),
        purge_held_count: reseller.purge.held.map(|(_, count)| count),
        suspended_at: reseller.suspended_at.map(dates::write),
        created_at: dates::write(reseller.created_at),
        updated_at: dates::write(reseller.updated_at),
    }
}

/// A suspension of a reseller, past or present.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Suspension)]
pub(super) struct SuspensionDocument {
    /// The number of the suspension. Later ones have greater numbers.
    id: i64,
    #[schema(format = DateTime)]
    suspended_at: String,
    /// Who suspended the reseller. Null if an earlier version of the service did, which did not
    /// record it.
    suspended_by: Option<String>,
    /// When the suspension was lifted. Null if it stands.
    #[schema(format = DateTime)]
    lifted_at: Option<String>,
    /// Who lifted it. Null if it stands, or if an earlier version of the service lifted it.
    lifted_by: Option<String>,
}

pub(super) fn suspension(suspension: &Suspension) -> SuspensionDocument {
    SuspensionDocument {
        id: suspension.id,
        suspended_at: dates::write(suspension.suspended_at),
        suspended_by: suspension.suspended_by.clone(),
        lifted_at: suspension.lifted_at.map(dates::write),
        lifted_by: suspension.lifted_by.clone(),
    }
}

/// A reseller to create or change. Absent members keep their values.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ResellerRequest)]
pub(super) struct ResellerRequest {
    /// The name: 1 to 255 characters, not only digits, unique ignoring case. Required to create a
    /// reseller.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    name: Field<String>,
    /// The name of an IANA time zone, such as `Europe/Berlin`.
    timezone: Option<String>,
    /// How SOAP results write their `Code`: as `word` or `number`.
    soap_codes: Option<String>,
    /// The largest number of accounts. Null means no limit.
    #[serde(default)]
    #[schema(value_type = Option<i32>, minimum = 0)]
    account_limit: Field<i32>,
    /// Whether deleted and expired accounts are purged.
    purges: Option<bool>,
    /// The number of days after its expiry for which an account is not purged, 1 to 3650.
    #[schema(minimum = 1, maximum = 3650)]
    purge_grace_days: Option<i32>,
    /// The largest number of accounts that one purge run may remove. A larger run waits until an
    /// operator approves it.
    #[schema(minimum = 1)]
    purge_limit: Option<i32>,
}

impl ResellerRequest {
    fn patch(self) -> Result<ResellerPatch, Error> {
        let soap_numbers = match self.soap_codes.as_deref() {
            None => None,
            Some("word") => Some(false),
            Some("number") => Some(true),
            Some(word) => return Err(Error::must_be("soap_codes", "word or number", word)),
        };
        Ok(ResellerPatch {
            name: self.name.value(),
            timezone: self.timezone,
            soap_numbers,
            account_limit: plain(self.account_limit),
            purges: self.purges,
            purge_grace_days: self.purge_grace_days,
            purge_limit: self.purge_limit,
        })
    }
}

fn created(reseller: &Reseller) -> Done<ResellerDocument> {
    Done::new(document(reseller), true).at_path(format!("/v3/resellers/{}", reseller.id))
}

fn written(reseller: &Written<Reseller>) -> Done<ResellerDocument> {
    Done::new(document(&reseller.value), reseller.is_changed)
}

/// How resellers are sorted and searched.
pub(super) const LISTING: Listing<Reseller> = Listing {
    fields: &[
        ("id", |a, b| a.id.0.cmp(&b.id.0)),
        ("name", |a, b| a.name.cmp(&b.name)),
        ("createdAt", |a, b| a.created_at.cmp(&b.created_at)),
        ("updatedAt", |a, b| a.updated_at.cmp(&b.updated_at)),
    ],
    texts: |reseller| vec![Some(&reseller.name)],
};

type ResellerReply = Result<Reply<One<ResellerDocument>>, Failure>;

pub(super) async fn list(
    api: &Api,
    context: &Context,
    Request { call, .. }: Request<()>,
) -> Result<Reply<Many<ResellerDocument>>, Failure> {
    let query = &call.query;
    let limit = if query.is_by_cursor {
        query.limit
    } else {
        MOST + 1
    };
    let resellers = api
        .service
        .resellers(&context.principal, query.after, limit)
        .await?;
    let next = |last: &Reseller| query.after(last.id.0, &call.uri);
    if !query.is_by_cursor {
        return LISTING.reply(&call, resellers, document, next);
    }
    Ok(Reply::page(
        call.format(),
        query.rows(resellers),
        document,
        next,
    ))
}

pub(super) async fn get(
    api: &Api,
    context: &Context,
    Request { id, .. }: Request<ResellerId>,
) -> ResellerReply {
    Ok(Reply::one(document(
        &api.service.reseller(&context.principal, id).await?,
    )))
}

pub(super) async fn suspensions(
    api: &Api,
    context: &Context,
    Request { id, call, .. }: Request<ResellerId>,
) -> Result<Reply<Many<SuspensionDocument>>, Failure> {
    let query = &call.query;
    let suspensions = api
        .service
        .suspensions(&context.principal, id, query.before_number()?, query.limit)
        .await?;
    let next = |last: &Suspension| query.before_entry(last.id, &call.uri);
    Ok(Reply::page(
        call.format(),
        query.rows(suspensions),
        suspension,
        next,
    ))
}

pub(super) async fn create(
    api: &Api,
    context: &Context,
    Request { members, call, .. }: Request<(), ResellerRequest>,
) -> ResellerReply {
    let patch = members.patch()?;
    let name = patch
        .name
        .clone()
        .ok_or_else(|| Error::invalid("name", "is required"))?;
    let (new, idempotency) = (NewReseller { name, patch }, call.idempotency(created));
    let completion = api
        .service
        .create_reseller(&context.principal, new, idempotency)
        .await?;
    Ok(Reply::<One<_>>::completed(completion, created))
}

pub(super) async fn patch(
    api: &Api,
    context: &Context,
    Request { id, members, call }: Request<ResellerId, ResellerRequest>,
) -> ResellerReply {
    let (patch, idempotency) = (members.patch()?, call.idempotency(written));
    let completion = api
        .service
        .revise_reseller(&context.principal, id, patch, idempotency)
        .await?;
    Ok(Reply::<One<_>>::completed(completion, written))
}

pub(super) async fn suspend(
    api: &Api,
    context: &Context,
    Request { id, call, .. }: Request<ResellerId>,
) -> ResellerReply {
    set_suspension(api, context, &call, id, true).await
}

pub(super) async fn unsuspend(
    api: &Api,
    context: &Context,
    Request { id, call, .. }: Request<ResellerId>,
) -> ResellerReply {
    set_suspension(api, context, &call, id, false).await
}

async fn set_suspension(
    api: &Api,
    context: &Context,
    call: &Call,
    id: ResellerId,
    suspend: bool,
) -> ResellerReply {
    let (principal, idempotency) = (&context.principal, call.idempotency(written));
    let completion = api
        .service
        .suspend_reseller(principal, id, suspend, idempotency)
        .await?;
    Ok(Reply::<One<_>>::completed(completion, written))
}
