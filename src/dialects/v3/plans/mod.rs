//! Plans.

mod document;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Api;
use super::call::Call;
use super::codes::Failure;
use super::page::{Page, Several};
use crate::domain::{Error, Plan, PlanTerms, ResellerId, Resource, Scope};
use crate::service::NewPlan;
use document::Terms;
pub(super) use document::{PlanDocument, TermsSchema};

/// A plan of the list and of its own address: the original's members, then ours.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NumberedPlan)]
pub(super) struct NumberedPlan {
    #[serde(flatten)]
    plan: PlanDocument,
    /// Its number among its reseller's plans: the `admin` dialect's tariff, the `soap` dialect's planID.
    number: i32,
    /// Whose it is.
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

/// What a creation may name besides.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlanPlace {
    /// Of which reseller; with an operator's token only.
    reseller_id: Option<i64>,
    /// Its number among the reseller's plans, from 1 on; the next one if absent.
    #[schema(minimum = 1)]
    number: Option<i32>,
}

/// A plan to be made.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes; is never made")]
#[schema(as = NewPlan)]
pub(super) struct NewPlanSchema {
    #[schema(inline)]
    #[serde(flatten)]
    terms: TermsSchema,
    #[serde(flatten)]
    place: PlanPlace,
}

pub(super) async fn list(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::AccountRead).await?;
        let page = Page::read(&call.uri, &["resellerId"])?;
        let of = page.number("resellerId")?.map(ResellerId);
        let plans = api
            .service
            .plans(&context, of, page.after, page.limit)
            .await?;
        let next = page.next(
            plans.last().map(|plan| plan.number.into()),
            plans.len(),
            &call.uri,
        );
        Ok((
            Several::of(
                plans.iter().map(|plan| NumberedPlan::of(plan)).collect(),
                call.format(),
            ),
            next,
        ))
    };
    call.answer_page(outcome.await)
}

pub(super) async fn get(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::AccountRead).await?;
        Ok(NumberedPlan::of(
            &*api.service.plan(&context, id(&call)?).await?,
        ))
    };
    call.answer(outcome.await)
}

pub(super) async fn create(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::AccountWrite).await?;
        let (place, asked): (PlanPlace, Terms) = (call.members()?, call.members()?);
        let mut terms = PlanTerms::default();
        asked.over(&mut terms, call.reading(&context));
        let new = NewPlan {
            reseller: place.reseller_id.map(ResellerId),
            number: place.number,
            terms,
        };
        let once = call.once_for(&context, StatusCode::CREATED, NumberedPlan::of)?;
        Ok(api.service.create_plan(&context, new, once).await?)
    };
    call.answer_done(outcome.await, StatusCode::CREATED, NumberedPlan::of)
}

pub(super) async fn patch(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::AccountWrite).await?;
        let (asked, read): (Terms, _) = (call.members()?, call.reading(&context));
        let revise = move |terms: &mut PlanTerms| {
            asked.over(terms, read);
            Ok(())
        };
        let once = call.once_for(&context, StatusCode::OK, NumberedPlan::of)?;
        Ok(api
            .service
            .revise_plan(&context, id(&call)?, revise, once)
            .await?)
    };
    call.answer_done(outcome.await, StatusCode::OK, NumberedPlan::of)
}

fn id(call: &Call) -> Result<Uuid, Failure> {
    Ok(Uuid::try_parse(call.id()).map_err(|_| Error::NotFound(Resource::Plan))?)
}
