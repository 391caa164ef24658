//! The handlers of the calls: members become commands, and outcomes become replies.

use chrono_tz::Tz;

use super::Api;
use super::call::{Answer, Request};
use super::envelope::{Next, Reply, rows};
use super::explain;
use super::replies;
use super::requests::{
    Freeze, Get, History, Lift, List, SetExemption, SetExpiry, SetStatus, Suspend, Target,
};
use super::save::{self, Save};
use super::simulate::{self, Simulate, Step};
use crate::dialects::failure::Failure;
use crate::dialects::patches::place_hold;
use crate::dialects::views::Viewer;
use crate::domain::{Account, AccountId, Command, HoldKind, Status};
use crate::service::{AccountRef, CommandOutcome, Context, JournalEntry};
use crate::wire::Rows;

type HandlerResult = Result<Answer, Failure>;

/// The number of journal entries in the answer to `timeline`.
const TIMELINE: i64 = 100;

async fn lift(
    api: &Api,
    context: &Context,
    kind: HoldKind,
    Request { members, call }: Request<Lift>,
) -> HandlerResult {
    let account = AccountId::new(members.id)?;
    let command = members.command(kind, call.reading(context.principal.timezone))?;
    call.execute(api, context, account, command, Reply::done)
        .await
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
    let has_ticket = members.release_ticket;
    let (owner, details) = members.details(call.reading_for(api, context, account).await?)?;
    let actor = context.principal.actor();
    let owner = actor.owner(owner.as_ref()).cloned();
    let command = place_hold(HoldKind::Freeze, owner.clone(), details);
    let reply = move |done: &CommandOutcome, verbose| {
        let ticket = maker
            .as_ref()
            .and_then(|maker| maker.ticket(&done.account, actor.authority, owner.as_ref()));
        Reply::frozen(done, verbose, ticket.as_ref())
    };
    let idempotency = if has_ticket {
        call.secret_idempotency(reply.clone())
    } else {
        call.idempotency(reply.clone())
    };
    let completion = api
        .service
        .execute(context, account, command, idempotency)
        .await?;
    Ok(call.completed(completion, reply))
}

pub(super) async fn unfreeze(
    api: &Api,
    context: &Context,
    request: Request<Lift>,
) -> HandlerResult {
    lift(api, context, HoldKind::Freeze, request).await
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
    request: Request<Lift>,
) -> HandlerResult {
    lift(api, context, HoldKind::Suspend, request).await
}

/// Places a retention hold, which blocks deletion and purge but not the use of the account.
pub(super) async fn retain(
    api: &Api,
    context: &Context,
    request: Request<Suspend>,
) -> HandlerResult {
    place_simple(api, context, HoldKind::Retention, request).await
}

pub(super) async fn release(api: &Api, context: &Context, request: Request<Lift>) -> HandlerResult {
    lift(api, context, HoldKind::Retention, request).await
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
    let command = Command::SetExemption(
        members.exempt_until(call.reading_for(api, context, account).await?)?,
    );
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
    let command =
        Command::SetExpiry(members.expires_at(call.reading_for(api, context, account).await?)?);
    call.execute(api, context, account, command, Reply::done)
        .await
}

pub(super) async fn save(
    api: &Api,
    context: &Context,
    Request { members, call }: Request<Save>,
) -> HandlerResult {
    let (account, reseller) = (members.account()?, members.reseller());
    let zone = match account {
        Some(account) => {
            api.service
                .zone_of(context, AccountRef::Id(account))
                .await?
        }
        None => api.service.zone_of_reseller(context, reseller).await?,
    };
    let mut all_members = call.all_members()?;
    if let Some(account) = account.filter(|_| save::has_own(&all_members))
        && let Ok((present, _)) = api.service.account(context, account).await
    {
        save::leave_out_unchanged(&mut all_members, &present, call.codec);
    }
    let named_plan = match members.plan_name() {
        Some(name) => Some(
            api.service
                .plan_number(context, account, reseller, name)
                .await?,
        ),
        None => None,
    };
    let revision = members.revision(all_members, named_plan, call.reading(zone))?;
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
    let (mut from, limit) = members.page()?;
    let zones = if members.has_dates() {
        api.service.zones(context).await?
    } else {
        Vec::new()
    };
    // One instant for all accounts: in UTC if their resellers are in several zones.
    let zone = if let [zone] = zones.as_slice() {
        *zone
    } else {
        Tz::UTC
    };
    let (format, reading) = (call.format(), call.reading(zone));
    let as_of = members.as_of(reading, api.service.now())?;
    let (filter, by_zone) = members.filter(reading.codec, &zones)?;
    let (mut written, mut total) = (None, None);
    // The accounts are read piece by piece if they are large. Much of an account, such as its holds,
    // is not in the list, so one piece may be less than a page.
    loop {
        let count = written
            .as_ref()
            .map_or(0, |page: &Rows<Account>| page.count);
        let limit = limit - i64::try_from(count).unwrap_or_default();
        let (accounts, now) = if let Some(at) = as_of {
            let limit = usize::try_from(limit).unwrap_or_default();
            let accounts = api.service.list_as_of(context, from, limit, at).await?;
            (accounts, at)
        } else {
            let (filter, by_zone) = (filter.clone(), by_zone.clone());
            let page = api
                .service
                .list(context, filter, by_zone, from, limit)
                .await?;
            total.get_or_insert(page.total);
            (page.accounts, page.at)
        };
        let is_full = i64::try_from(accounts.rows.len()).is_ok_and(|found| found >= limit);
        let following = accounts
            .rows
            .last()
            .map(after)
            .filter(|_| accounts.has_more);
        let viewer = Viewer::of(context, now);
        let item = |account: &Account| replies::item(format, account, viewer);
        let page = match written.take() {
            None => rows(format, accounts.rows, item),
            Some(mut page) => page.add(accounts.rows, item).map(|()| page),
        };
        let following = following.and_then(|next| AccountId::new(next).ok());
        match (page, following) {
            (Ok(page), Some(next)) if !is_full && !page.is_cut => {
                from = next;
                written = Some(page);
            }
            (page, _) => {
                let reply = Reply::rows(page, false, |last| Next::FromId(after(last)));
                return Ok(reply.with_total(total).into());
            }
        }
    }
}

/// The number from which a list goes on after an account.
fn after(account: &Account) -> i64 {
    i64::from(account.id.as_i32()) + 1
}

pub(super) async fn get(
    api: &Api,
    context: &Context,
    Request { members, call }: Request<Get>,
) -> HandlerResult {
    let id = AccountId::new(members.id)?;
    let reading = call.reading_for(api, context, id).await?;
    let (account, now) = match members.as_of(reading, api.service.now())? {
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
    let is_full = i64::try_from(entries.rows.len()).is_ok_and(|found| found >= limit);
    let is_short = entries.has_more && !is_full;
    let next = |last: &JournalEntry| Next::Before(last.id);
    Ok(Reply::rows(rows(format, entries.rows, item), is_short, next).into())
}

/// Simulates a sequence of calls. Each call sees the result of the calls before it; a refused call
/// changes nothing.
pub(super) async fn simulate(
    api: &Api,
    context: &Context,
    Request { members, call }: Request<Simulate>,
) -> HandlerResult {
    let account = members.account()?;
    let reading = call.reading_for(api, context, account).await?;
    // A caller that may not change accounts is refused before its members are read.
    let allowed = context.principal.require_account_changes();
    let steps: Vec<Step> = members
        .steps(reading, &api.service.deletion())?
        .into_iter()
        .map(|(name, command)| (name, allowed.clone().and(command)))
        .collect();
    let commands: Vec<Command> = steps
        .iter()
        .filter_map(|(_, command)| command.as_ref().ok().cloned())
        .collect();
    let (before, rehearsed, now) = api.service.simulate(context, account, commands).await?;
    let results = simulate::results(steps, before, rehearsed, now);
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
    let suspensions = api.service.suspensions_since(&account).await?;
    let now = api.service.now();
    let timeline = explain::timeline(&account, entries, &suspensions, now, call.format());
    Ok(Reply::data(timeline).into())
}

pub(super) async fn explain(
    api: &Api,
    context: &Context,
    Request { members, call }: Request<Target>,
) -> HandlerResult {
    let explained = api.service.explain(context, members.account()?).await?;
    let viewer = Viewer::of(context, explained.at);
    let item = explain::explanation(&explained, call.base(), viewer);
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
    let (owner, details) = members.details(call.reading_for(api, context, account).await?)?;
    let command = place_hold(kind, owner, details);
    call.execute(api, context, account, command, Reply::done)
        .await
}
