//! `steward account show`

use super::{authority_in_words, blocks_in_words, human};
use crate::cli::{CommandError, output};
use crate::domain::{Account, Hold};
use crate::service::{Principal, Service};

/// Prints everything about an account that an import can set, and its state.
pub(super) async fn run(
    service: &Service,
    account: &Account,
    json: bool,
) -> Result<(), CommandError> {
    let now = service.now();
    if json {
        output::json(&output::account(account, now));
        return Ok(());
    }
    let owner = service
        .reseller(&Principal::command_line(), account.reseller_id)
        .await?;
    let (state, profile) = (account.state(now), &account.profile);
    let tariff = || {
        let number = profile.tariff_id?;
        Some(format!("{number}, which is the number of no plan"))
    };
    let plan = account
        .plan
        .as_ref()
        .map(|plan| format!("{} {}", plan.number, plan.terms.name))
        .or_else(tariff);
    let email = profile
        .email
        .as_ref()
        .map(|email| email.as_str().to_owned());
    let rows = [
        ("account", Some(account.id.to_string())),
        ("uid", Some(account.uid.to_string())),
        ("reseller", Some(format!("{} {}", owner.id, owner.name))),
        ("e-mail", email),
        ("name", profile.name.clone()),
        ("title", profile.title.clone()),
        ("company", profile.company.clone()),
        ("timezone", profile.timezone.clone()),
        ("plan", plan),
        ("status", Some(account.status.as_str().to_owned())),
        (
            "state",
            Some(match state.blocked_by() {
                [] => "may be used".to_owned(),
                blocks => format!("blocked: {}", blocks_in_words(blocks)),
            }),
        ),
        (
            "expires",
            Some(account.expires_at.map_or_else(|| "never".to_owned(), human)),
        ),
        ("deleted", account.deleted_at.map(human)),
        ("created", Some(human(account.created_at))),
        ("changed", Some(human(account.updated_at))),
        ("version", Some(account.version.to_string())),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            output::line(&format!("{name:<9} {value}"));
        }
    }
    for (name, value) in profile.metadata.iter().flat_map(|metadata| &metadata.0) {
        output::line(&format!("metadata.{name} {value}"));
    }
    for hold in &account.holds {
        show_hold(hold);
    }
    Ok(())
}

/// Prints an open hold.
fn show_hold(hold: &Hold) {
    output::line(&format!(
        "{} by {} since {}",
        hold.kind.as_str(),
        authority_in_words(hold.authority),
        human(hold.details.starts_at.unwrap_or(hold.opened_at))
    ));
    let details = &hold.details;
    let rows = [
        ("until", details.ends_at.map(human)),
        ("code", details.reason_code.clone()),
        ("reason", details.reason.clone()),
        ("message", details.public_message.clone()),
        (
            "payment",
            details
                .payment_url
                .as_ref()
                .map(|url| url.as_str().to_owned()),
        ),
        ("id", Some(hold.id.to_string())),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            output::line(&format!("  {name:<8} {value}"));
        }
    }
}
