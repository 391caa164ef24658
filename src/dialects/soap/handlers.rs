//! The operations, carried out: values into commands, outcomes into results. No rule of the lifecycle is here.

use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use super::codes::{Code, Failure};
use super::operations::{
    EMAIL, EXPIRY_DATE, NAME, Operation, PASSWORD, PAYMENT_URL, STATUS, TOKEN, Verb,
};
use super::values::Values;
use super::{Api, Meta};
use crate::dialects::{Ending, dates};
use crate::domain::{
    Account, AccountId, Command, Dialect, Email, Error, HoldId, HoldKind, HoldPatch, Patch,
    PaymentUrl, ProfilePatch, Revision, Scope, Status, Time,
};
use crate::hash::sha256;
use crate::service::{
    AccountRef, CommandOutcome, Completion, Context, IdempotencyKey, IdempotentRequest,
    StoredAnswer,
};

/// A result, before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) code: Code,
    pub(super) message: String,
    /// What stands in `Joson`; empty in most operations.
    pub(super) joson: String,
    /// Whether this reseller wants numbers.
    pub(super) as_number: bool,
    pub(super) ending: Ending,
}

/// An outcome, or bytes that were stored for a repeat.
pub(super) enum Answer {
    Outcome(Outcome),
    Replayed(StoredAnswer),
    /// The credential asks too often.
    RateLimited {
        retry_after: u32,
    },
}

/// Carries an operation out. Checks come in this order: token, account, ownership, action.
pub(super) async fn run(
    api: &Api,
    operation: &'static Operation,
    values: &Values,
    meta: &Meta,
) -> Answer {
    let mut as_number = false;
    let outcome = match authenticate(api, operation, values, meta).await {
        Ok(context) => {
            as_number = context.principal.soap_numbers;
            carry_out(api, operation, values, meta, &context).await
        }
        Err(failure) => Err(failure),
    };
    match outcome {
        Ok(Reached::Done(message)) => Answer::Outcome(success(message, String::new(), as_number)),
        Ok(Reached::Info(info)) => Answer::Outcome(success(info.clone(), info, as_number)),
        Ok(Reached::Replayed(stored)) => Answer::Replayed(stored),
        Err(Failure::Service(Error::RateLimited { retry_after })) => {
            Answer::RateLimited { retry_after }
        }
        Err(failure) => Answer::Outcome(failed(
            &failure,
            operation,
            api.settings.hide_foreign_accounts,
            as_number,
        )),
    }
}

enum Reached {
    Done(String),
    Info(String),
    Replayed(StoredAnswer),
}

fn success(message: String, joson: String, as_number: bool) -> Outcome {
    Outcome {
        code: Code::Success,
        message,
        joson,
        as_number,
        ending: Ending::Ok,
    }
}

fn failed(
    failure: &Failure,
    operation: &Operation,
    hide_foreign: bool,
    as_number: bool,
) -> Outcome {
    let (code, message) = failure.result(operation, hide_foreign);
    let ending = match failure {
        Failure::Service(Error::Unavailable | Error::Overloaded) => Ending::Unavailable,
        Failure::Service(Error::Internal { .. }) => Ending::Error,
        Failure::Service(_) | Failure::Missing(_) => Ending::Refused,
    };
    Outcome {
        code,
        message,
        joson: String::new(),
        as_number,
        ending,
    }
}

async fn authenticate(
    api: &Api,
    operation: &Operation,
    values: &Values,
    meta: &Meta,
) -> Result<Context, Failure> {
    let token = values.text(TOKEN).trim();
    if token.is_empty() {
        return Err(Error::CredentialMissing.into());
    }
    let principal = meta
        .allowance
        .authenticate(&api.service, &SecretString::from(token))
        .await?;
    principal.require(if operation.verb == Verb::Info {
        Scope::AccountRead
    } else {
        Scope::AccountWrite
    })?;
    Ok(Context {
        principal,
        dialect: Dialect::Soap,
        request_id: meta.request_id.to_string(),
    })
}

async fn carry_out(
    api: &Api,
    operation: &'static Operation,
    values: &Values,
    meta: &Meta,
    context: &Context,
) -> Result<Reached, Failure> {
    if operation.verb == Verb::Create {
        return create(api, operation, values, meta, context).await;
    }
    let account = api
        .service
        .find(context, naming(operation, values)?)
        .await?;
    if operation.verb == Verb::Info {
        let (found, now) = api.service.account(context, account).await?;
        return Ok(Reached::Info(info(&found, now)));
    }
    let once = once(api, operation, meta, context);
    let command = match operation.verb {
        Verb::Suspend => place(HoldKind::Suspend, HoldPatch::default()),
        Verb::Activate => Command::Lift {
            kind: HoldKind::Suspend,
            only: None,
        },
        Verb::Unfreeze => Command::Lift {
            kind: HoldKind::Freeze,
            only: None,
        },
        Verb::Freeze => place(
            HoldKind::Freeze,
            HoldPatch {
                payment_url: payment_url(values.text(PAYMENT_URL))?,
                ..HoldPatch::default()
            },
        ),
        Verb::ChangeExpiry => {
            let at = values
                .expiry(context.principal.timezone)
                .map_err(|()| Error::invalid("expires_at", "is out of range"))?;
            Command::SetExpiry(Some(at.ok_or(Failure::Missing(EXPIRY_DATE))?))
        }
        Verb::UpdateStatus => match values.text(STATUS).trim() {
            "" => return Err(Failure::Missing(STATUS)),
            word => Command::SetStatus(
                Status::parse(word)
                    .ok_or_else(|| Error::invalid("status", "must be active or inactive"))?,
            ),
        },
        Verb::Delete => {
            return Ok(reached(
                api.service.delete(context, account, once).await?,
                operation,
            ));
        }
        Verb::Info | Verb::Create => return Ok(Reached::Done(String::new())),
    };
    Ok(reached(
        api.service.execute(context, account, command, once).await?,
        operation,
    ))
}

fn reached(answered: Completion, operation: &Operation) -> Reached {
    match answered {
        Completion::Fresh(_) => Reached::Done(operation.success.to_owned()),
        Completion::Replayed(stored) => Reached::Replayed(stored),
    }
}

fn naming(operation: &Operation, values: &Values) -> Result<AccountRef, Error> {
    if operation.is_by_id() {
        AccountId::new(i64::from(values.account_id)).map(AccountRef::Id)
    } else {
        Email::parse(values.text(EMAIL).trim()).map(AccountRef::Email)
    }
}

fn place(kind: HoldKind, details: HoldPatch) -> Command {
    Command::Place {
        kind,
        fresh: HoldId(Uuid::now_v7()),
        details,
    }
}

fn payment_url(text: &str) -> Result<Patch<PaymentUrl>, Error> {
    let text = text.trim();
    if text.is_empty() {
        Ok(Patch::Keep)
    } else {
        PaymentUrl::parse(text).map(Patch::Set)
    }
}

/// Nobody logs in here, so a password is checked for being there and kept nowhere.
async fn create(
    api: &Api,
    operation: &'static Operation,
    values: &Values,
    meta: &Meta,
    context: &Context,
) -> Result<Reached, Failure> {
    let name = values.text(NAME).trim();
    if name.is_empty() {
        return Err(Failure::Missing(NAME));
    }
    let email = Email::parse(values.text(EMAIL).trim())?;
    if values.text(PASSWORD).is_empty() {
        return Err(Error::invalid("password", "must not be empty").into());
    }
    let profile = ProfilePatch {
        name: Patch::Set(name.to_owned()),
        email: Patch::Set(email),
        tariff_id: Patch::Set(values.plan_id),
        ..ProfilePatch::default()
    };
    let revision = Revision {
        profile,
        ..Revision::default()
    };
    Ok(reached(
        api.service
            .create(context, None, revision, once(api, operation, meta, context))
            .await?,
        operation,
    ))
}

fn once(
    api: &Api,
    operation: &'static Operation,
    meta: &Meta,
    context: &Context,
) -> Option<IdempotentRequest> {
    let key = meta.idempotency_key.clone()?;
    let key = IdempotencyKey {
        reseller: context.principal.storage_reseller(),
        method: "POST".to_owned(),
        path: format!("{}/{}", super::PATH, operation.name),
        key,
    };
    let (version, hide, as_number) = (
        meta.version,
        api.settings.hide_foreign_accounts,
        context.principal.soap_numbers,
    );
    let encode = move |done: &Result<CommandOutcome, Error>| {
        // What may be better next time is not kept: an answer of 500 and more never is.
        let is_lasting = !matches!(
            done,
            Err(Error::Unavailable | Error::Overloaded | Error::Internal { .. })
        );
        let outcome = match done {
            Ok(_) => success(operation.success.to_owned(), String::new(), as_number),
            Err(error) => failed(&Failure::Service(error.clone()), operation, hide, as_number),
        };
        let body = super::write_result(version, operation, &outcome).into_bytes();
        StoredAnswer {
            status: if is_lasting { 200 } else { 503 },
            content_type: version.content_type().to_owned(),
            body,
        }
    };
    Some(IdempotentRequest {
        key,
        fingerprint: sha256(&meta.body),
        encode: std::sync::Arc::new(encode),
    })
}

/// The account as JSON, as it stands in `Message` and `Joson`.
fn info(account: &Account, now: Time) -> String {
    let state = account.state(now);
    let profile = &account.profile;
    json!({
        "AccountID": account.id.as_i32(),
        "BlockedBy": state.blocked_by().iter().map(|block| block.as_str()).collect::<Vec<_>>(),
        "Company": profile.company,
        "CreationDate": dates::write(account.created_at),
        "EffectiveStatus": state.effective_status(),
        "Email": profile.email.as_ref().map(Email::as_str),
        "ExpiryDate": account.expires_at.map(dates::write),
        "Name": profile.name,
        "PaymentUrl": account.payment_url(now).map(PaymentUrl::as_str),
        "PlanID": profile.tariff_id,
        "Status": account.status.as_str(),
        "UID": account.uid,
    })
    .to_string()
}
