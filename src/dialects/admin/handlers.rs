//! The calls.

use axum::extract::State;
use axum::response::Response;

use super::Api;
use super::call::Call;
use super::explain;
use super::replies::{self, Reader, Reply};
use super::requests::{
    Freeze, Get, History, List, SetExemption, SetExpiry, SetStatus, Suspend, Target, Unfreeze,
};
use super::save::Save;
use super::simulate::{self, Simulate};
use crate::domain::{AccountId, Command, HoldKind, Scope, Status};
use crate::service::{CommandOutcome, Completion, Context};

const READ: Scope = Scope::AccountRead;
const WRITE: Scope = Scope::AccountWrite;

fn reader(api: &Api, context: &Context) -> Reader {
    Reader {
        authority: context.principal.authority(),
        now: api.service.now(),
    }
}

pub(super) async fn freeze(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let (context, request) = call.open::<Freeze>(&api, WRITE).await?;
        let account = AccountId::new(request.id)?;
        let maker = if request.release_ticket {
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
        let once = call.once(&api, &context, reply.clone())?;
        Ok((
            api.service
                .place(
                    &context,
                    account,
                    HoldKind::Freeze,
                    request.details(call.reading(&context))?,
                    once,
                )
                .await?,
            reply,
        ))
    };
    match outcome.await {
        Ok((answered, reply)) => call.answer_change(&api, Ok(answered), reply),
        Err(failure) => call.answer(&api, Err(failure)),
    }
}

pub(super) async fn unfreeze(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let (context, request) = call.open::<Unfreeze>(&api, WRITE).await?;
        let account = AccountId::new(request.id)?;
        let command = Command::Lift {
            kind: HoldKind::Freeze,
            only: request.only(call.reading(&context))?,
        };
        Ok(api
            .service
            .execute(
                &context,
                account,
                command,
                call.once(&api, &context, Reply::done)?,
            )
            .await?)
    };
    call.answer_change(&api, outcome.await, Reply::done)
}

pub(super) async fn suspend(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let (context, request) = call.open::<Suspend>(&api, WRITE).await?;
        let account = AccountId::new(request.id)?;
        let once = call.once(&api, &context, Reply::done)?;
        Ok(api
            .service
            .place(
                &context,
                account,
                HoldKind::Suspend,
                request.details(call.reading(&context))?,
                once,
            )
            .await?)
    };
    call.answer_change(&api, outcome.await, Reply::done)
}

pub(super) async fn unsuspend(State(api): State<Api>, call: Call) -> Response {
    simple(
        &api,
        &call,
        Command::Lift {
            kind: HoldKind::Suspend,
            only: None,
        },
        Reply::done,
    )
    .await
}

/// A retention hold: it blocks deletion and purge, and no use.
pub(super) async fn retain(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let (context, request) = call.open::<Suspend>(&api, WRITE).await?;
        let account = AccountId::new(request.id)?;
        let once = call.once(&api, &context, Reply::done)?;
        Ok(api
            .service
            .place(
                &context,
                account,
                HoldKind::Retention,
                request.details(call.reading(&context))?,
                once,
            )
            .await?)
    };
    call.answer_change(&api, outcome.await, Reply::done)
}

pub(super) async fn release(State(api): State<Api>, call: Call) -> Response {
    simple(
        &api,
        &call,
        Command::Lift {
            kind: HoldKind::Retention,
            only: None,
        },
        Reply::done,
    )
    .await
}

pub(super) async fn exempt(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let (context, request) = call.open::<SetExemption>(&api, WRITE).await?;
        let account = AccountId::new(request.id)?;
        let once = call.once(&api, &context, Reply::done)?;
        Ok(api
            .service
            .execute(
                &context,
                account,
                Command::SetExemption(request.exempt_until(call.reading(&context))?),
                once,
            )
            .await?)
    };
    call.answer_change(&api, outcome.await, Reply::done)
}

pub(super) async fn activate(State(api): State<Api>, call: Call) -> Response {
    simple(
        &api,
        &call,
        Command::SetStatus(Status::Active),
        Reply::done_bare,
    )
    .await
}

pub(super) async fn deactivate(State(api): State<Api>, call: Call) -> Response {
    simple(
        &api,
        &call,
        Command::SetStatus(Status::Inactive),
        Reply::done_bare,
    )
    .await
}

pub(super) async fn restore(State(api): State<Api>, call: Call) -> Response {
    simple(&api, &call, Command::Restore, Reply::done).await
}

/// A call that says no more than which account.
async fn simple(
    api: &Api,
    call: &Call,
    command: Command,
    reply: fn(&CommandOutcome, bool) -> Reply,
) -> Response {
    let outcome = async {
        let (context, request) = call.open::<Target>(api, WRITE).await?;
        Ok(api
            .service
            .execute(
                &context,
                request.account()?,
                command,
                call.once(api, &context, reply)?,
            )
            .await?)
    };
    call.answer_change(api, outcome.await, reply)
}

pub(super) async fn delete(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let (context, request) = call.open::<Target>(&api, WRITE).await?;
        Ok(api
            .service
            .delete(
                &context,
                request.account()?,
                call.once(&api, &context, Reply::done)?,
            )
            .await?)
    };
    call.answer_change(&api, outcome.await, Reply::done)
}

pub(super) async fn status(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let (context, request) = call.open::<SetStatus>(&api, WRITE).await?;
        let account = AccountId::new(request.id)?;
        let once = call.once(&api, &context, Reply::done)?;
        Ok(api
            .service
            .execute(
                &context,
                account,
                Command::SetStatus(request.status()?),
                once,
            )
            .await?)
    };
    call.answer_change(&api, outcome.await, Reply::done)
}

pub(super) async fn expiry_date(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let (context, request) = call.open::<SetExpiry>(&api, WRITE).await?;
        let account = AccountId::new(request.id)?;
        let once = call.once(&api, &context, Reply::done)?;
        Ok(api
            .service
            .execute(
                &context,
                account,
                Command::SetExpiry(request.expires_at(call.reading(&context))?),
                once,
            )
            .await?)
    };
    call.answer_change(&api, outcome.await, Reply::done)
}

pub(super) async fn save(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let (context, request) = call.open::<Save>(&api, WRITE).await?;
        let (account, reseller) = (request.account()?, request.reseller());
        let revision = request.revision(call.members()?, call.reading(&context))?;
        let once = call.once(&api, &context, Reply::saved)?;
        let saved: Completion = match account {
            None => {
                api.service
                    .create(&context, reseller, revision, once)
                    .await?
            }
            Some(account) => {
                api.service
                    .execute(&context, account, Command::Revise(Box::new(revision)), once)
                    .await?
            }
        };
        Ok(saved)
    };
    call.answer_change(&api, outcome.await, Reply::saved)
}

pub(super) async fn list(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let (context, request) = call.open::<List>(&api, READ).await?;
        let (from, limit) = request.page()?;
        if let Some(now) = request.as_of(call.reading(&context))? {
            let reader = Reader {
                now,
                ..reader(&api, &context)
            };
            let past = api
                .service
                .list_as_of(
                    &context,
                    from,
                    usize::try_from(limit).unwrap_or_default(),
                    now,
                )
                .await?;
            return Ok(Reply::list(
                past.iter()
                    .map(|account| replies::item(account, reader))
                    .collect(),
                None,
            ));
        }
        let page = api
            .service
            .list(
                &context,
                request.filter(call.reading(&context))?,
                from,
                limit,
            )
            .await?;
        let reader = Reader {
            now: page.at,
            ..reader(&api, &context)
        };
        Ok(Reply::list(
            page.accounts
                .iter()
                .map(|account| replies::item(account, reader))
                .collect(),
            Some(page.total),
        ))
    };
    call.answer(&api, outcome.await)
}

pub(super) async fn get(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let (context, request) = call.open::<Get>(&api, READ).await?;
        let id = AccountId::new(request.id)?;
        let (account, now) = match request.as_of(call.reading(&context))? {
            Some(at) => (api.service.account_as_of(&context, id, at).await?, at),
            None => api.service.account(&context, id).await?,
        };
        Ok(Reply::data(replies::item_with_holds(
            &account,
            Reader {
                now,
                ..reader(&api, &context)
            },
        )))
    };
    call.answer(&api, outcome.await)
}

pub(super) async fn history(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let (context, request) = call.open::<History>(&api, READ).await?;
        let entries = api
            .service
            .history(
                &context,
                AccountId::new(request.id)?,
                request.before,
                request.limit()?,
            )
            .await?;
        Ok(Reply::list(
            entries
                .into_iter()
                .map(|entry| replies::entry_item(entry, call.format()))
                .collect(),
            None,
        ))
    };
    call.answer(&api, outcome.await)
}

/// Calls in order, each decided on what those before it would leave; what cannot be accepted changes nothing.
pub(super) async fn simulate(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let (context, request) = call.open::<Simulate>(&api, READ).await?;
        let account = request.account()?;
        let steps = request.steps(call.reading(&context), &api.service.deletion())?;
        let commands: Vec<Command> = steps
            .iter()
            .filter_map(|(_, command)| command.as_ref().ok().cloned())
            .collect();
        let (before, simulated, now) = api.service.simulate(&context, account, &commands).await?;
        Ok(Reply::list(
            simulate::results(steps, before.state(now), simulated),
            None,
        ))
    };
    call.answer(&api, outcome.await)
}

/// What happened, and what will happen by itself.
pub(super) async fn timeline(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let (context, request) = call.open::<Target>(&api, READ).await?;
        let account = api
            .service
            .account_or_deleted(&context, request.account()?)
            .await?;
        let entries = api.service.history(&context, account.id, None, 100).await?;
        Ok(Reply::data(explain::timeline(
            &account,
            entries,
            api.service.now(),
            call.format(),
        )))
    };
    call.answer(&api, outcome.await)
}

pub(super) async fn explain(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let (context, request) = call.open::<Target>(&api, READ).await?;
        let account = api
            .service
            .account_or_deleted(&context, request.account()?)
            .await?;
        let reader = reader(&api, &context);
        Ok(Reply::data(explain::explanation(
            account.id,
            &account.explain(reader.now),
            &call.base(&api),
            reader,
        )))
    };
    call.answer(&api, outcome.await)
}
