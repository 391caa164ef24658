//! Bulk jobs: planned, inspected, applied and reverted.

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::call::Request;
use super::operation_request::OperationRequest;
use super::path_id::JobId;
use super::respond::{Done, Many, Nothing, One, Reply};
use crate::dialects::dates;
use crate::dialects::failure::Failure;
use crate::dialects::filter::FilterMembers;
use crate::dialects::metadata::MetadataMembers;
use crate::domain::{AccountFilter, Error, ResellerId};
use crate::service::{BulkItem, BulkJob, Context, Written};

/// A bulk job to plan.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BulkJobRequest)]
pub(super) struct BulkJobRequest {
    /// The reseller that owns the accounts. Required with an operator's token.
    reseller_id: Option<i64>,
    selector: Selector,
    /// The operation to execute on each account.
    operation: OperationRequest,
}

/// Selects accounts. An account must match all given conditions. A selector without conditions is
/// refused, unless `all` says that every account is meant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Selector {
    /// Only accounts in this state: `active`, `suspended`, or one of the values of `blockedBy`,
    /// which selects the accounts that it blocks.
    #[schema(
        pattern = "^(active|suspended|deleted|suspended:operator|suspended:reseller_account|suspended:reseller|inactive|frozen|expired)$"
    )]
    state: Option<String>,
    /// Only accounts that a hold of this authority blocks, limits or warns: `operator`, `reseller`
    /// or `system`.
    #[schema(pattern = "^(operator|reseller|system)$")]
    held_by: Option<String>,
    /// Only accounts that a hold of this owner blocks, limits or warns, such as `billing`.
    #[schema(pattern = "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
    owner: Option<String>,
    /// Only accounts whose strongest hold in force has this level: `block`, `limit` or `warn`. With
    /// `heldBy` or `owner`, the strongest of their holds.
    #[schema(pattern = "^(block|limit|warn)$")]
    level: Option<String>,
    /// Only accounts that expire before this instant, or before this day.
    #[schema(format = DateTime, min_length = 1)]
    expires_before: Option<String>,
    /// Only accounts that expire at this instant or later; for a date alone, from the begin of that
    /// day on.
    #[schema(format = DateTime, min_length = 1)]
    expires_after: Option<String>,
    /// Only accounts with this text in name, title, e-mail or company, ignoring case.
    q: Option<String>,
    /// Only accounts whose metadata has these members with these values; at most 10 members.
    #[serde(default)]
    #[schema(value_type = Option<std::collections::HashMap<String, String>>)]
    metadata: Option<MetadataMembers>,
    /// Every account. Cannot be combined with a condition.
    #[serde(default)]
    #[schema(required = false)]
    all: bool,
}

impl Selector {
    /// The filter, and its text for people, such as `state=active`.
    fn filter(self, zone: Tz) -> Result<(AccountFilter, String), Error> {
        let metadata = self.metadata.map(MetadataMembers::metadata);
        let metadata = metadata.unwrap_or_default();
        let members = FilterMembers {
            metadata: metadata.clone(),
            state: self.state.as_deref(),
            held_by: self.held_by.as_deref(),
            owner: self.owner.as_deref(),
            level: self.level.as_deref(),
            expires_before: self.expires_before.as_deref(),
            expires_after: self.expires_after.as_deref(),
            text: self.q.as_deref(),
        };
        let (filter, _) = members.filter(&[zone])?;
        let parts = [
            ("state", self.state),
            ("heldBy", self.held_by),
            ("owner", self.owner),
            ("level", self.level),
            ("expiresBefore", self.expires_before),
            ("expiresAfter", self.expires_after),
            ("q", self.q),
        ];
        let conditions: Vec<String> = parts
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", value?)))
            .chain(
                metadata
                    .0
                    .iter()
                    .map(|(key, value)| format!("metadata[{key}]={value}")),
            )
            .collect();
        match (conditions.as_slice(), self.all) {
            ([], true) => Ok((filter, "all".to_owned())),
            ([], false) => Err(Error::invalid(
                "selector",
                "has no condition; give state, heldBy, owner, level, expiresBefore, \
                 expiresAfter, q or metadata, or \"all\": true for every account",
            )),
            (_, true) => Err(Error::invalid(
                "selector",
                format!(
                    "has \"all\": true and {}; give either all or conditions",
                    conditions.join(" ")
                ),
            )),
            (_, false) => Ok((filter, conditions.join(" "))),
        }
    }
}

/// A bulk job and its progress.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BulkJob)]
pub(super) struct BulkJobDocument {
    id: String,
    reseller_id: i64,
    /// `planned`, `applying`, `applied`, `reverting` or `reverted`.
    state: &'static str,
    /// The name of the operation in the journal.
    action: &'static str,
    /// The selector as text, such as `state=active`; `all` without conditions.
    selector: String,
    /// The number of accounts in the job.
    total: i64,
    /// The number of accounts not yet processed.
    pending: i64,
    /// The number of accounts that the job changed.
    changed: i64,
    /// The number of accounts that needed no change.
    unchanged: i64,
    /// The number of accounts that could not be changed.
    failed: i64,
    /// The number of accounts that no longer matched the selector when the job was applied.
    skipped: i64,
    /// The number of accounts whose change was reverted.
    reverted: i64,
    /// The number of accounts that were changed after the job, and therefore not reverted.
    kept: i64,
    /// The expected result. Absent if an earlier version of the service planned the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    preview: Option<PreviewDocument>,
    created_by: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// The result that the job would have had when it was planned.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BulkPreview)]
struct PreviewDocument {
    /// The number of accounts that would change.
    changes: i64,
    /// The number of accounts that need no change.
    unchanged: i64,
    /// The number of accounts for which the operation would be refused.
    refused: i64,
}

fn document(job: &BulkJob) -> BulkJobDocument {
    let count = |state: &str| {
        job.counts
            .iter()
            .filter(|(known, _)| known == state)
            .map(|(_, count)| count)
            .sum()
    };
    BulkJobDocument {
        id: job.id.to_string(),
        reseller_id: job.reseller.0,
        state: job.state.as_str(),
        action: job.command.action(),
        selector: job.selector.clone(),
        total: job.counts.iter().map(|(_, count)| count).sum(),
        pending: count("pending"),
        changed: count("changed"),
        unchanged: count("unchanged"),
        failed: count("failed"),
        skipped: count("skipped"),
        reverted: count("reverted"),
        kept: count("kept"),
        preview: job.preview.map(|preview| PreviewDocument {
            changes: preview.changes,
            unchanged: preview.unchanged,
            refused: preview.refused,
        }),
        created_by: job.created_by.clone(),
        created_at: dates::write(job.created_at),
        updated_at: dates::write(job.updated_at),
    }
}

fn started(job: &Written<BulkJob>) -> Done<BulkJobDocument> {
    Done::new(document(&job.value), job.is_changed)
}

/// One account of a bulk job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BulkItem)]
pub(super) struct BulkItemDocument {
    account_id: i32,
    /// `pending`, `changed`, `unchanged`, `failed`, `skipped`, `reverted` or `kept`.
    state: String,
    /// Why the account failed, was skipped, or was not reverted.
    problem: Option<String>,
}

fn item(item: &BulkItem) -> BulkItemDocument {
    BulkItemDocument {
        account_id: item.account.as_i32(),
        state: item.state.clone(),
        problem: item.problem.clone(),
    }
}

type JobReply = Result<Reply<One<BulkJobDocument>>, Failure>;

pub(super) async fn create(
    api: &Api,
    context: &Context,
    Request { members, call, .. }: Request<(), BulkJobRequest>,
) -> JobReply {
    let reseller = members.reseller_id.map(ResellerId);
    let zone = api.service.zone_of_reseller(context, reseller).await?;
    members
        .operation
        .refuse_account("the selector names the accounts")?;
    let command = members
        .operation
        .command(call.reading(zone), api.service.deletion())?;
    let (filter, selector) = members.selector.filter(zone)?;
    let planned =
        |job: &BulkJob| Done::new(document(job), true).at_path(format!("/v3/bulk-jobs/{}", job.id));
    let idempotency = call.idempotency(planned);
    let completion = api
        .service
        .plan_bulk_job(context, reseller, filter, selector, command, idempotency)
        .await?;
    Ok(Reply::<One<_>>::completed(completion, planned))
}

pub(super) async fn list(
    api: &Api,
    context: &Context,
    Request { call, .. }: Request<()>,
) -> Result<Reply<Many<BulkJobDocument>>, Failure> {
    let query = &call.query;
    let (reseller, before) = (query.reseller()?, query.before()?);
    let jobs = api
        .service
        .bulk_jobs(context, reseller, before, query.limit)
        .await?;
    Ok(Reply::page(
        call.format(),
        query.rows(jobs),
        document,
        |last| query.link("before", &last.id.to_string(), &call.uri),
    ))
}

pub(super) async fn get(
    api: &Api,
    context: &Context,
    Request { id: JobId(id), .. }: Request<JobId>,
) -> JobReply {
    Ok(Reply::one(document(
        &api.service.bulk_job(context, id).await?,
    )))
}

pub(super) async fn items(
    api: &Api,
    context: &Context,
    Request {
        id: JobId(id),
        call,
        ..
    }: Request<JobId>,
) -> Result<Reply<Many<BulkItemDocument>>, Failure> {
    let states = [
        "pending",
        "changed",
        "unchanged",
        "failed",
        "skipped",
        "reverted",
        "kept",
    ];
    let state = call.query.text("state").map(str::to_owned);
    if let Some(word) = state.as_deref().filter(|word| !states.contains(word)) {
        let accepted = format!("one of {}", states.join(", "));
        return Err(Failure::must_be("state", &accepted, word));
    }
    let after = i32::try_from(call.query.after).unwrap_or(i32::MAX);
    let found_items = api
        .service
        .bulk_items(context, id, state, after, call.query.limit)
        .await?;
    Ok(Reply::page(
        call.format(),
        call.query.rows(found_items),
        item,
        |last| call.query.after(last.account.as_i32().into(), &call.uri),
    ))
}

pub(super) async fn apply(
    api: &Api,
    context: &Context,
    Request {
        id: JobId(id),
        call,
        ..
    }: Request<JobId>,
) -> JobReply {
    let idempotency = call.idempotency(started);
    let completion = api.service.apply_bulk_job(context, id, idempotency).await?;
    Ok(Reply::<One<_>>::completed(completion, started))
}

pub(super) async fn revert(
    api: &Api,
    context: &Context,
    Request {
        id: JobId(id),
        call,
        ..
    }: Request<JobId>,
) -> JobReply {
    let idempotency = call.idempotency(started);
    let completion = api
        .service
        .revert_bulk_job(context, id, idempotency)
        .await?;
    Ok(Reply::<One<_>>::completed(completion, started))
}

/// Deletes a planned or finished job. The changes that it made stay.
pub(super) async fn delete(
    api: &Api,
    context: &Context,
    Request {
        id: JobId(id),
        call,
        ..
    }: Request<JobId>,
) -> Result<Reply<Nothing>, Failure> {
    let deleted = |(): &()| Done::new((), true);
    let idempotency = call.idempotency(deleted);
    let completion = api
        .service
        .delete_bulk_job(context, id, idempotency)
        .await?;
    Ok(Reply::<Nothing>::completed(completion, deleted))
}
