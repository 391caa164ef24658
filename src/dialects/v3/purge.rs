//! The purge: its plan, and the approval of runs above the limit.

use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::call::Request;
use super::respond::{Done, Many, One, Reply};
use crate::dialects::dates;
use crate::dialects::failure::Failure;
use crate::domain::{PurgeRule, PurgeStop, ResellerId, Time};
use crate::service::{Context, PlannedPurge};

/// An account that is due to be purged.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PlannedPurge)]
pub(super) struct PlannedDocument {
    /// The account's UUID.
    account: String,
    /// The account's number.
    account_id: i32,
    reseller_id: i64,
    /// When the account is purged, unless something stops it.
    #[schema(format = DateTime)]
    due_at: String,
    /// The rule by which it is purged: `deleted` or `expired`.
    rule: Option<&'static str>,
    #[schema(format = DateTime)]
    deleted_at: Option<String>,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// What stops the purge: `off`, `in_use`, `retention`, `exempt`, `operator` or `too_early`.
    /// Null if nothing does.
    stopped_by: Option<&'static str>,
}

fn document(planned: &PlannedPurge, now: Time) -> PlannedDocument {
    let account = &planned.account;
    let due_at = account.purge_due_at.unwrap_or(now);
    let stop = planned.stop.map(|stop| match stop {
        PurgeStop::Off => "off",
        PurgeStop::InUse => "in_use",
        PurgeStop::Retention => "retention",
        PurgeStop::Exempt => "exempt",
        PurgeStop::Operator => "operator",
        PurgeStop::TooEarly { .. } => "too_early",
    });
    PlannedDocument {
        account: account.uid.to_string(),
        account_id: account.id.as_i32(),
        reseller_id: account.reseller_id.0,
        due_at: dates::write(due_at),
        rule: account.purge_rule(due_at.max(now)).map(PurgeRule::as_str),
        deleted_at: account.deleted_at.map(dates::write),
        expires_at: account.expires_at.map(dates::write),
        stopped_by: stop,
    }
}

/// The result of an approval.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PurgeApproval)]
pub(super) struct ApprovalDocument {
    /// Whether there was a held run to approve.
    approved: bool,
}

pub(super) async fn plan(
    api: &Api,
    context: &Context,
    Request { call, .. }: Request<()>,
) -> Result<Reply<Many<PlannedDocument>>, Failure> {
    let query = &call.query;
    let after = i32::try_from(query.after).unwrap_or(i32::MAX);
    let reseller = query.reseller()?;
    let planned = api
        .service
        .purge_plan(context, reseller, after, query.limit)
        .await?;
    let (planned, now) = planned;
    Ok(Reply::page(
        call.format(),
        planned,
        |planned| document(planned, now),
        |last| query.after(last.account.id.as_i32().into(), &call.uri),
    ))
}

pub(super) async fn approve(
    api: &Api,
    context: &Context,
    Request { id, call, .. }: Request<ResellerId>,
) -> Result<Reply<One<ApprovalDocument>>, Failure> {
    let approval = |approved: &bool| {
        let approved = *approved;
        Done::new(ApprovalDocument { approved }, approved)
    };
    let idempotency = call.idempotency(approval);
    let completion = api
        .service
        .approve_purge(&context.principal, id, idempotency)
        .await?;
    Ok(Reply::<One<_>>::completed(completion, approval))
}
