//! `steward account explain`

use serde_json::{Value, json};

use super::target::label;
use super::{authority_in_words, human, in_words};
use crate::cli::{CommandError, output};
use crate::dialects::dates;
use crate::domain::{
    Account, Authority, BlockDetail, Explanation, Level, Lift, Owner, PaymentUrl, Remedy,
};
use crate::service::{Principal, Reseller, Service};

pub(super) async fn run(
    service: &Service,
    account: &Account,
    json: bool,
) -> Result<(), CommandError> {
    let explanation = account.explain(service.now());
    let owner = service
        .reseller(&Principal::command_line(), account.reseller_id)
        .await?;
    if json {
        output::json(&document(account, &explanation));
        return Ok(());
    }
    let state = match explanation.blocks.as_slice() {
        [] => "may be used".to_owned(),
        [_] => "is blocked".to_owned(),
        blocks => format!("is blocked, {} times", blocks.len()),
    };
    output::line(&format!(
        "account {} of reseller {} {} {state}",
        label(account),
        owner.id,
        owner.name
    ));
    for block in explanation.blocks.iter().chain(&explanation.milder) {
        output::line("");
        show(account, block, &owner);
    }
    if explanation.remedy() == Some(Remedy::Pay) {
        output::line("");
        output::line("Its user may use it again after paying.");
    }
    Ok(())
}

fn show(account: &Account, block: &BlockDetail, owner: &Reseller) {
    let level = block.hold.as_ref().map(|hold| hold.details.level);
    output::line(&match level {
        Some(Level::Limit) => format!(
            "{}, as a limit: its user may only read",
            in_words(block.block)
        ),
        Some(Level::Warn) => format!("{}, as a warning: nothing is closed", in_words(block.block)),
        Some(Level::Block) | None => in_words(block.block).to_owned(),
    });
    let details = block.hold.as_ref().map(|hold| &hold.details);
    let text = |value: fn(&crate::domain::HoldDetails) -> Option<&String>| {
        details.and_then(value).cloned()
    };
    let hold_owner = block.hold.as_ref().and_then(|hold| hold.owner.as_ref());
    let who: Vec<_> = block
        .lifted_by
        .iter()
        .map(|authority| match hold_owner {
            Some(owner) => format!("{owner}, of {}", authority_in_words(*authority)),
            None => authority_in_words(*authority).to_owned(),
        })
        .collect();
    let after = match block.state_after.blocked_by() {
        [] => "may be used".to_owned(),
        blocks => format!("still blocked: {}", super::blocks_in_words(blocks)),
    };
    let rows = [
        ("since", Some(human(block.since))),
        ("until", block.until.map(human)),
        (
            "placed by",
            block.hold.as_ref().map(|hold| hold.opened_by.clone()),
        ),
        ("code", text(|details| details.reason_code.as_ref())),
        ("reason", text(|details| details.reason.as_ref())),
        ("message", text(|details| details.public_message.as_ref())),
        (
            "payment",
            details
                .and_then(|details| details.payment_url.as_ref())
                .map(|url| url.as_str().to_owned()),
        ),
        ("lifted by", Some(who.join(" or "))),
        ("how", Some(how(account, block, owner))),
        ("then", Some(after)),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            output::line(&format!("  {name:<10} {value}"));
        }
    }
}

/// The command that lifts a block, or the call of its reseller if the operator may not.
fn how(account: &Account, block: &BlockDetail, owner: &Reseller) -> String {
    if let Some(command) = command(account, block) {
        return command;
    }
    let is_hold = matches!(block.lift, Lift::Unfreeze | Lift::Unsuspend);
    if is_hold && block.lifted_by.contains(&Authority::Reseller) {
        return format!(
            "curl -X POST \"$STEWARD_URL/v3/accounts/{}/{}\" -H \"Authorization: Bearer $TOKEN\", \
             with a token of reseller {} {} in TOKEN",
            account.id,
            call(block.lift),
            owner.id,
            owner.name
        );
    }
    "it ends by itself".to_owned()
}

fn call(lift: Lift) -> &'static str {
    match lift {
        Lift::Unfreeze => "unfreeze",
        Lift::Unsuspend => "unsuspend",
        Lift::Restore => "restore",
        Lift::Activate => "activate",
        Lift::ExtendExpiry => "expiry",
        Lift::UnsuspendReseller => "",
    }
}

/// The command of the operator's command line that lifts a block. `None` if the operator may not
/// lift it.
fn command(account: &Account, block: &BlockDetail) -> Option<String> {
    let may = block.lifted_by.contains(&Authority::Operator);
    let id = account.id;
    may.then(|| match block.lift {
        Lift::UnsuspendReseller => format!("steward reseller unsuspend {}", account.reseller_id),
        Lift::ExtendExpiry => format!("steward account expiry {id} DATE, or never for DATE"),
        lift @ (Lift::Unfreeze | Lift::Unsuspend | Lift::Restore | Lift::Activate) => {
            let owner = block.hold.as_ref().and_then(|hold| hold.owner.as_ref());
            let flag = owner.map_or_else(String::new, |owner| format!(" --owner {owner}"));
            format!("steward account {} {id}{flag}", call(lift))
        }
    })
}

fn document(account: &Account, explanation: &Explanation) -> Value {
    let block = |block: &BlockDetail| {
        let details = block.hold.as_ref().map(|hold| &hold.details);
        json!({
            "block": block.block.as_str(),
            "since": dates::write(block.since),
            "until": block.until.map(dates::write),
            "hold_id": block.hold.as_ref().map(|hold| hold.id.to_string()),
            "owner": block.hold.as_ref().and_then(|hold| hold.owner.as_ref()).map(Owner::as_str),
            "level": details.map(|details| details.level.as_str()),
            "placed_by": block.hold.as_ref().map(|hold| &hold.opened_by),
            "reason_code": details.and_then(|details| details.reason_code.as_ref()),
            "reason": details.and_then(|details| details.reason.as_ref()),
            "public_message": details.and_then(|details| details.public_message.as_ref()),
            "payment_url": details
                .and_then(|details| details.payment_url.as_ref())
                .map(PaymentUrl::as_str),
            "lifted_by": block.lifted_by.iter().map(|by| by.as_str()).collect::<Vec<_>>(),
            "command": command(account, block),
            "state_after": block.state_after.effective_status(),
        })
    };
    let state = &explanation.state;
    json!({
        "id": account.id.as_i32(),
        "uid": account.uid,
        "reseller_id": account.reseller_id.0,
        "effective_status": state.effective_status(),
        "blocked_by": state.blocked_by().iter().map(|it| it.as_str()).collect::<Vec<_>>(),
        "remedy": explanation.remedy().map(Remedy::as_str),
        "blocks": explanation.blocks.iter().map(block).collect::<Vec<_>>(),
    })
}
