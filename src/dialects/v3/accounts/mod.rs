//! Accounts: the handlers that read, change and block them.

pub(super) mod documents;
pub(super) mod explanation;
pub(super) mod list;
pub(super) mod requests;

use axum::http::header::{self, HeaderName};
use chrono_tz::Tz;
use secrecy::ExposeSecret as _;

use super::call::{Call, Request};
use super::conditions;
use super::numbered_page;
use super::page::AS_OF;
use super::respond::{Done, Many, Nothing, One, Reply, etag};
use super::{ACCOUNTS, Api};
use crate::dialects::failure::Failure;
use crate::dialects::patches::{Reading, place_hold};
use crate::dialects::views::Viewer;
use crate::domain::{
    Account, AccountId, Command, Error, HoldKind, Outcome, ResellerId, Revision, Start, Time,
};
use crate::service::{AccountRef, CommandOutcome, Context, Slice};
use crate::wire::Codec;
use documents::{AccessDocument, AccountDocument, EntryDocument, HoldDocument, TimelineDocument};
use explanation::ExplanationDocument;
use list::ListRequest;
use requests::{AccountRequest, AssignPlan, Lift, Place, SetExemption, SetExpiry, SetStatus};

type AccountReply = Result<Reply<One<AccountDocument>>, Failure>;

pub(super) async fn status(
    api: &Api,
    context: &Context,
    Request { id, members, call }: Request<AccountId, SetStatus>,
) -> AccountReply {
    let command = Command::SetStatus(members.status()?);
    change(api, context, &call, id, command).await
}

pub(super) async fn expires_at(
    api: &Api,
    context: &Context,
    Request { id, members, call }: Request<AccountId, SetExpiry>,
) -> AccountReply {
    let command =
        Command::SetExpiry(members.expires_at(call.reading_for(api, context, id).await?)?);
    change(api, context, &call, id, command).await
}

pub(super) async fn exempt_until(
    api: &Api,
    context: &Context,
    Request { id, members, call }: Request<AccountId, SetExemption>,
) -> AccountReply {
    let command =
        Command::SetExemption(members.exempt_until(call.reading_for(api, context, id).await?)?);
    change(api, context, &call, id, command).await
}

pub(super) async fn plan(
    api: &Api,
    context: &Context,
    Request { id, members, call }: Request<AccountId, AssignPlan>,
) -> AccountReply {
    let revision = members.revision(call.reading(context.principal.timezone))?;
    change(api, context, &call, id, revise(revision)).await
}

pub(super) async fn patch(
    api: &Api,
    context: &Context,
    Request { id, members, call }: Request<AccountId, AccountRequest>,
) -> AccountReply {
    let revision = members.revision(call.reading_for(api, context, id).await?)?;
    change(api, context, &call, id, revise(revision)).await
}

pub(super) async fn suspend(
    api: &Api,
    context: &Context,
    Request { id, members, call }: Request<AccountId, Place>,
) -> AccountReply {
    let command = place(
        HoldKind::Suspend,
        members,
        call.reading_for(api, context, id).await?,
    )?;
    change(api, context, &call, id, command).await
}

/// Places a retention hold, which blocks deletion and purge but not the use of the account.
pub(super) async fn retain(
    api: &Api,
    context: &Context,
    Request { id, members, call }: Request<AccountId, Place>,
) -> AccountReply {
    let command = place(
        HoldKind::Retention,
        members,
        call.reading_for(api, context, id).await?,
    )?;
    change(api, context, &call, id, command).await
}

pub(super) async fn unfreeze(
    api: &Api,
    context: &Context,
    request: Request<AccountId, Lift>,
) -> AccountReply {
    lift(api, context, HoldKind::Freeze, request).await
}

pub(super) async fn unsuspend(
    api: &Api,
    context: &Context,
    request: Request<AccountId, Lift>,
) -> AccountReply {
    lift(api, context, HoldKind::Suspend, request).await
}

pub(super) async fn release(
    api: &Api,
    context: &Context,
    request: Request<AccountId, Lift>,
) -> AccountReply {
    lift(api, context, HoldKind::Retention, request).await
}

pub(super) async fn restore(
    api: &Api,
    context: &Context,
    Request { id, call, .. }: Request<AccountId>,
) -> AccountReply {
    change(api, context, &call, id, Command::Restore).await
}

/// Freezes an account. The answer has a release ticket if the request asked for one.
pub(super) async fn freeze(
    api: &Api,
    context: &Context,
    Request { id, members, call }: Request<AccountId, Place>,
) -> AccountReply {
    let maker = if members.release_ticket {
        Some(api.service.ticket_maker().await?)
    } else {
        None
    };
    let (actor, has_ticket) = (context.principal.actor(), members.release_ticket);
    let command = place(
        HoldKind::Freeze,
        members,
        call.reading_for(api, context, id).await?,
    )?;
    let owner = actor.owner(command.owner()).cloned();
    let frozen = move |done: &CommandOutcome| {
        let viewer = Viewer {
            authority: actor.authority,
            now: done.at,
        };
        let ticket = maker
            .as_ref()
            .and_then(|maker| maker.ticket(&done.account, actor.authority, owner.as_ref()));
        let mut document = documents::account(&done.account, viewer);
        document.release_ticket = ticket.map(|ticket| ticket.expose_secret().to_owned());
        result(done, document)
    };
    let idempotency = if has_ticket {
        call.secret_idempotency(frozen.clone())
    } else {
        call.idempotency(frozen.clone())
    };
    let expected = call.expected_versions;
    let completion = api
        .service
        .execute_at(context, id, command, expected, idempotency)
        .await?;
    Ok(Reply::<One<_>>::completed(completion, frozen))
}

/// Deletes an account. Deleting a deleted account is answered like the first deletion.
pub(super) async fn delete(
    api: &Api,
    context: &Context,
    Request { id, call, .. }: Request<AccountId>,
) -> Result<Reply<Nothing>, Failure> {
    let deleted = |done: &CommandOutcome| Done::new((), done.outcome == Outcome::Applied);
    let idempotency = call.idempotency(deleted);
    let (command, expected) = (api.service.deletion(), call.expected_versions);
    match api
        .service
        .execute_at(context, id, command, expected, idempotency)
        .await
    {
        Ok(completion) => Ok(Reply::<Nothing>::completed(completion, deleted)),
        Err(Error::AccountDeleted) => Ok(Reply::unchanged()),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn create(
    api: &Api,
    context: &Context,
    Request { members, call, .. }: Request<(), AccountRequest>,
) -> AccountReply {
    let reseller = members.reseller_id.map(ResellerId);
    let zone = api.service.zone_of_reseller(context, reseller).await?;
    let revision = members.revision(call.reading(zone))?;
    let document = document(context);
    let created = move |done: &CommandOutcome| {
        document(done).at_path(format!("{ACCOUNTS}/{}", done.account.uid))
    };
    let idempotency = call.idempotency(created);
    let completion = api
        .service
        .create(context, reseller, revision, idempotency)
        .await?;
    Ok(Reply::<One<_>>::completed(completion, created))
}

pub(super) async fn get(
    api: &Api,
    context: &Context,
    Request { id, call, .. }: Request<AccountId>,
) -> AccountReply {
    let (account, now) = read_account(api, context, &call, id).await?;
    let tag = match call.format() {
        Codec::Json => etag(account.version),
        Codec::Xml => conditions::tag_of_xml(&etag(account.version)),
    };
    if let Some(named) = conditions::named(&conditions::none_match(&call.headers), &tag)
        && is_as_it_was_changed(api, &account, now).await?
    {
        return Ok(Reply::response(conditions::not_modified(named)));
    }
    let document = documents::account(&account, Viewer::of(context, now));
    Ok(Reply::one(document).with_header(header::ETAG, &tag))
}

/// Whether the account's document has been the same from its last change until now. Its version
/// alone does not say so: blocks come and go with time, and with the reseller's suspension.
async fn is_as_it_was_changed(api: &Api, account: &Account, now: Time) -> Result<bool, Failure> {
    if !account.is_as_it_was_changed(now) {
        return Ok(false);
    }
    let suspensions = api.service.suspensions_since(account).await?;
    let lifted = suspensions.iter().filter_map(|it| it.lifted_at).max();
    Ok(lifted.is_none_or(|at| at < account.updated_at))
}

pub(super) async fn list(
    api: &Api,
    context: &Context,
    Request { call, .. }: Request<()>,
) -> Result<Reply<Many<AccountDocument>>, Failure> {
    let owner = context.principal.storage_reseller();
    let zones = if ListRequest::has_dates(&call.uri) {
        api.service.zones(context).await?
    } else {
        Vec::new()
    };
    let request = ListRequest::read(&call.uri, &zones, api.service.now(), owner)?;
    let (accounts, total, now) = if let Some(at) = request.as_of {
        (list_as_of(api, context, &request, at).await?, None, at)
    } else {
        let has_total = request.page.is_some();
        api.service
            .search(context, request.search.clone(), has_total)
            .await?
    };
    let viewer = Viewer::of(context, now);
    let reply = if request.page.is_some() {
        numbered_page::reply(
            api,
            context,
            call.format(),
            &request.search,
            accounts,
            viewer,
        )
    } else {
        Reply::page(
            call.format(),
            accounts,
            |account| documents::account(account, viewer),
            |last| request.next(last.id, owner),
        )
    };
    let limit = request.search.limit;
    let reply = reply.with_header(
        HeaderName::from_static("pagination-limit"),
        &limit.to_string(),
    );
    Ok(match (request.page, total) {
        (Some(page), Some(total)) => reply
            .with_header(
                HeaderName::from_static("pagination-page"),
                &page.to_string(),
            )
            .with_header(
                HeaderName::from_static("pagination-count"),
                &total.to_string(),
            ),
        _ => reply,
    })
}

async fn list_as_of(
    api: &Api,
    context: &Context,
    request: &ListRequest,
    at: Time,
) -> Result<Slice<Account>, Failure> {
    let from = match request.search.start {
        Start::After(Some(last)) => i64::from(last.as_i32()) + 1,
        Start::After(None) | Start::Offset { .. } => 1,
    };
    // No account has a larger number, so the page is empty.
    let Ok(from) = AccountId::new(from) else {
        return Ok(Slice {
            rows: Vec::new(),
            has_more: false,
        });
    };
    let limit = usize::try_from(request.search.limit).unwrap_or_default();
    Ok(api.service.list_as_of(context, from, limit, at).await?)
}

pub(super) async fn holds(
    api: &Api,
    context: &Context,
    Request { id, call, .. }: Request<AccountId>,
) -> Result<Reply<Many<HoldDocument>>, Failure> {
    let (account, now) = read_account(api, context, &call, id).await?;
    let documents = documents::holds(&account, Viewer::of(context, now));
    Ok(Reply::whole(call.format(), &documents))
}

pub(super) async fn access(
    api: &Api,
    context: &Context,
    Request { id, call, .. }: Request<AccountId>,
) -> Result<Reply<One<AccessDocument>>, Failure> {
    let (account, now) = read_account(api, context, &call, id).await?;
    Ok(Reply::one(documents::access(&account, now)))
}

pub(super) async fn explain(
    api: &Api,
    context: &Context,
    Request { id, call, .. }: Request<AccountId>,
) -> Result<Reply<One<ExplanationDocument>>, Failure> {
    let explained = api.service.explain(context, id).await?;
    let viewer = Viewer::of(context, explained.at);
    let document = explanation::explanation(&explained, call.base(), viewer);
    Ok(Reply::one(document))
}

pub(super) async fn timeline(
    api: &Api,
    context: &Context,
    Request { id, call, .. }: Request<AccountId>,
) -> Result<Reply<One<TimelineDocument>>, Failure> {
    let account = api.service.account_or_deleted(context, id).await?;
    let query = &call.query;
    let entries = api
        .service
        .history(context, account.id, query.before_number()?, query.limit)
        .await?;
    let suspensions = api.service.suspensions_since(&account).await?;
    let (now, format) = (api.service.now(), call.format());
    let (timeline, next) = documents::timeline(&account, entries, &suspensions, now, format);
    let reply = Reply::one(timeline);
    Ok(match next {
        Some(last) => reply.with_header(header::LINK, &query.before_entry(last, &call.uri)),
        None => reply,
    })
}

pub(super) async fn history(
    api: &Api,
    context: &Context,
    Request { id, call, .. }: Request<AccountId>,
) -> Result<Reply<Many<EntryDocument>>, Failure> {
    let query = &call.query;
    let account = api.service.account_or_deleted(context, id).await?;
    let entries = api
        .service
        .history(context, id, query.before_number()?, query.limit)
        .await?;
    Ok(Reply::page(
        call.format(),
        entries,
        |entry| documents::entry(entry, account.created_at),
        |last| query.before_entry(last.id, &call.uri),
    ))
}

/// Reads the account as it is now, or as it was at the query's `asOf`.
async fn read_account(
    api: &Api,
    context: &Context,
    call: &Call,
    id: AccountId,
) -> Result<(Account, Time), Failure> {
    let zone = match call.query.text(AS_OF.name) {
        Some(_) => api.service.zone_of(context, AccountRef::Id(id)).await?,
        None => Tz::UTC,
    };
    match call.query.as_of(zone, api.service.now())? {
        Some(at) => Ok((api.service.account_as_of(context, id, at).await?, at)),
        None => Ok(api.service.account(context, id).await?),
    }
}

fn revise(revision: Revision) -> Command {
    Command::Revise(Box::new(revision))
}

fn place(kind: HoldKind, members: Place, read: Reading) -> Result<Command, Failure> {
    if members.release_ticket && kind != HoldKind::Freeze {
        let problem = "is for a freeze alone: only a freeze ends when somebody pays";
        return Err(Error::invalid("release_ticket", problem).into());
    }
    let (owner, details) = members.details(read)?;
    Ok(place_hold(kind, owner, details))
}

async fn lift(
    api: &Api,
    context: &Context,
    kind: HoldKind,
    Request { id, members, call }: Request<AccountId, Lift>,
) -> AccountReply {
    let command = members.command(kind, call.reading(context.principal.timezone))?;
    change(api, context, &call, id, command).await
}

/// Executes a command, and answers with the changed account.
async fn change(
    api: &Api,
    context: &Context,
    call: &Call,
    id: AccountId,
    command: Command,
) -> AccountReply {
    let document = document(context);
    let idempotency = call.idempotency(document);
    let expected = call.expected_versions.clone();
    let completion = api
        .service
        .execute_at(context, id, command, expected, idempotency)
        .await?;
    Ok(Reply::<One<_>>::completed(completion, document))
}

/// Returns a function that writes the changed account for this caller.
fn document(
    context: &Context,
) -> impl Fn(&CommandOutcome) -> Done<AccountDocument> + Copy + Send + Sync + 'static {
    let authority = context.principal.authority();
    move |done| {
        let viewer = Viewer {
            authority,
            now: done.at,
        };
        result(done, documents::account(&done.account, viewer))
    }
}

/// The result of a change: the account's document with its version.
fn result(done: &CommandOutcome, document: AccountDocument) -> Done<AccountDocument> {
    Done::new(document, done.outcome == Outcome::Applied).at_version(done.account.version)
}
