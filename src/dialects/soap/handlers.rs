//! The handlers of the operations: values become commands, and outcomes become results.

use std::collections::BTreeMap;

use serde_json::json;

use super::Api;
use super::call::{Answer, Call, HandlerResult};
use super::codes::Subject;
use super::plans;
use super::values::{
    ACCOUNT_ID, COMPANY_NAME, COMPUTERS_LIMIT, EMAIL, EXPIRY_DATE, LANGUAGE, NAME, NETWORK_DRIVE,
    PASSWORD, PAYMENT_URL, PLAN_ID, STATUS,
};
use crate::dialects::dates;
use crate::dialects::failure::Failure;
use crate::dialects::patches::place_hold;
use crate::dialects::views::blocked_by;
use crate::domain::{
    Account, AccountId, Command, Email, Error, HoldKind, HoldPatch, Metadata, Patch, PaymentUrl,
    ProfilePatch, Revision, Status, Time,
};
use crate::service::{AccountRef, Context};

/// Zoolz's least length of a password, in characters.
const MIN_PASSWORD: usize = 6;

pub(super) async fn suspend(api: &Api, context: &Context, call: &Call) -> HandlerResult {
    let account = account(api, context, call).await?;
    let command = place_hold(HoldKind::Suspend, None, HoldPatch::default());
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
        place_hold(HoldKind::Freeze, None, details),
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
    let at = at.map_err(|()| Error::invalid("expires_at", "must be in the years 1970 to 9999"))?;
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

/// There are no passwords to compare with, so none is right.
pub(super) async fn info_by_password(api: &Api, context: &Context, call: &Call) -> HandlerResult {
    account(api, context, call).await?;
    let problem = if call.values.text(PASSWORD).is_empty() {
        "Missing Main Parameters (password)"
    } else {
        "Invalid password, please check password"
    };
    Err(Error::invalid("password", problem).into())
}

/// Always refused: there are no passwords.
pub(super) async fn reset_password(api: &Api, context: &Context, call: &Call) -> HandlerResult {
    account(api, context, call).await?;
    if call.values.text(PASSWORD).is_empty() {
        return Err(short_password().into());
    }
    check_password(call)?;
    Err(Error::invalid("passwords", "are not kept by this service").into())
}

/// Always refused: there are no network drives.
pub(super) async fn toggle_network_drive(
    api: &Api,
    context: &Context,
    call: &Call,
) -> HandlerResult {
    account(api, context, call).await?;
    Err(Error::invalid("network drives", "do not exist in this service").into())
}

/// Gives an account another plan.
pub(super) async fn upgrade(api: &Api, context: &Context, call: &Call) -> HandlerResult {
    let account = account(api, context, call).await?;
    let number = call.values.number(PLAN_ID);
    let plan = plans::numbered(api, context, Some(account), number).await?;
    let profile = ProfilePatch {
        plan_id: Patch::Set(plan),
        ..ProfilePatch::default()
    };
    let revision = Revision {
        profile,
        ..Revision::default()
    };
    execute(
        api,
        context,
        call,
        account,
        Command::Revise(Box::new(revision)),
    )
    .await
}

/// Creates an account. The password is checked as Zoolz does and not kept, because accounts cannot
/// sign in here.
pub(super) async fn create(api: &Api, context: &Context, call: &Call) -> HandlerResult {
    let name = call.values.text(NAME).trim();
    if name.is_empty() {
        return Err(Failure::Missing(NAME));
    }
    let email = Email::parse(call.values.text(EMAIL).trim())?;
    check_password(call)?;
    let plan_id = match call.values.number(PLAN_ID) {
        0 => Patch::Keep,
        number => Patch::Set(plans::numbered(api, context, None, number).await?),
    };
    let company = match call.values.text(COMPANY_NAME).trim() {
        "" => Patch::Keep,
        company => Patch::Set(company.to_owned()),
    };
    let profile = ProfilePatch {
        name: Patch::Set(name.to_owned()),
        email: Patch::Set(email),
        company,
        plan_id,
        metadata: wishes(call),
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

/// What the operations like `CreateAccountWithLanguage` ask for besides the account, as metadata:
/// this service has no use for it, but the reseller's own programs may.
fn wishes(call: &Call) -> Patch<Metadata> {
    let values = &call.values;
    let number = |child| match values.number(child) {
        0 => String::new(),
        number => number.to_string(),
    };
    let network_drive = if values.flag(NETWORK_DRIVE) {
        "true"
    } else {
        ""
    };
    let language = match values.text(LANGUAGE).trim().parse::<i32>() {
        Ok(0) | Err(_) => number(LANGUAGE),
        Ok(written) => written.to_string(),
    };
    let wishes = [
        ("language", language),
        ("networkDrive", network_drive.to_owned()),
        ("computersLimit", number(COMPUTERS_LIMIT)),
    ];
    let wishes: BTreeMap<_, _> = wishes
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    if wishes.is_empty() {
        Patch::Keep
    } else {
        Patch::Set(Metadata(wishes))
    }
}

/// Checks a password, unless it is empty.
fn check_password(call: &Call) -> Result<(), Error> {
    match call.values.text(PASSWORD).chars().count() {
        1..MIN_PASSWORD => Err(short_password()),
        _ => Ok(()),
    }
}

fn short_password() -> Error {
    Error::invalid(
        "password",
        format!("Invalid Password, Minimum {MIN_PASSWORD} characters"),
    )
}

/// Finds the account that the request names, by number or by e-mail address.
async fn account(api: &Api, context: &Context, call: &Call) -> Result<AccountId, Error> {
    let account = if call.wording.subject == Subject::AccountId {
        AccountRef::Id(AccountId::new(i64::from(call.values.number(ACCOUNT_ID)))?)
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
    Command::Lift {
        kind,
        owner: None,
        only: None,
    }
}

/// The account as JSON: Zoolz's members, which are never null, and ours. Nobody tells this service
/// what an account stores and when it is used, so these are 0 and empty. `Capacity` is that of the
/// plan, in GB.
fn document(account: &Account, now: Time) -> String {
    let state = account.state(now);
    let profile = &account.profile;
    let plan = account.plan.as_deref();
    let end = account.expires_at.map(dates::write);
    json!({
        "AccountID": account.id.as_i32(),
        "Capacity": plan.map_or(0, plans::capacity),
        "ColdCapacity": 0,
        "ColdUsedSpace": 0,
        "LastActivity": "",
        "LastBackup": "",
        "LastDownload": "",
        "RegEndDate": end.as_deref().unwrap_or_default(),
        "UsedSpace": 0,
        "BlockedBy": blocked_by(&state),
        "Company": profile.company,
        "CreationDate": dates::write(account.created_at),
        "EffectiveStatus": state.effective_status(),
        "Email": profile.email.as_ref().map(Email::as_str).unwrap_or_default(),
        "ExpiryDate": end,
        "Name": profile.name.as_deref().unwrap_or_default(),
        "PaymentUrl": account.payment_url(now).map(PaymentUrl::as_str),
        "PlanID": profile.tariff_id.unwrap_or_default(),
        "Status": account.status.as_str(),
        "UID": account.uid,
    })
    .to_string()
}
