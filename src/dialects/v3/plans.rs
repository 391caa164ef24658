//! Plans.

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
use crate::dialects::dates;
use crate::dialects::fields::{Reading, plain, text};
use crate::domain::{Error, Patch, Plan, PlanTerms, ResellerId, Resource, Scope, plan_members};
use crate::service::NewPlan;
use crate::wire::Field;

/// The type of a member in a request, where every one may be left out.
macro_rules! asked_type {
    (required) => { Option<String> };
    (text) => { Field<String> };
    (number) => { Option<i32> };
    (limit) => { Field<i32> };
    (flag) => { Option<bool> };
}

/// How a member's kind is shown in the description.
macro_rules! members {
    ($($kind:ident $field:ident: $type:ty,)*) => {
        /// A plan: the 40 members of the original, in its order, then ours.
        #[derive(Debug, Clone, Serialize, ToSchema)]
        #[serde(rename_all = "camelCase")]
        #[schema(as = Plan)]
        pub(super) struct PlanDocument {
            #[schema(format = Uuid)]
            id: String,
            $($field: $type,)*
            #[schema(format = DateTime)]
            created_at: String,
            #[schema(format = DateTime)]
            updated_at: String,
        }

        impl PlanDocument {
            pub(super) fn of(plan: &Plan) -> Self {
                Self {
                    id: plan.id.to_string(),
                    $($field: plan.terms.$field.clone(),)*
                    created_at: dates::write(plan.created_at),
                    updated_at: dates::write(plan.updated_at),
                }
            }
        }

        /// What a plan grants and limits; a member that is left out stays as it is, a limit that is null is no limit.
        #[derive(Debug, Default, Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Terms {
            $(#[serde(default)] $field: asked_type!($kind),)*
        }

        impl Terms {
            fn over(self, terms: &mut PlanTerms, read: Reading) {
                $(take::$kind(self.$field, &mut terms.$field, read);)*
            }
        }

        /// What a plan grants and limits, as a description: the types above tell absent from null, which a schema cannot.
        #[derive(ToSchema)]
        #[expect(dead_code, reason = "describes; is never made")]
        #[schema(as = PlanTerms, rename_all = "camelCase")]
        pub(super) struct TermsSchema {
            $(#[schema(required = false)] $field: $type,)*
        }
    };
}

plan_members!(members);

/// How a member of each kind takes over what a request says.
mod take {
    use super::{Field, Patch, Reading, plain, text as text_of};

    pub(super) fn required(asked: Option<String>, member: &mut String, _: Reading) {
        if let Some(asked) = asked {
            *member = asked;
        }
    }

    pub(super) fn text(asked: Field<String>, member: &mut Option<String>, read: Reading) {
        *member = text_of(asked, read).over(member.as_ref());
    }

    pub(super) fn number(asked: Option<i32>, member: &mut i32, _: Reading) {
        *member = asked.unwrap_or(*member);
    }

    pub(super) fn limit(asked: Field<i32>, member: &mut Option<i32>, _: Reading) {
        let asked: Patch<i32> = plain(asked);
        *member = asked.over(member.as_ref());
    }

    pub(super) fn flag(asked: Option<bool>, member: &mut bool, _: Reading) {
        *member = asked.unwrap_or(*member);
    }
}

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
