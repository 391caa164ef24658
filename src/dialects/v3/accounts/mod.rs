//! Accounts.

pub(super) mod documents;
mod list;
pub(super) mod requests;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::Api;
use super::call::Call;
use super::codes::Failure;
use super::page::Several;
use crate::dialects::body;
use crate::domain::{
    self, AccountId, Command, Dialect, Error, HoldId, HoldKind, ResellerId, Scope, Start, Time,
};
use crate::service::{CommandOutcome, Completion, Context};
use documents::{AccountDocument, EntryDocument, HoldDocument, Reader};
use list::ListRequest;
use requests::{
    Account, AssignPlan, Lift, Nothing, Place, Redeem, SetExemption, SetExpiry, SetStatus,
};

const READ: Scope = Scope::AccountRead;
const WRITE: Scope = Scope::AccountWrite;

fn reader(context: &Context, now: Time) -> Reader {
    Reader {
        authority: context.principal.authority(),
        now,
    }
}

pub(super) async fn status(State(api): State<Api>, call: Call) -> Response {
    call.change(&api, |_| {
        Ok(Command::SetStatus(call.members::<SetStatus>()?.status()?))
    })
    .await
}

pub(super) async fn expires_at(State(api): State<Api>, call: Call) -> Response {
    call.change(&api, |context| {
        Ok(Command::SetExpiry(
            call.members::<SetExpiry>()?
                .expires_at(call.reading(context))?,
        ))
    })
    .await
}

pub(super) async fn plan(State(api): State<Api>, call: Call) -> Response {
    call.change(&api, |context| {
        Ok(Command::Revise(Box::new(
            call.members::<AssignPlan>()?
                .revision(call.reading(context))?,
        )))
    })
    .await
}

pub(super) async fn freeze(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, WRITE).await?;
        let request = call.members::<Place>()?;
        let maker = if request.release_ticket {
            Some(api.service.ticket_maker().await?)
        } else {
            None
        };
        let details = request.details(call.reading(&context))?;
        let authority = context.principal.authority();
        let write = move |done: &CommandOutcome, format| {
            let mut document = documents::account(
                &done.account,
                Reader {
                    authority,
                    now: done.at,
                },
            );
            let ticket = maker
                .as_ref()
                .and_then(|maker| maker.ticket(&done.account, authority));
            document.release_ticket = ticket.map(|ticket| ticket.expose_secret().to_owned());
            documents::encode(format, &document)
        };
        let command = Command::Place {
            kind: HoldKind::Freeze,
            fresh: HoldId(Uuid::now_v7()),
            details,
        };
        let account = call.account(&api, &context).await?;
        let once = call.once_with(&context, StatusCode::OK, write.clone())?;
        let answered = api
            .service
            .execute_at(&context, account, command, call.only_at()?, once)
            .await?;
        Ok((answered, write))
    };
    match outcome.await {
        Ok((Completion::Fresh(done), write)) => {
            call.answer_account(&done.account, write(&done, call.format()), StatusCode::OK)
        }
        Ok((Completion::Replayed(stored), _)) => body::replay(stored),
        Err(failure) => call.refuse(&failure),
    }
}

/// Whoever collects the payment lifts the freeze that asked for it: the ticket is all the right that it takes.
pub(super) async fn redeem(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let request = call.members::<Redeem>()?;
        Ok(documents::release(
            &api.service
                .redeem(&request.ticket, Dialect::V3, call.request_id())
                .await?,
        ))
    };
    call.answer(outcome.await)
}

pub(super) async fn suspend(State(api): State<Api>, call: Call) -> Response {
    call.change(&api, |context| place(&call, context, HoldKind::Suspend))
        .await
}

/// A retention hold: it blocks deletion and purge, and no use.
pub(super) async fn retain(State(api): State<Api>, call: Call) -> Response {
    call.change(&api, |context| place(&call, context, HoldKind::Retention))
        .await
}

pub(super) async fn release(State(api): State<Api>, call: Call) -> Response {
    call.change(&api, |context| lift(&call, context, HoldKind::Retention))
        .await
}

pub(super) async fn exempt_until(State(api): State<Api>, call: Call) -> Response {
    call.change(&api, |context| {
        Ok(Command::SetExemption(
            call.members::<SetExemption>()?
                .exempt_until(call.reading(context))?,
        ))
    })
    .await
}

fn place(call: &Call, context: &Context, kind: HoldKind) -> Result<Command, Failure> {
    let details = call.members::<Place>()?.details(call.reading(context))?;
    Ok(Command::Place {
        kind,
        fresh: HoldId(Uuid::now_v7()),
        details,
    })
}

pub(super) async fn unfreeze(State(api): State<Api>, call: Call) -> Response {
    call.change(&api, |context| lift(&call, context, HoldKind::Freeze))
        .await
}

pub(super) async fn unsuspend(State(api): State<Api>, call: Call) -> Response {
    call.change(&api, |context| lift(&call, context, HoldKind::Suspend))
        .await
}

fn lift(call: &Call, context: &Context, kind: HoldKind) -> Result<Command, Failure> {
    Ok(Command::Lift {
        kind,
        only: call.members::<Lift>()?.only(call.reading(context))?,
    })
}

pub(super) async fn restore(State(api): State<Api>, call: Call) -> Response {
    call.change(&api, |_| {
        call.members::<Nothing>().map(|_| Command::Restore)
    })
    .await
}

pub(super) async fn patch(State(api): State<Api>, call: Call) -> Response {
    call.change(&api, |context| {
        Ok(Command::Revise(Box::new(
            call.members::<Account>()?.revision(call.reading(context))?,
        )))
    })
    .await
}

/// A repeat is answered as the deletion was.
pub(super) async fn delete(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, WRITE).await?;
        let account = call.account(&api, &context).await?;
        let once = call.once(&context, StatusCode::NO_CONTENT)?;
        Ok(api
            .service
            .execute_at(
                &context,
                account,
                api.service.deletion(),
                call.only_at()?,
                once,
            )
            .await
            .map(|answered| (answered, context))?)
    };
    match outcome.await {
        Err(Failure::Service(Error::AccountDeleted)) => {
            super::call::respond(StatusCode::NO_CONTENT, None, Vec::new())
        }
        outcome => call.answer_change(outcome, StatusCode::NO_CONTENT),
    }
}

pub(super) async fn create(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, WRITE).await?;
        let request = call.members::<Account>()?;
        let of = request.reseller_id.map(ResellerId);
        let revision = request.revision(call.reading(&context))?;
        let once = call.once(&context, StatusCode::CREATED)?;
        Ok(api
            .service
            .create(&context, of, revision, once)
            .await
            .map(|answered| (answered, context))?)
    };
    call.answer_change(outcome.await, StatusCode::CREATED)
}

pub(super) async fn get(State(api): State<Api>, call: Call) -> Response {
    match found(&api, &call).await {
        Ok((context, account, now)) => {
            let document = documents::account(&account, reader(&context, now));
            call.answer_account(
                &account,
                documents::encode(call.format(), &document),
                StatusCode::OK,
            )
        }
        Err(failure) => call.refuse(&failure),
    }
}

async fn found(api: &Api, call: &Call) -> Result<(Context, domain::Account, Time), Failure> {
    let context = call.enter(api, READ).await?;
    let id = call.account(api, &context).await?;
    let (account, now) = match call.as_of(&context)? {
        Some(at) => (api.service.account_as_of(&context, id, at).await?, at),
        None => api.service.account(&context, id).await?,
    };
    Ok((context, account, now))
}

pub(super) async fn list(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, READ).await?;
        let request = ListRequest::read(
            &call.uri,
            context.principal.timezone,
            context.principal.storage_reseller(),
        )?;
        if let Some(at) = request.as_of {
            let from = match request.search.start {
                Start::After(Some(last)) => i64::from(last.as_i32()) + 1,
                Start::After(None) | Start::Offset { .. } => 1,
            };
            let limit = usize::try_from(request.search.limit).unwrap_or_default();
            // Behind the last number there is no account.
            let accounts = match AccountId::new(from) {
                Ok(from) => api.service.list_as_of(&context, from, limit, at).await?,
                Err(_) => Vec::new(),
            };
            return Ok((context, request, accounts, None, at));
        }
        let (accounts, total, now) = api
            .service
            .search(&context, request.search.clone(), request.page.is_some())
            .await?;
        Ok((context, request, accounts, total, now))
    };
    let (context, request, accounts, total, now) = match outcome.await {
        Ok(found) => found,
        Err(failure) => return call.refuse(&failure),
    };
    let documents: Vec<AccountDocument> = accounts
        .iter()
        .map(|account| documents::account(account, reader(&context, now)))
        .collect();
    let mut response = call.answer(Ok(Several::of(documents, call.format())));
    let mut set = |name, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response
                .headers_mut()
                .insert(header::HeaderName::from_static(name), value);
        }
    };
    set("pagination-limit", request.search.limit.to_string());
    if let (Some(page), Some(total)) = (request.page, total) {
        set("pagination-page", page.to_string());
        set("pagination-count", total.to_string());
    } else if let Some(last) = accounts
        .last()
        .filter(|_| i64::try_from(accounts.len()) == Ok(request.search.limit))
    {
        set(
            "link",
            request.next(last.id, context.principal.storage_reseller()),
        );
    }
    response
}

pub(super) async fn holds(State(api): State<Api>, call: Call) -> Response {
    let outcome = found(&api, &call).await;
    call.answer(outcome.map(|(context, account, now)| {
        Several::<HoldDocument>::of(
            documents::holds(&account, reader(&context, now)),
            call.format(),
        )
    }))
}

pub(super) async fn access(State(api): State<Api>, call: Call) -> Response {
    let outcome = found(&api, &call).await;
    call.answer(outcome.map(|(_, account, now)| documents::access(&account, now)))
}

pub(super) async fn explain(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, READ).await?;
        let account = api
            .service
            .account_or_deleted(&context, call.account(&api, &context).await?)
            .await?;
        let reader = reader(&context, api.service.now());
        Ok(documents::explanation(
            &account,
            &account.explain(reader.now),
            &call.base(&api),
            reader,
        ))
    };
    call.answer(outcome.await)
}

/// What happened, and what will happen by itself.
pub(super) async fn timeline(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, READ).await?;
        let account = api
            .service
            .account_or_deleted(&context, call.account(&api, &context).await?)
            .await?;
        let entries = api.service.history(&context, account.id, None, 100).await?;
        Ok(documents::timeline(
            &account,
            entries,
            api.service.now(),
            call.format(),
        ))
    };
    call.answer(outcome.await)
}

/// The newest hundred entries.
pub(super) async fn history(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, READ).await?;
        let entries = api
            .service
            .history(&context, call.account(&api, &context).await?, None, 100)
            .await?;
        let documents: Vec<EntryDocument> = entries
            .into_iter()
            .map(|entry| documents::entry(entry, call.format()))
            .collect();
        Ok(Several::of(documents, call.format()))
    };
    call.answer(outcome.await)
}
