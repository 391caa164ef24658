//! Several operations in one request: tried out on one account, or carried out on many.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use chrono_tz::Tz;

use super::Api;
use super::accounts::documents;
use super::accounts::documents::{AccountDocument, Reader};
use super::accounts::requests::{OperationRequest, Operations};
use super::call::Call;
use super::codes::{Code, Failure};
use crate::dialects::patches::Reading;
use crate::domain::{Command, Error, Outcome, Scope, State as Computed};
use crate::service::{CommandOutcome, Completion, Context, Item};
use crate::wire;
use crate::wire::Codec;

/// An operation of a request with its command, or what is wrong with it.
type Step = (OperationRequest, Result<Command, Error>);

/// What became of one operation, or would.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OperationResult)]
pub(super) struct ResultDocument {
    operation: String,
    /// The account, as the request named it; in `bulk` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    account: Option<String>,
    /// The status that the operation has by itself.
    status: u16,
    /// Null for a success.
    code: Option<&'static str>,
    message: Option<String>,
    /// Whether anything changed; null where it failed, and where it was answered before under the same `Idempotency-Key`.
    changed: Option<bool>,
    /// The finer events; in `simulate` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    events: Option<Vec<&'static str>>,
    effective_status: Option<&'static str>,
    blocked_by: Option<Vec<&'static str>>,
}

/// What operations would do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Simulation)]
pub(super) struct SimulationDocument {
    /// One for each operation, in order.
    results: Vec<ResultDocument>,
    /// The account as it would be.
    account: AccountDocument,
}

/// What became of operations.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BulkResult)]
pub(super) struct BulkDocument {
    /// How many succeeded.
    succeeded: usize,
    /// How many did not.
    failed: usize,
    /// One for each operation, in order.
    results: Vec<ResultDocument>,
}

fn success(command: Option<&Command>) -> u16 {
    if matches!(command, Some(Command::Delete { .. })) {
        204
    } else {
        200
    }
}

fn words(state: &Computed) -> Vec<&'static str> {
    state
        .blocked_by()
        .iter()
        .map(|block| block.as_str())
        .collect()
}

fn failed(operation: String, code: Code) -> ResultDocument {
    ResultDocument {
        operation,
        account: None,
        status: code.status,
        code: Some(code.word),
        message: Some(code.message),
        changed: None,
        events: None,
        effective_status: None,
        blocked_by: None,
    }
}

pub(super) async fn simulate(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::AccountRead).await?;
        let account = call.account(&api, &context).await?;
        let read = read(&api, &call, &context)?;
        let commands: Vec<Command> = read
            .iter()
            .filter_map(|(_, command)| command.as_ref().ok().cloned())
            .collect();
        let (before, simulated, now) = api.service.simulate(&context, account, &commands).await?;
        let last = simulated
            .iter()
            .rev()
            .find_map(|one| one.decision.as_ref().ok())
            .map_or(&before, |change| &change.after);
        let document = documents::account(
            last,
            Reader {
                authority: context.principal.authority(),
                now,
            },
        );
        let mut steps = simulated.iter();
        let result = |(operation, command): Step| {
            let decided = match &command {
                Ok(_) => steps
                    .next()
                    .map(|step| (step.decision.clone(), step.state.clone())),
                Err(error) => Some((Err(error.clone()), before.state(now))),
            };
            match decided {
                Some((Ok(change), state)) => ResultDocument {
                    operation: operation.operation,
                    account: None,
                    status: success(command.as_ref().ok()),
                    code: None,
                    message: None,
                    changed: Some(change.outcome() == Outcome::Applied),
                    events: Some(change.events.iter().map(|event| event.as_str()).collect()),
                    effective_status: Some(state.effective_status()),
                    blocked_by: Some(words(&state)),
                },
                Some((Err(error), _)) => failed(operation.operation, Failure::from(error).code()),
                None => failed(operation.operation, Failure::Crashed.code()),
            }
        };
        Ok(SimulationDocument {
            results: read.into_iter().map(result).collect(),
            account: document,
        })
    };
    call.answer(outcome.await)
}

pub(super) async fn bulk(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::AccountWrite).await?;
        call.once(&context, StatusCode::OK)?;
        let read = read(&api, &call, &context)?;
        let mut results: Vec<Option<ResultDocument>> = Vec::with_capacity(read.len());
        let mut items = Vec::new();
        for (number, (operation, command)) in read.into_iter().enumerate() {
            let written = operation
                .account
                .as_ref()
                .map(super::accounts::requests::AccountName::written);
            let item = || {
                let account = operation
                    .account
                    .as_ref()
                    .ok_or_else(|| Error::invalid("account", "is required"))?
                    .named()?;
                let command = command?;
                let status =
                    StatusCode::from_u16(success(Some(&command))).unwrap_or(StatusCode::OK);
                Ok((
                    status,
                    Item {
                        account,
                        command,
                        once: call.once_part(&context, status, number)?,
                    },
                ))
            };
            match item() {
                Ok((status, item)) => {
                    results.push(None);
                    items.push((operation.operation, written, status.as_u16(), item));
                }
                Err(failure) => {
                    let failure: Failure = failure;
                    results.push(Some(ResultDocument {
                        account: written,
                        ..failed(operation.operation, failure.code())
                    }));
                }
            }
        }
        let (named, items): (Vec<_>, Vec<_>) = items
            .into_iter()
            .map(|(operation, account, status, item)| ((operation, account, status), item))
            .unzip();
        let outcomes = api.service.bulk(&context, items).await?;
        let mut done =
            named
                .into_iter()
                .zip(outcomes)
                .map(|((operation, account, status), outcome)| {
                    carried_out(operation, account, status, outcome)
                });
        let results: Vec<ResultDocument> = results
            .into_iter()
            .filter_map(|known| known.or_else(|| done.next()))
            .collect();
        let succeeded = results.iter().filter(|result| result.status < 400).count();
        Ok(BulkDocument {
            succeeded,
            failed: results.len() - succeeded,
            results,
        })
    };
    call.answer(outcome.await)
}

fn carried_out(
    operation: String,
    account: Option<String>,
    status: u16,
    outcome: Result<Completion, Error>,
) -> ResultDocument {
    match outcome {
        Ok(Completion::Fresh(done)) => {
            let CommandOutcome {
                account: after,
                outcome,
                at,
            } = *done;
            let state = after.state(at);
            ResultDocument {
                operation,
                account,
                status,
                code: None,
                message: None,
                changed: Some(outcome == Outcome::Applied),
                events: None,
                effective_status: Some(state.effective_status()),
                blocked_by: Some(words(&state)),
            }
        }
        Ok(Completion::Replayed(stored)) => ResultDocument {
            operation,
            account,
            status: stored.status,
            code: None,
            message: Some("answered before, under the same Idempotency-Key".to_owned()),
            changed: None,
            events: None,
            effective_status: None,
            blocked_by: None,
        },
        // A repeat is answered as the deletion was.
        Err(Error::AccountDeleted) if status == 204 => ResultDocument {
            account,
            status,
            code: None,
            message: None,
            changed: Some(false),
            ..failed(operation, Failure::from(Error::AccountDeleted).code())
        },
        Err(error) => ResultDocument {
            account,
            ..failed(operation, Failure::from(error).code())
        },
    }
}

/// An operation as it stands in a request to `POST /v3/bulk`, in JSON; what it is called, too. `deletion` is the command that
/// deletes.
///
/// # Errors
/// What is wrong with it, for people.
pub fn operation(json: &str, deletion: Command) -> Result<(String, Item), String> {
    let request: OperationRequest =
        wire::decode(Codec::Json, json.as_bytes()).map_err(|error| error.to_string())?;
    let name = request.operation.clone();
    let read = || {
        let account = request
            .account
            .as_ref()
            .ok_or_else(|| Error::invalid("account", "is required"))?
            .named()?;
        let command = request.clone().command(
            Reading {
                codec: Codec::Json,
                zone: Tz::UTC,
            },
            deletion,
        )?;
        Ok(Item {
            account,
            command,
            once: None,
        })
    };
    let said = |error: Error| Failure::from(error).code().message;
    read().map(|item| (name, item)).map_err(said)
}

/// The operations of the body, each with its command or what is wrong with it.
fn read(api: &Api, call: &Call, context: &Context) -> Result<Vec<Step>, Failure> {
    let operations = call.members::<Operations>()?.checked()?;
    let reading = call.reading(context);
    Ok(operations
        .into_iter()
        .map(|operation| {
            (
                operation.clone(),
                operation.command(reading, api.service.deletion()),
            )
        })
        .collect())
}
