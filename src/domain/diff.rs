//! The facts that differ between an account before and after a change, for the journal.

use std::borrow::Cow;

use super::{
    Account, Authority, Fact, FieldChange, Hold, HoldChange, HoldKind, Level, Status, Time,
};

/// Every field whose value differs, with the value before and after.
pub(super) fn differences(before: &Account, after: &Account) -> Vec<FieldChange> {
    let text = |status: Status| Fact::Text(status.as_str().to_owned());
    let time = |at: Option<Time>| at.map_or(Fact::Null, Fact::Time);
    let mut fields = Vec::new();
    let mut compare = |field: &'static str, before: Fact, after: Fact| {
        if before != after {
            fields.push(FieldChange {
                field: field.into(),
                before,
                after,
            });
        }
    };
    compare("status", text(before.status), text(after.status));
    compare(
        "expires_at",
        time(before.expires_at),
        time(after.expires_at),
    );
    compare(
        "exempt_until",
        time(before.exempt_until),
        time(after.exempt_until),
    );
    compare(
        "deleted_at",
        time(before.deleted_at),
        time(after.deleted_at),
    );
    compare("purge_at", time(before.purge_at), time(after.purge_at));
    compare(
        "purge_due_at",
        time(before.purge_due_at),
        time(after.purge_due_at),
    );
    if before.profile != after.profile {
        for ((field, before), (_, after)) in before
            .profile
            .facts()
            .into_iter()
            .zip(after.profile.facts())
        {
            compare(field, before, after);
        }
    }
    fields
}

/// One field per hold change. A command that replaces a lapsed hold gives two: one for the hold
/// that it closes and one for the hold that it opens.
pub(super) fn hold_differences(changes: &[HoldChange]) -> impl Iterator<Item = FieldChange> + '_ {
    changes.iter().map(|change| {
        let (hold, before, after) = match change {
            HoldChange::Opened(hold) => (hold, Fact::Null, hold_fact(hold)),
            HoldChange::Revised { hold, replaced } => (hold, hold_fact(replaced), hold_fact(hold)),
            HoldChange::Begun(hold) => {
                let scheduled = Hold {
                    has_begun: false,
                    ..hold.clone()
                };
                (hold, hold_fact(&scheduled), hold_fact(hold))
            }
            HoldChange::Closed { hold, .. } => (hold, hold_fact(hold), Fact::Null),
        };
        FieldChange {
            field: hold_field(hold),
            before,
            after,
        }
    })
}

/// The name of a hold in the journal: kind, authority and owner.
fn hold_field(hold: &Hold) -> Cow<'static, str> {
    let name = match (hold.kind, hold.authority) {
        (HoldKind::Freeze, Authority::Operator) => "freeze:operator",
        (HoldKind::Freeze, Authority::Reseller) => "freeze:reseller",
        (HoldKind::Freeze, Authority::System) => "freeze:system",
        (HoldKind::Suspend, Authority::Operator) => "suspend:operator",
        (HoldKind::Suspend, Authority::Reseller) => "suspend:reseller",
        (HoldKind::Suspend, Authority::System) => "suspend:system",
        (HoldKind::Retention, Authority::Operator) => "retention:operator",
        (HoldKind::Retention, Authority::Reseller) => "retention:reseller",
        (HoldKind::Retention, Authority::System) => "retention:system",
    };
    match &hold.owner {
        Some(owner) => Cow::Owned(format!("{name}:{owner}")),
        None => Cow::Borrowed(name),
    }
}

/// What is usual is left out: a hold that has begun, and the level of a block.
fn hold_fact(hold: &Hold) -> Fact {
    let text = |text: Option<&String>| text.map_or(Fact::Null, Fact::from);
    let time = |at: Option<Time>| at.map_or(Fact::Null, Fact::Time);
    let word = |text: &str| Fact::Text(text.to_owned());
    let details = &hold.details;
    let payment_url = details.payment_url.as_ref();
    let level = Some(details.level).filter(|level| *level != Level::Block);
    let facts = [
        ("id", Fact::Text(hold.id.to_string())),
        ("reason_code", text(details.reason_code.as_ref())),
        ("reason", text(details.reason.as_ref())),
        ("public_message", text(details.public_message.as_ref())),
        (
            "payment_url",
            payment_url.map_or(Fact::Null, |url| word(url.as_str())),
        ),
        ("starts_at", time(details.starts_at)),
        ("ends_at", time(details.ends_at)),
        ("level", level.map_or(Fact::Null, |it| word(it.as_str()))),
        ("opened_at", Fact::Time(hold.opened_at)),
        ("opened_by", word(&hold.opened_by)),
        ("revision", Fact::Number(i64::from(hold.revision))),
        (
            "scheduled",
            if hold.has_begun {
                Fact::Null
            } else {
                Fact::Bool(true)
            },
        ),
    ];
    Fact::Object(
        facts
            .into_iter()
            .filter(|(_, fact)| *fact != Fact::Null)
            .collect(),
    )
}
