//! Plans: the handlers that list, read, create and change them.

mod document;

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::call::Request;
use super::path_id::PlanId;
use super::respond::{Done, Many, One, Reply};
use super::whole_list::{Listing, MOST};
use crate::dialects::failure::Failure;
use crate::domain::{Plan, PlanTerms, ResellerId};
use crate::service::{self, Context, Written};
pub(super) use document::{NewPlan, PlanDocument, PlanPatch};

/// How plans are sorted and searched.
pub(super) const LISTING: Listing<Arc<Plan>> = Listing {
    fields: &[
        ("number", |a, b| a.number.cmp(&b.number)),
        ("name", |a, b| a.terms.name.cmp(&b.terms.name)),
        ("displayName", |a, b| {
            a.terms.display_name.cmp(&b.terms.display_name)
        }),
        ("version", |a, b| a.terms.version.cmp(&b.terms.version)),
        ("tier", |a, b| a.terms.tier.cmp(&b.terms.tier)),
        ("createdAt", |a, b| a.created_at.cmp(&b.created_at)),
        ("updatedAt", |a, b| a.updated_at.cmp(&b.updated_at)),
    ],
    texts: |plan| vec![Some(&plan.terms.name), plan.terms.display_name.as_deref()],
};

type PlanReply = Result<Reply<One<NumberedPlan>>, Failure>;

/// A plan as the plan operations answer it: Cryptlex's members, then ours.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NumberedPlan)]
pub(super) struct NumberedPlan {
    #[serde(flatten)]
    plan: PlanDocument,
    /// The number among the reseller's plans. It is the tariff in the `admin` dialect, and the
    /// planID in `soap`. 0 for the built-in plan `none`.
    number: i32,
    /// The reseller that owns the plan. 0 for the built-in plan `none`.
    reseller_id: i64,
}

impl NumberedPlan {
    fn of(plan: &Plan) -> Self {
        Self {
            plan: PlanDocument::of(plan),
            number: plan.number,
            reseller_id: plan.reseller_id.0,
        }
    }
}

pub(super) async fn list(
    api: &Api,
    context: &Context,
    Request { call, .. }: Request<()>,
) -> Result<Reply<Many<NumberedPlan>>, Failure> {
    let query = &call.query;
    let limit = if query.is_by_cursor {
        query.limit
    } else {
        MOST + 1
    };
    let plans = api
        .service
        .plans(context, query.reseller()?, query.after, limit)
        .await?;
    if !query.is_by_cursor {
        let next = |last: &Arc<Plan>| query.after(last.number.into(), &call.uri);
        return LISTING.reply(&call, plans, |plan| NumberedPlan::of(plan), next);
    }
    Ok(Reply::page(
        call.format(),
        query.rows(plans),
        |plan| NumberedPlan::of(plan),
        |last| query.after(last.number.into(), &call.uri),
    ))
}

pub(super) async fn get(
    api: &Api,
    context: &Context,
    Request { id: PlanId(id), .. }: Request<PlanId>,
) -> PlanReply {
    if id.is_nil() {
        // The plan of an account without one can be read as its document shows it.
        return Ok(Reply::one(NumberedPlan::of(&document::none())));
    }
    Ok(Reply::one(NumberedPlan::of(
        &*api.service.plan(context, id).await?,
    )))
}

pub(super) async fn create(
    api: &Api,
    context: &Context,
    Request { members, call, .. }: Request<(), NewPlan>,
) -> PlanReply {
    let new = service::NewPlan {
        reseller: members.reseller_id.map(ResellerId),
        number: members.number,
        terms: members.terms(),
    };
    let created = |plan: &Plan| {
        Done::new(NumberedPlan::of(plan), true).at_path(format!("/v3/plans/{}", plan.id))
    };
    let idempotency = call.idempotency(created);
    let completion = api.service.create_plan(context, new, idempotency).await?;
    Ok(Reply::<One<_>>::completed(completion, created))
}

pub(super) async fn patch(
    api: &Api,
    context: &Context,
    Request {
        id: PlanId(id),
        members,
        call,
    }: Request<PlanId, PlanPatch>,
) -> PlanReply {
    let revise = move |terms: &mut PlanTerms| {
        members.apply(terms);
        Ok(())
    };
    let revised = |plan: &Written<Plan>| Done::new(NumberedPlan::of(&plan.value), plan.is_changed);
    let idempotency = call.idempotency(revised);
    let completion = api
        .service
        .revise_plan(context, id, revise, idempotency)
        .await?;
    Ok(Reply::<One<_>>::completed(completion, revised))
}
