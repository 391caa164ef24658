//! Resellers: written by operators, read by themselves too.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::call::Call;
use super::codes::Failure;
use super::page::{Page, Several};
use crate::dialects::dates;
use crate::dialects::patches::plain;
use crate::domain::{Error, ResellerId, Resource, Scope};
use crate::service::{NewReseller, Reseller, ResellerPatch};
use crate::wire::Field;

/// A reseller.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Reseller)]
pub(super) struct ResellerDocument {
    id: i64,
    name: String,
    /// The time zone of dates that name none.
    timezone: String,
    /// What stands in the `Code` of SOAP results: `word` or `number`.
    soap_codes: &'static str,
    /// The most accounts it may have; null: no limit.
    account_limit: Option<i32>,
    /// Whether accounts that are deleted or expired are purged in the end.
    purges: bool,
    /// How many days an expired account is left alone before it may be purged.
    purge_grace_days: i32,
    /// How many accounts one run of the purge may remove.
    purge_limit: i32,
    /// Since when a run is held back because more than that are due.
    #[schema(format = DateTime)]
    purge_held_at: Option<String>,
    /// How many are due then.
    purge_held_count: Option<i32>,
    /// Since when it is suspended as a whole.
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

/// A reseller to be made, or changed: what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ResellerRequest)]
pub(super) struct ResellerRequest {
    /// 1 to 255 characters, not only digits; unique ignoring case. Required on creation.
    name: Option<String>,
    /// The name of a time zone such as Europe/Berlin.
    timezone: Option<String>,
    /// `word` or `number`.
    soap_codes: Option<String>,
    /// The most accounts it may have; null: no limit.
    #[serde(default)]
    #[schema(value_type = Option<i32>, minimum = 0)]
    account_limit: Field<i32>,
    /// Whether accounts that are deleted or expired are purged in the end.
    purges: Option<bool>,
    /// How many days an expired account is left alone before it may be purged.
    #[schema(minimum = 1, maximum = 3650)]
    purge_grace_days: Option<i32>,
    /// How many accounts one run of the purge may remove; more wait until an operator approves.
    #[schema(minimum = 1)]
    purge_limit: Option<i32>,
}

impl ResellerRequest {
    fn patch(self) -> Result<ResellerPatch, Error> {
        let soap_numbers = match self.soap_codes.as_deref() {
            None => None,
            Some("word") => Some(false),
            Some("number") => Some(true),
            Some(_) => return Err(Error::invalid("soap_codes", "must be word or number")),
        };
        Ok(ResellerPatch {
            name: self.name,
            timezone: self.timezone,
            soap_numbers,
            account_limit: plain(self.account_limit),
            purges: self.purges,
            purge_grace_days: self.purge_grace_days,
            purge_limit: self.purge_limit,
        })
    }
}

fn id(call: &Call) -> Result<ResellerId, Failure> {
    let id = call.id().parse().ok().filter(|id| *id > 0);
    Ok(id
        .map(ResellerId)
        .ok_or(Error::NotFound(Resource::Reseller))?)
}

pub(super) async fn list(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::AccountRead).await?;
        let page = Page::read(&call.uri, &[])?;
        let found = api
            .service
            .resellers(&context.principal, page.after, page.limit)
            .await?;
        let next = page.next(found.last().map(|last| last.id.0), found.len(), &call.uri);
        Ok((
            Several::of(found.iter().map(document).collect(), call.format()),
            next,
        ))
    };
    call.answer_page(outcome.await)
}

pub(super) async fn get(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::AccountRead).await?;
        Ok(document(
            &api.service.reseller(&context.principal, id(&call)?).await?,
        ))
    };
    call.answer(outcome.await)
}

pub(super) async fn create(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::ResellerWrite).await?;
        let patch = call.members::<ResellerRequest>()?.patch()?;
        let name = patch
            .name
            .clone()
            .ok_or_else(|| Error::invalid("name", "is required"))?;
        let once = call.once_for(&context, StatusCode::CREATED, document)?;
        Ok(api
            .service
            .create_reseller(&context.principal, NewReseller { name, patch }, once)
            .await?)
    };
    call.answer_done(outcome.await, StatusCode::CREATED, document)
}

pub(super) async fn patch(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::ResellerWrite).await?;
        let patch = call.members::<ResellerRequest>()?.patch()?;
        let once = call.once_for(&context, StatusCode::OK, document)?;
        Ok(api
            .service
            .revise_reseller(&context.principal, id(&call)?, patch, once)
            .await?)
    };
    call.answer_done(outcome.await, StatusCode::OK, document)
}

pub(super) async fn suspend(State(api): State<Api>, call: Call) -> Response {
    set_suspension(&api, &call, true).await
}

pub(super) async fn unsuspend(State(api): State<Api>, call: Call) -> Response {
    set_suspension(&api, &call, false).await
}

async fn set_suspension(api: &Api, call: &Call, suspend: bool) -> Response {
    let outcome = async {
        let context = call.enter(api, Scope::ResellerWrite).await?;
        let once = call.once_for(&context, StatusCode::OK, document)?;
        Ok(api
            .service
            .suspend_reseller(&context.principal, id(call)?, suspend, once)
            .await?)
    };
    call.answer_done(outcome.await, StatusCode::OK, document)
}
