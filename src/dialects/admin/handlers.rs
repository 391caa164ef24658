//! The handlers of the calls: members become commands, and outcomes become replies.

use super::Api;
use super::call::{Answer, Request};
use super::explain;
use super::replies::{self, Next, Reply};
use super::requests::{
    Freeze, Get, History, List, SetExemption, SetExpiry, SetStatus, Suspend, Target, Unfreeze,
};
use super::save::Save;
use super::simulate::{self, Simulate};
use crate::dialects::failure::Failure;
use crate::dialects::patches::place_hold;
use crate::dialects::views::Viewer;
use crate::domain::{Account, AccountId, Command, HoldKind, Status};
use crate::service::{CommandOutcome, Context, JournalEntry};

type HandlerResult = Result<Answer, Failure>;

/// The number of journal entries in the answer to `timeline`.
const TIMELINE: i64 = 100;

fn lift(kind: HoldKind) -> Command {
    Command::Lift { kind, only: None }
}

/// Freezes an account. The answer has a release ticket if the request asked for one.
pub(super) async fn freeze(
    api: &Api,
    context: &Context,
    Request { members, call }: Request<Freeze>,
) -> HandlerResult {
    let account = AccountId::new(members.id)?;
    let maker = if members.release_ticket {
        Some(api.service.ticket_maker().await?)
    } else {
        None
    };
    let authority = context.principal.authority();
    let reply = move |done: &CommandOutcome, verbose| {
        let ticket = maker
            .as_ref()
            .and_then(|maker| maker.ticket(&done.account, authority));
        Reply::frozen(done, verbose, ticket.as_ref())
    };
    let command = place_hold(HoldKind::Freeze, members.details(call.reading(context))?);
    call.execute(api, context, account, command, reply).await
}

pub(super) async fn unfreeze(
    api: &Api,
    context: &Context,
    Request { members, call }: Request<Unfreeze>,
) -> HandlerResult {
    let account = AccountId::new(members.id)?;
    let only = members.only(call.reading(context))?;
    let command = Command::Lift {
        kind: HoldKind::Freeze,
        only,
    };
    call.execute(api, context, account, command, Reply::done)
        .await
}

pub(super) async fn suspend(
    api: &Api,
    context: &Context,
    request: Request<Suspend>,
) -> HandlerResult {
    place_simple(api, context, HoldKind::Suspend, request).await
}

pub(super) async fn unsuspend(
    api: &Api,
    context: &Context,
    request: Request<Target>,
) -> HandlerResult {
    simple(api, context, request, lift(HoldKind::Suspend), Reply::done).await
}

/// Places a retention hold, which blocks deletion and purge but not the use of the account.
pub(super) async fn retain(
    api: &Api,
    context: &Context,
    request: Request<Suspend>,
) -> HandlerResult {
    place_simple(api, context, HoldKind::Retention, request).await
}

pub(super) async fn release(
    api: &Api,
    context: &Context,
    request: Request<Target>,
) -> HandlerResult {
    simple(
        api,
        context,
        request,
        lift(HoldKind::Retention),
        Reply::done,
    )
    .await
}

pub(super) async fn activate(
    api: &Api,
    context: &Context,
    request: Request<Target>,
) -> HandlerResult {
    let command = Command::SetStatus(Status::Active);
    simple(api, context, request, command, Reply::done_bare).await
}

pub(super) async fn deactivate(
    api: &Api,
    context: &Context,
    request: Request<Target>,
) -> HandlerResult {
    let command = Command::SetStatus(Status::Inactive);
    simple(api, context, request, command, Reply::done_bare).await
}

pub(super) async fn delete(
    api: &Api,
    context: &Context,
    request: Request<Target>,
) -> HandlerResult {
    simple(api, context, request, api.service.deletion(), Reply::done).await
}

pub(super) async fn restore(
    api: &Api,
    context: &Context,
    request: Request<Target>,
) -> HandlerResult {
    simple(api, context, request, Command::Restore, Reply::done).await
}

pub(super) async fn exempt(
    api: &Api,
    context: &Context,
    Request { members, call }: Request<SetExemption>,
) -> HandlerResult {
    let account = AccountId::new(members.id)?;
    let command = Command::SetExemption(members.exempt_until(call.reading(context))?);
    call.execute(api, context, account, command, Reply::done)
        .await
}

pub(super) async fn status(
    api: &Api,
    context: &Context,
    Request { members, call }: Request<SetStatus>,
) -> HandlerResult {
    let (account, command) = (
        AccountId::new(members.id)?,
        Command::SetStatus(members.status()?),
    );
    call.execute(api, context, account, command, Reply::done)
        .await
}

pub(super) async fn expiry_date(
    api: &Api,
    context: &Context,
    Request { members, call }: Request<SetExpiry>,
) -> HandlerResult {
    let account = AccountId::new(members.id)?;
    let command = Command::SetExpiry(members.expires_at(call.reading(context))?);
    call.execute(api, context, account, command, Reply::done)
        .await
}

pub(super) async fn save(
    api: &Api,
    context: &Context,
    Request { members, call }: Request<Save>,
) -> HandlerResult {
    let (account, reseller) = (members.account()?, members.reseller());
    let revision = members.revision(call.all_members()?, call.reading(context))?;
    if let Some(account) = account {
        let command = Command::Revise(Box::new(revision));
        return call
            .execute(api, context, account, command, Reply::saved)
            .await;
    }
    let idempotency = call.idempotency(Reply::saved);
    let completion = api
        .service
        .create(context, reseller, revision, idempotency)
        .await?;
    Ok(call.completed(completion, Reply::saved))
}

pub(super) async fn list(
    api: &Api,
    context: &Context,
    Request { members, call }: Request<List>,
) -> HandlerResult {
    let (from, limit) = members.page()?;
    let reading = call.reading(context);
    let (accounts, total, now) = if let Some(at) = members.as_of(reading)? {
        let limit = usize::try_from(limit).unwrap_or_default();
        let accounts = api.service.list_as_of(context, from, limit, at).await?;
        (accounts, None, at)
    } else {
        let filter = members.filter(reading)?;
        let page = api.service.list(context, filter, from, limit).await?;
        (page.accounts, Some(page.total), page.at)
    };
    let (viewer, format) = (Viewer::of(context, now), call.format());
    let item = |account: &Account| replies::item(format, account, viewer);
    let next = |last: &Account| Next::FromId(i64::from(last.id.as_i32()) + 1);
    let reply = Reply::page(format, accounts, limit, item, next);
    Ok(reply.with_total(total).into())
}

pub(super) async fn get(
    api: &Api,
    context: &Context,
    Request { members, call }: Request<Get>,
) -> HandlerResult {
    let id = AccountId::new(members.id)?;
    let (account, now) = match members.as_of(call.reading(context))? {
        Some(at) => (api.service.account_as_of(context, id, at).await?, at),
        None => api.service.account(context, id).await?,
    };
    let item = replies::item_with_holds(call.format(), &account, Viewer::of(context, now));
    Ok(Reply::account(item).into())
}

pub(super) async fn history(
    api: &Api,
    context: &Context,
    Request { members, call }: Request<History>,
) -> HandlerResult {
    let (id, limit) = (AccountId::new(members.id)?, members.limit()?);
    let entries = api
        .service
        .history(context, id, members.before, limit)
        .await?;
    let format = call.format();
    let item = |entry: &JournalEntry| replies::entry_item(entry, format);
    let next = |last: &JournalEntry| Next::Before(last.id);
    Ok(Reply::page(format, entries, limit, item, next).into())
}

/// Simulates a sequence of calls. Each call sees the result of the calls before it; a refused call
/// changes nothing.
pub(super) async fn simulate(
    api: &Api,
    context: &Context,
    Request { members, call }: Request<Simulate>,
) -> HandlerResult {
    let account = members.account()?;
    let steps = members.steps(call.reading(context), &api.service.deletion())?;
    let commands: Vec<Command> = steps
        .iter()
        .filter_map(|(_, command)| command.as_ref().ok().cloned())
        .collect();
    let (before, simulated, now) = api.service.simulate(context, account, &commands).await?;
    let results = simulate::results(steps, before.state(now), simulated);
    Ok(Reply::list(call.format(), results).into())
}

pub(super) async fn timeline(
    api: &Api,
    context: &Context,
    Request { members, call }: Request<Target>,
) -> HandlerResult {
    let account = api
        .service
        .account_or_deleted(context, members.account()?)
        .await?;
    let entries = api
        .service
        .history(context, account.id, None, TIMELINE)
        .await?;
    let timeline = explain::timeline(&account, entries, api.service.now(), call.format());
    Ok(Reply::data(timeline).into())
}

pub(super) async fn explain(
    api: &Api,
    context: &Context,
    Request { members, call }: Request<Target>,
) -> HandlerResult {
    let account = api
        .service
        .account_or_deleted(context, members.account()?)
        .await?;
    let viewer = Viewer::of(context, api.service.now());
    let explanation = account.explain(viewer.now);
    let item = explain::explanation(account.id, &explanation, call.base(), viewer);
    Ok(Reply::data(item).into())
}

/// Executes a command for a call that takes nothing but the account.
async fn simple(
    api: &Api,
    context: &Context,
    Request { members, call }: Request<Target>,
    command: Command,
    reply: fn(&CommandOutcome, bool) -> Reply,
) -> HandlerResult {
    call.execute(api, context, members.account()?, command, reply)
        .await
}

async fn place_simple(
    api: &Api,
    context: &Context,
    kind: HoldKind,
    Request { members, call }: Request<Suspend>,
) -> HandlerResult {
    let account = AccountId::new(members.id)?;
    let command = place_hold(kind, members.details(call.reading(context))?);
    call.execute(api, context, account, command, Reply::done)
        .await
}
