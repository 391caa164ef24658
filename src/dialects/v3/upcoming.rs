//! `GET /v3/upcoming`: what time will do to accounts, in the order of time.

use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::call::{Call, Request};
use super::cursor;
use super::page::{Query, UNTIL, WHAT};
use super::respond::{Many, Reply};
use crate::dialects::dates;
use crate::dialects::failure::Failure;
use crate::domain::{Coming, ComingKind, Event, HoldName, Owner, State, Time, UPDATED};
use crate::service::{ComingChange, ComingQuery, Context};

/// Something that will happen to an account without a request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UpcomingChange)]
pub(super) struct ComingDocument {
    /// When it happens.
    #[schema(format = DateTime)]
    at: String,
    /// What happens: `hold_starts`, `hold_ends`, `expires` or `purge`.
    what: &'static str,
    /// The event that will announce it, such as `account.suspended`. `account.updated` if the hold
    /// does not block the use of the account.
    event: &'static str,
    /// The account's UUID.
    account: String,
    /// The account's number.
    account_id: i32,
    reseller_id: i64,
    /// The kind of the hold: `freeze`, `suspend` or `retention`. Null if it does not concern a hold.
    kind: Option<&'static str>,
    /// The authority that placed the hold.
    authority: Option<&'static str>,
    hold_id: Option<String>,
    /// The owner of the hold. Null if it has none in particular, or if it does not concern a hold.
    owner: Option<String>,
    /// How far the hold restricts the account: `block`, `limit` or `warn`.
    level: Option<&'static str>,
    /// The `effectiveStatus` of the account from then on, if no request changes the account before.
    /// Null after a purge, because the account is gone.
    state_after: Option<&'static str>,
    /// The `restriction` of the account from then on.
    restriction_after: Option<&'static str>,
}

fn document(coming: &ComingChange) -> ComingDocument {
    let (account, change) = (&coming.account, &coming.change);
    let hold: Option<&HoldName> = change.what.hold();
    let state = Some(&change.state).filter(|_| change.what != Coming::Purge);
    ComingDocument {
        at: dates::write(change.at),
        what: change.what.kind().as_str(),
        event: change.what.event().map_or(UPDATED, Event::as_str),
        account: account.uid.to_string(),
        account_id: account.id.as_i32(),
        reseller_id: account.reseller_id.0,
        kind: hold.map(|hold| hold.kind.as_str()),
        authority: hold.map(|hold| hold.authority.as_str()),
        hold_id: hold.map(|hold| hold.id.to_string()),
        owner: hold
            .and_then(|hold| hold.owner.as_ref())
            .map(Owner::to_string),
        level: hold.map(|hold| hold.level.as_str()),
        state_after: state.map(State::effective_status),
        restriction_after: state.map(State::restriction),
    }
}

pub(super) async fn list(
    api: &Api,
    context: &Context,
    Request { call, .. }: Request<()>,
) -> Result<Reply<Many<ComingDocument>>, Failure> {
    let owner = context.principal.storage_reseller();
    let query = &call.query;
    let request = ComingQuery {
        reseller: query.reseller()?,
        kinds: kinds(query)?,
        until: until(api, context, &call).await?,
        after: query
            .cursor
            .as_deref()
            .filter(|text| !text.is_empty())
            .map(|text| cursor::coming_of(text, owner))
            .transpose()?,
        limit: usize::try_from(query.limit).unwrap_or_default(),
    };
    let rows = api.service.upcoming(context, request).await?;
    Ok(Reply::page(call.format(), rows, document, |last| {
        query.link("after", &cursor::coming(last.place(), owner), &call.uri)
    }))
}

/// The kinds that `what` names, separated by commas; all if it is absent.
fn kinds(query: &Query) -> Result<Vec<ComingKind>, Failure> {
    let Some(text) = query.text(WHAT.name) else {
        return Ok(ComingKind::ALL.to_vec());
    };
    let read = |word: &str| {
        ComingKind::parse(word).ok_or_else(|| {
            let words = ComingKind::ALL.map(ComingKind::as_str).join(", ");
            let accepted = format!("one or more of {words}, separated by commas");
            Failure::must_be(WHAT.name, &accepted, word)
        })
    };
    text.split(',').map(read).collect()
}

/// The value of `until`: an instant, or the last instant of a day. A date without a zone is in that
/// of the reseller whose accounts are listed; in UTC if there are several.
async fn until(api: &Api, context: &Context, call: &Call) -> Result<Option<Time>, Failure> {
    let Some(text) = call.query.text(UNTIL.name) else {
        return Ok(None);
    };
    let reseller = call.query.reseller()?;
    let zone = api.service.zone_of_reseller(context, reseller).await?;
    dates::parse_span(text, zone)
        .map(|span| Some(span.last()))
        .map_err(|problem| Failure::parameter(UNTIL.name, problem))
}
