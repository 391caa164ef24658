//! The operations on plans. Zoolz's plans name storage, users and a billing period; ours have a
//! member for most of these.

use serde_json::{Value, json};
use uuid::Uuid;

use super::Api;
use super::call::{Answer, Call, HandlerResult};
use super::values::{
    COLD_STORAGE, FREQUENCY, INSTANT_STORAGE, PLAN_ID, PLAN_NAME, PLAN_TYPE, SERVERS, USERS,
};
use crate::dialects::dates;
use crate::dialects::failure::Failure;
use crate::domain::{AccountId, Error, Plan, PlanTerms, Resource};
use crate::service::{Completion, Context, NewPlan};

/// The most plans that `GetPlansInfo` answers.
const MAX_PLANS: i64 = 1_000;

/// The billing periods by Zoolz's number: our word, and Zoolz's.
const FREQUENCIES: [(&str, &str); 4] = [
    ("trial", "Trial"),
    ("free", "Free"),
    ("month", "Monthly"),
    ("year", "Yearly"),
];

/// The types of plans by Zoolz's number, which is our tier.
const TYPES: [&str; 2] = ["Home", "Business"];

/// The plan with this number, for an account or for a new one of the caller.
///
/// # Errors
/// [`Error::InvalidField`] with Zoolz's message if no plan has it.
pub(super) async fn numbered(
    api: &Api,
    context: &Context,
    account: Option<AccountId>,
    number: i32,
) -> Result<Uuid, Error> {
    let found = api.service.numbered_plan(context, account, number).await?;
    found
        .map(|plan| plan.id)
        .ok_or_else(|| Error::invalid("plan_id", "The specified plan id does not exist"))
}

pub(super) async fn info(api: &Api, context: &Context, call: &Call) -> HandlerResult {
    let number = call.values.number(PLAN_ID);
    let found = api.service.numbered_plan(context, None, number).await?;
    let plan = found.ok_or(Error::NotFound(Resource::Plan))?;
    Ok(Answer::Info(document(&plan).to_string()))
}

pub(super) async fn list(api: &Api, context: &Context, _: &Call) -> HandlerResult {
    let plans = api.service.plans(context, None, 0, MAX_PLANS + 1).await?;
    let documents: Vec<_> = plans.iter().map(|plan| document(plan)).collect();
    if i64::try_from(documents.len()).is_ok_and(|count| count > MAX_PLANS) {
        let problem = format!("are more than {MAX_PLANS}; GET /v3/plans has pages");
        return Err(Error::invalid("the plans", problem).into());
    }
    Ok(Answer::Info(Value::from(documents).to_string()))
}

pub(super) async fn create(api: &Api, context: &Context, call: &Call) -> HandlerResult {
    let new = NewPlan {
        reseller: None,
        number: None,
        terms: terms(call)?,
    };
    let written = |plan: &Plan| document(plan).to_string();
    let idempotency = call.idempotency_of(written);
    let completion = api.service.create_plan(context, new, idempotency).await?;
    Ok(match completion {
        Completion::Fresh(plan) => Answer::Info(written(&plan)),
        Completion::Replayed(stored) => Answer::Stored(stored),
    })
}

/// The terms that the request names. Cold storage and servers have no member here.
fn terms(call: &Call) -> Result<PlanTerms, Failure> {
    let name = match call.values.text(PLAN_NAME).trim() {
        "" => return Err(Failure::Missing(PLAN_NAME)),
        name => name.to_owned(),
    };
    let number = |child| match call.values.number(child) {
        number @ 0.. => Ok(number),
        number => Err(refused(child, "0 or more", number)),
    };
    number(COLD_STORAGE)?;
    number(SERVERS)?;
    let limit = |child| number(child).map(|limit| Some(limit).filter(|limit| *limit > 0));
    let tier = number(PLAN_TYPE)?;
    if index(&TYPES, tier).is_none() {
        return Err(refused(PLAN_TYPE, "0 (Home) or 1 (Business)", tier).into());
    }
    let interval = call.values.given_number(FREQUENCY).map(|number| {
        let accepted = "0 (Trial), 1 (Free), 2 (Monthly) or 3 (Yearly)";
        let found = index(&FREQUENCIES, number);
        found.ok_or_else(|| refused(FREQUENCY, accepted, number))
    });
    Ok(PlanTerms {
        name: name.clone(),
        display_name: Some(name),
        tier,
        interval: interval.transpose()?.map(|(ours, _)| (*ours).to_owned()),
        allowed_users: limit(USERS)?,
        allowed_product_space: limit(INSTANT_STORAGE)?,
        ..PlanTerms::default()
    })
}

fn refused(child: &str, accepted: &str, number: i32) -> Error {
    let problem = format!("Plan Error, {child} must be {accepted}, not {number}");
    Error::invalid("plan", problem)
}

fn index<T>(table: &[T], number: i32) -> Option<&T> {
    table.get(usize::try_from(number).ok()?)
}

/// The plan's storage in GB. 0 if it has no limit.
pub(super) fn capacity(plan: &Plan) -> i32 {
    plan.terms.allowed_product_space.unwrap_or_default()
}

/// A plan as JSON, with the names of Zoolz's documentation (`PlanID`) and those of its service
/// (`ID`).
fn document(plan: &Plan) -> Value {
    let terms = &plan.terms;
    let interval = terms.interval.as_deref().unwrap_or_default();
    let frequency = FREQUENCIES.iter().find(|(ours, _)| *ours == interval);
    let frequency = frequency.map_or(interval, |(_, theirs)| theirs);
    let plan_type = index(&TYPES, terms.tier.min(1))
        .copied()
        .unwrap_or_default();
    json!({
        "Capacity": capacity(plan),
        "ColdCapacity": 0,
        "Cost": terms.amount.as_deref().unwrap_or_default(),
        "CreateDate": dates::write(plan.created_at),
        "HotCapacity": capacity(plan),
        "ID": plan.number,
        "Name": terms.name,
        "PlanFrequency": frequency,
        "PlanID": plan.number,
        "PlanName": terms.name,
        "PlanType": plan_type,
        "Servers": 0,
        "SubFreq": frequency,
        "TrialPeriod": 0,
        "Type": plan_type,
        "UsedSpace": 0,
        "Users": terms.allowed_users.unwrap_or_default(),
    })
}
