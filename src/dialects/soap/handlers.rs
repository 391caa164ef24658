//! The handlers of the operations: values become commands, and outcomes become results.

use serde_json::json;

use super::Api;
use super::call::{Answer, Call};
use super::values::{EMAIL, EXPIRY_DATE, NAME, PASSWORD, PAYMENT_URL, STATUS};
use crate::dialects::dates;
use crate::dialects::failure::Failure;
use crate::dialects::patches::place_hold;
use crate::dialects::views::blocked_by;
use crate::domain::{
    Account, AccountId, Command, Email, Error, HoldKind, HoldPatch, Patch, PaymentUrl,
    ProfilePatch, Revision, Status, Time,
};
use crate::service::{AccountRef, Context};

type HandlerResult = Result<Answer, Failure>;

pub(super) async fn suspend(api: &Api, context: &Context, call: &Call) -> HandlerResult {
    let account = account(api, context, call).await?;
    let command = place_hold(HoldKind::Suspend, HoldPatch::default());
    execute(api, context, call, account, command).await
}

/// Lifts the caller's suspension. Other blocks stay.
pub(super) async fn activate(api: &Api, context: &Context, call: &Call) -> HandlerResult {
    let account = account(api, context, call).await?;
    execute(api, context, call, account, lift(HoldKind::Suspend)).await
}

pub(super) async fn freeze(api: &Api, context: &Context, call: &Call) -> HandlerResult {
    let account = account(api, context, call).await?;
    let payment_url = match call.values.text(PAYMENT_URL).trim() {
        "" => Patch::Keep,
        url => Patch::Set(PaymentUrl::parse(url)?),
    };
    let details = HoldPatch {
        payment_url,
        ..HoldPatch::default()
    };
    execute(
        api,
        context,
        call,
        account,
        place_hold(HoldKind::Freeze, details),
    )
    .await
}

pub(super) async fn unfreeze(api: &Api, context: &Context, call: &Call) -> HandlerResult {
    let account = account(api, context, call).await?;
    execute(api, context, call, account, lift(HoldKind::Freeze)).await
}

pub(super) async fn change_expiry(api: &Api, context: &Context, call: &Call) -> HandlerResult {
    let account = account(api, context, call).await?;
    let zone = api.service.zone_of(context, AccountRef::Id(account));
    let at = call.values.expiry(zone.await?);
    let at = at.map_err(|()| Error::invalid("expires_at", "is out of range"))?;
    let command = Command::SetExpiry(Some(at.ok_or(Failure::Missing(EXPIRY_DATE))?));
    execute(api, context, call, account, command).await
}

pub(super) async fn update_status(api: &Api, context: &Context, call: &Call) -> HandlerResult {
    let account = account(api, context, call).await?;
    let word = call.values.text(STATUS).trim();
    if word.is_empty() {
        return Err(Failure::Missing(STATUS));
    }
    let status =
        Status::parse(word).ok_or_else(|| Error::must_be("status", "active or inactive", word))?;
    execute(api, context, call, account, Command::SetStatus(status)).await
}

pub(super) async fn delete(api: &Api, context: &Context, call: &Call) -> HandlerResult {
    let account = account(api, context, call).await?;
    execute(api, context, call, account, api.service.deletion()).await
}

pub(super) async fn info(api: &Api, context: &Context, call: &Call) -> HandlerResult {
    let account = account(api, context, call).await?;
    let (found, now) = api.service.account(context, account).await?;
    Ok(Answer::Info(document(&found, now)))
}

/// Creates an account. Zoolz requires a password, so this operation does too; it is not stored,
/// because accounts cannot sign in here.
pub(super) async fn create(api: &Api, context: &Context, call: &Call) -> HandlerResult {
    let name = call.values.text(NAME).trim();
    if name.is_empty() {
        return Err(Failure::Missing(NAME));
    }
    let email = Email::parse(call.values.text(EMAIL).trim())?;
    if call.values.text(PASSWORD).is_empty() {
        return Err(Error::invalid("password", "must not be empty").into());
    }
    let profile = ProfilePatch {
        name: Patch::Set(name.to_owned()),
        email: Patch::Set(email),
        tariff_id: Patch::Set(call.values.plan_id),
        ..ProfilePatch::default()
    };
    let revision = Revision {
        profile,
        ..Revision::default()
    };
    Ok(api
        .service
        .create(context, None, revision, call.idempotency())
        .await?
        .into())
}

/// Finds the account that the request names, by number or by e-mail address.
async fn account(api: &Api, context: &Context, call: &Call) -> Result<AccountId, Error> {
    let account = if call.wording.is_by_id {
        AccountRef::Id(AccountId::new(i64::from(call.values.account_id))?)
    } else {
        AccountRef::Email(Email::parse(call.values.text(EMAIL).trim())?)
    };
    api.service.find(context, account).await
}

async fn execute(
    api: &Api,
    context: &Context,
    call: &Call,
    account: AccountId,
    command: Command,
) -> HandlerResult {
    Ok(api
        .service
        .execute(context, account, command, call.idempotency())
        .await?
        .into())
}

fn lift(kind: HoldKind) -> Command {
    Command::Lift { kind, only: None }
}

/// The account as JSON, for `Message` and `Joson`.
fn document(account: &Account, now: Time) -> String {
    let state = account.state(now);
    let profile = &account.profile;
    json!({
        "AccountID": account.id.as_i32(),
        "BlockedBy": blocked_by(&state),
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
