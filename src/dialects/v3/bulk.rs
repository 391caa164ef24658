//! Several operations in one request: `simulate` on one account, and `bulk` on many.

use std::borrow::Cow;

use chrono_tz::Tz;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::accounts::documents::AccountDocument;
use super::call::{Call, Request};
use super::codes::{self, Code};
use super::operation_request::{AccountName, OperationRequest, Operations};
use super::respond::{Done, One, Reply, encode};
use super::{Api, accounts};
use crate::dialects::body;
use crate::dialects::failure::Failure;
use crate::dialects::patches::Reading;
use crate::dialects::views::{Viewer, blocked_by, held_by};
use crate::domain::{Account, AccountId, Command, Error, Outcome, Time};
use crate::service::{
    AccountRef, CommandOutcome, Completion, Context, Item, Rehearsed, ResultHeaders, StoredAnswer,
};
use crate::wire::{self, Codec};

/// An operation with its command, or the reason why it is invalid.
type Step = (OperationRequest, Result<Command, Error>);

/// The content type that marks the stored result of one operation.
const RESULT: &str = "steward/bulk-result";

/// The result of one operation, executed or simulated.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OperationResult)]
pub(super) struct ResultDocument {
    operation: String,
    /// The account as the request named it. Only in `bulk`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    account: Option<String>,
    /// The HTTP status that the operation has as a request of its own.
    status: u16,
    /// The code of the error; null for a success.
    #[schema(value_type = Option<String>)]
    code: Option<Cow<'static, str>>,
    message: Option<String>,
    /// Whether the account changed. Null if the operation failed.
    changed: Option<bool>,
    /// The events that the operation would cause. Only in `simulate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, value_type = Option<Vec<String>>)]
    events: Option<Vec<Cow<'static, str>>>,
    #[schema(value_type = Option<String>)]
    effective_status: Option<Cow<'static, str>>,
    #[schema(value_type = Option<Vec<String>>)]
    blocked_by: Option<Vec<Cow<'static, str>>>,
    /// The holds in force, such as `freeze:reseller` or `suspend:reseller:abuse-desk`: kind, authority
    /// and owner.
    #[serde(default)]
    held_by: Option<Vec<String>>,
}

/// Fixed words, as a result has them.
fn words(words: impl IntoIterator<Item = &'static str>) -> Vec<Cow<'static, str>> {
    words.into_iter().map(Cow::Borrowed).collect()
}

/// The result of a simulation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Simulation)]
pub(super) struct SimulationDocument {
    /// One result per operation, in order.
    results: Vec<ResultDocument>,
    /// The account as it would be after all operations.
    account: AccountDocument,
}

/// The result of a bulk request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BulkResult)]
pub(super) struct BulkDocument {
    /// The number of operations that succeeded.
    succeeded: usize,
    /// The number of operations that failed.
    failed: usize,
    /// One result per operation, in order.
    results: Vec<ResultDocument>,
}

fn success(command: Option<&Command>) -> u16 {
    if matches!(command, Some(Command::Delete { .. })) {
        204
    } else {
        200
    }
}

fn failed(operation: String, code: Code) -> ResultDocument {
    ResultDocument {
        operation,
        account: None,
        status: code.status,
        code: Some(code.word.into()),
        message: Some(code.message),
        changed: None,
        events: None,
        effective_status: None,
        blocked_by: None,
        held_by: None,
    }
}

/// The result of one simulated operation. `account` is the account after it.
fn simulated_result(
    operation: String,
    command: &Result<Command, Error>,
    result: Result<Rehearsed, Error>,
    account: &Account,
    now: Time,
) -> ResultDocument {
    let is_deletion = matches!(command, Ok(Command::Delete { .. }));
    let (changed, events) = match result {
        Ok(rehearsed) => (rehearsed.outcome == Outcome::Applied, rehearsed.events),
        // A repeated deletion is answered like the first one.
        Err(Error::AccountDeleted) if is_deletion => (false, Vec::new()),
        Err(error) => return failed(operation, codes::code(&error.into())),
    };
    let state = account.state(now);
    ResultDocument {
        operation,
        account: None,
        status: success(command.as_ref().ok()),
        code: None,
        message: None,
        changed: Some(changed),
        events: Some(words(events.iter().map(|event| event.as_str()))),
        effective_status: Some(state.effective_status().into()),
        blocked_by: Some(words(blocked_by(&state))),
        held_by: Some(held_by(account, now)),
    }
}

pub(super) async fn simulate(
    api: &Api,
    context: &Context,
    Request { id, members, call }: Request<AccountId, Operations>,
) -> Result<Reply<One<SimulationDocument>>, Failure> {
    let reading = call.reading_for(api, context, id).await?;
    // A caller that may not change accounts is refused before its members are read.
    let allowed = context.principal.require_account_changes();
    let step = |request: OperationRequest| {
        let command = request.clone().command(reading, api.service.deletion());
        (request, allowed.clone().and(command))
    };
    let operations = members.checked()?;
    for request in &operations {
        request.refuse_account("the path names the account")?;
    }
    let steps: Vec<Step> = operations.into_iter().map(step).collect();
    let commands: Vec<Command> = steps
        .iter()
        .filter_map(|(_, command)| command.as_ref().ok().cloned())
        .collect();
    let (mut account, results, now) = api.service.simulate(context, id, commands).await?;
    let (mut rehearsed, mut results_of_all) = (results.into_iter(), Vec::new());
    for (request, command) in steps {
        let result = match &command {
            Ok(_) => rehearsed.next().ok_or(Failure::Crashed)?,
            Err(error) => Err(error.clone()),
        };
        if let Ok(after) = &result {
            account.clone_from(&after.account);
        }
        results_of_all.push(simulated_result(
            request.operation,
            &command,
            result,
            &account,
            now,
        ));
    }
    Ok(Reply::one(SimulationDocument {
        results: results_of_all,
        account: accounts::documents::account(&account, Viewer::of(context, now)),
    }))
}

pub(super) async fn run(
    api: &Api,
    context: &Context,
    Request { members, call, .. }: Request<(), Operations>,
) -> Result<Reply<One<BulkDocument>>, Failure> {
    let steps = steps(api, context, &call, members).await?;
    let stored = stored_answers(api, &call, steps.len()).await?;
    let mut results: Vec<Option<ResultDocument>> = Vec::new();
    let (mut accepted, mut items) = (Vec::new(), Vec::new());
    for (number, ((request, command), stored)) in steps.into_iter().zip(stored).enumerate() {
        let account = request.account.as_ref().map(AccountName::text);
        if let Some(stored) = stored {
            results.push(Some(replayed(request.operation, account, &stored)));
            continue;
        }
        match item(&call, number, &request, command) {
            Ok((status, item)) => {
                results.push(None);
                accepted.push((request.operation, account, status));
                items.push(item);
            }
            Err(error) => results.push(Some(ResultDocument {
                account,
                ..failed(request.operation, codes::code(&error.into()))
            })),
        }
    }
    let outcomes = api.service.bulk(context, items).await?;
    let mut executed =
        accepted
            .into_iter()
            .zip(outcomes)
            .map(|((operation, account, status), outcome)| {
                completed(operation, account, status, outcome)
            });
    let results: Vec<ResultDocument> = results
        .into_iter()
        .filter_map(|known| known.or_else(|| executed.next()))
        .collect();
    let succeeded = results.iter().filter(|result| result.status < 400).count();
    let failed = results.len() - succeeded;
    let is_final = results.iter().all(|result| is_final(result.status));
    let is_changed = results.iter().any(|result| result.changed == Some(true));
    let document = BulkDocument {
        succeeded,
        failed,
        results,
    };
    let done = Done::new(document, is_changed);
    if is_final {
        store(api, &call, &done).await;
    }
    Ok(Reply::done(done))
}

/// Whether an operation with this status is not carried out when the request is repeated.
fn is_final(status: u16) -> bool {
    status < 500 && status != 429
}

/// Stores the answer to the whole request. Without it, a repeat is answered from the results of the
/// operations, which are stored with their changes; operations that were refused unread, such as
/// those on unknown accounts, are then tried again.
async fn store(api: &Api, call: &Call, done: &Done<BulkDocument>) {
    let Some((key, fingerprint)) = call.once() else {
        return;
    };
    let format = call.format();
    let answer = StoredAnswer {
        status: call.row.success,
        content_type: format.content_type().to_owned(),
        body: encode(format, &done.document),
        headers: done.headers.clone(),
    };
    if let Err(error) = api.service.store_answer(key, fingerprint, answer).await {
        tracing::debug!(%error, "the answer to a bulk request was not stored");
    }
}

/// The stored answer to each operation. They are looked up before the accounts, so that a repeat is
/// answered even when its account is gone.
///
/// # Errors
/// [`Error::IdempotencyKeyReused`] if the key was used with another body. Each operation stores its
/// own answer, so any of them tells it, and then none is executed.
async fn stored_answers(
    api: &Api,
    call: &Call,
    count: usize,
) -> Result<Vec<Option<StoredAnswer>>, Failure> {
    let look_up = |number| call.stored_answer_of_part(api, number);
    try_join_all((0..count).map(look_up)).await
}

/// An operation as an item for the service, with its HTTP status on success.
fn item(
    call: &Call,
    number: usize,
    request: &OperationRequest,
    command: Result<Command, Error>,
) -> Result<(u16, Item), Error> {
    let name = request.account.as_ref();
    let name = name.ok_or_else(|| Error::invalid("account", "is required"))?;
    let (account, text) = (name.account_ref()?, name.text());
    let command = command?;
    let status = success(Some(&command));
    let operation = request.operation.clone();
    let idempotency = call.idempotency_of_part(number, move |outcome| {
        let (operation, account) = (operation.clone(), Some(text.clone()));
        stored(&result(operation, account, status, outcome))
    });
    Ok((
        status,
        Item {
            account,
            command,
            once: idempotency,
        },
    ))
}

/// The members of a stored failure. All are absent if the stored answer is a success. Only versions
/// before migration 0016 stored the answers to operations in this form.
#[derive(Default, Deserialize)]
struct StoredFailure {
    code: Option<String>,
    message: Option<String>,
}

impl StoredFailure {
    fn of(stored: &StoredAnswer) -> Self {
        let codec = wire::codec_of(Some(&stored.content_type)).unwrap_or(Codec::Json);
        wire::decode(codec, &stored.body).unwrap_or_default()
    }
}

/// A result as it is stored.
fn stored(result: &ResultDocument) -> StoredAnswer {
    StoredAnswer {
        status: result.status,
        content_type: RESULT.to_owned(),
        body: encode(Codec::Json, result),
        headers: ResultHeaders {
            changed: result.changed,
            ..ResultHeaders::default()
        },
    }
}

/// The result of an operation that was answered before, under the same idempotency key.
fn replayed(operation: String, account: Option<String>, stored: &StoredAnswer) -> ResultDocument {
    let result = (stored.content_type == RESULT)
        .then(|| wire::decode(Codec::Json, &stored.body).ok())
        .flatten();
    if let Some(result) = result {
        return result;
    }
    let failure = if stored.status < 400 {
        StoredFailure::default()
    } else {
        StoredFailure::of(stored)
    };
    let repeated = || "answered before, under the same Idempotency-Key".to_owned();
    ResultDocument {
        operation,
        account,
        status: stored.status,
        code: failure.code.map(Cow::Owned),
        message: Some(failure.message.unwrap_or_else(repeated)),
        changed: None,
        events: None,
        effective_status: None,
        blocked_by: None,
        held_by: None,
    }
}

/// The result of an executed operation, or of the first one with the same key.
fn completed(
    operation: String,
    account: Option<String>,
    status: u16,
    outcome: Result<Completion, Error>,
) -> ResultDocument {
    match outcome {
        Ok(Completion::Replayed(stored)) => replayed(operation, account, &stored),
        Ok(Completion::Fresh(done)) => result(operation, account, status, &Ok(*done)),
        Err(error) => result(operation, account, status, &Err(error)),
    }
}

/// The result of an executed operation. `status` is the one of a success.
fn result(
    operation: String,
    account: Option<String>,
    status: u16,
    outcome: &Result<CommandOutcome, Error>,
) -> ResultDocument {
    match outcome {
        Ok(done) => {
            let state = done.account.state(done.at);
            ResultDocument {
                operation,
                account,
                status,
                code: None,
                message: None,
                changed: Some(done.outcome == Outcome::Applied),
                events: None,
                effective_status: Some(state.effective_status().into()),
                blocked_by: Some(words(blocked_by(&state))),
                held_by: Some(held_by(&done.account, done.at)),
            }
        }
        // A repeated deletion is answered like the first one.
        Err(Error::AccountDeleted) if status == 204 => ResultDocument {
            account,
            status,
            code: None,
            message: None,
            changed: Some(false),
            ..failed(operation, codes::code(&Error::AccountDeleted.into()))
        },
        Err(error) => ResultDocument {
            account,
            ..failed(operation, codes::code(&error.clone().into()))
        },
    }
}

/// One operation of a request to `POST /v3/bulk`, read from its JSON.
#[derive(Debug, Clone)]
pub struct BulkOperation(OperationRequest);

impl BulkOperation {
    /// # Errors
    /// A message for people, if the text is not JSON or has other members.
    pub fn parse(json: &str) -> Result<Self, String> {
        body::decode(Codec::Json, json.as_bytes(), |_| false)
            .map(Self)
            .map_err(|failure: Failure| codes::code(&failure).message)
    }

    /// The name of the operation.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.operation
    }

    /// The account that it is for. `None` if it names none.
    #[must_use]
    pub fn account(&self) -> Option<AccountRef> {
        self.0.account_ref()
    }

    /// The operation for the service. Dates without a zone are in `zone`. `deletion` is the command
    /// that `delete` stands for.
    ///
    /// # Errors
    /// A message for people that explains the error of the operation.
    pub fn item(self, zone: Tz, deletion: Command) -> Result<Item, String> {
        let reading = Reading {
            codec: Codec::Json,
            zone,
        };
        let read = || {
            let account = self.0.account.as_ref();
            let account = account
                .ok_or_else(|| Error::invalid("account", "is required"))?
                .account_ref()?;
            let command = self.0.command(reading, deletion)?;
            Ok(Item {
                account,
                command,
                once: None,
            })
        };
        read().map_err(|error: Error| codes::code(&error.into()).message)
    }
}

/// The operations of the body, each with its command or the reason why it is invalid. Dates without
/// a zone are in that of each account's reseller.
async fn steps(
    api: &Api,
    context: &Context,
    call: &Call,
    members: Operations,
) -> Result<Vec<Step>, Error> {
    let operations = members.checked()?;
    let accounts = operations.iter().filter_map(OperationRequest::account_ref);
    let zones = api.service.zones_of(context, accounts.collect()).await?;
    let step = |request: OperationRequest| {
        let zone = request.account_ref().and_then(|it| zones.get(&it).copied());
        let reading = call.reading(zone.unwrap_or_default());
        let command = request.clone().command(reading, api.service.deletion());
        (request, command)
    };
    Ok(operations.into_iter().map(step).collect())
}
