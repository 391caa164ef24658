//! The answers of `explain` and `timeline`: why an account is blocked, and its past and future
//! changes.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::codes;
use super::replies::{EntryItem, entry_item, object};
use crate::dialects::dates;
use crate::dialects::views::{Viewer, blocked_by, needs, page_of_entries};
use crate::domain::{Account, AccountId, BlockDetail, EXTENSION, Error, Level, Lift, Time};
use crate::service::{Explained, JournalEntry, Slice, Suspension};
use crate::wire::Codec;

/// Past and future changes of an account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminTimeline)]
pub(super) struct TimelineItem {
    /// The number before which `history` goes on. Absent if `past` has the oldest entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_before: Option<i64>,
    /// The newest entries of the journal, newest first: at most 100, and at most 1 MiB.
    #[schema(value_type = Vec<EntryItem>)]
    past: Vec<Value>,
    /// The suspensions of the account's reseller since the account was created, newest first, at
    /// most 100. They blocked the account without changing it, so the journal does not have them.
    reseller_suspensions: Vec<SuspensionItem>,
    /// Scheduled changes that happen without a request, earliest first.
    upcoming: Vec<UpcomingItem>,
}

/// A scheduled change that happens without a request.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminUpcoming)]
struct UpcomingItem {
    /// When the change happens.
    at: String,
    /// The authority of the hold. Null if the change does not concern a hold.
    authority: Option<&'static str>,
    /// The UUID of the hold. Null if the change does not concern a hold.
    hold_id: Option<String>,
    /// The kind of the hold. Null if the change does not concern a hold.
    kind: Option<&'static str>,
    /// The owner of the hold. Null if it has none in particular, or if the change does not concern a
    /// hold.
    owner: Option<String>,
    /// The state after this change, if nothing else changes the account before.
    state_after: &'static str,
    /// The change: `hold_starts`, `hold_ends`, `expires` or `purge`.
    what: &'static str,
}

/// A suspension of the account's reseller.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminSuspension)]
struct SuspensionItem {
    /// When the suspension was lifted. Null if it stands.
    lifted_at: Option<String>,
    /// Who lifted it. Null if it stands, or if an earlier version of the service lifted it.
    lifted_by: Option<String>,
    suspended_at: String,
    /// Who suspended the reseller. Null if an earlier version of the service did.
    suspended_by: Option<String>,
}

fn suspension_item(suspension: &Suspension) -> SuspensionItem {
    SuspensionItem {
        lifted_at: suspension.lifted_at.map(dates::write),
        lifted_by: suspension.lifted_by.clone(),
        suspended_at: dates::write(suspension.suspended_at),
        suspended_by: suspension.suspended_by.clone(),
    }
}

pub(super) fn timeline(
    account: &Account,
    entries: Slice<JournalEntry>,
    suspensions: &[Suspension],
    now: Time,
    codec: Codec,
) -> Value {
    let changes = account.upcoming(now).into_iter().map(|change| {
        let (what, hold) = (change.what.kind(), change.what.hold().cloned());
        UpcomingItem {
            at: dates::write(change.at),
            authority: hold.as_ref().map(|hold| hold.authority.as_str()),
            hold_id: hold.as_ref().map(|hold| hold.id.to_string()),
            kind: hold.as_ref().map(|hold| hold.kind.as_str()),
            owner: hold.and_then(|hold| hold.owner).map(|it| it.to_string()),
            state_after: change.state.effective_status(),
            what: what.as_str(),
        }
    });
    let (past, next_before) = page_of_entries(entries, |entry| entry_item(entry, codec), codec);
    Value::Object(object(&TimelineItem {
        next_before,
        past,
        reseller_suspensions: suspensions.iter().map(suspension_item).collect(),
        upcoming: changes.collect(),
    }))
}

/// Why an account is blocked.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminExplanation)]
pub(super) struct ExplanationItem {
    /// What blocks the account now. Empty if it may be used.
    blocked_by: Vec<&'static str>,
    blocks: Vec<BlockItem>,
    /// The computed state of the account.
    effective_status: &'static str,
    /// The holds that limit the account, whose user may then only read, and the warnings, which
    /// close nothing. `level` has `limit` or `warn`.
    milder: Vec<BlockItem>,
    /// `pay` if paying unblocks the account, else null.
    remedy: Option<&'static str>,
    /// The strongest level of what is in force: `none`, `warn`, `limit` or `block`.
    restriction: &'static str,
}

/// One block, and the call that lifts it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminBlock)]
struct BlockItem {
    /// The block, one of the values of `blocked_by`.
    block: &'static str,
    /// The call that lifts the block. Null if this caller cannot make it, or no call of this dialect
    /// lifts the block.
    call: Option<CallItem>,
    /// The UUID of the hold that causes the block. Null if no hold does.
    hold_id: Option<String>,
    /// How far this restricts the account: `block`, `limit` or `warn`.
    level: &'static str,
    /// The authorities that may lift the block.
    lifted_by: Vec<&'static str>,
    /// Who can lift the block instead, or what must come first. Null if `call` is there.
    needs: Option<String>,
    /// The owner of the hold, within its authority. Null if it has none in particular.
    owner: Option<String>,
    /// Where the user pays. Null unless the block is a freeze that has a URL.
    payment_url: Option<String>,
    /// The actor that placed the hold.
    placed_by: Option<String>,
    public_message: Option<String>,
    /// The internal reason. Null unless the caller's authority placed the hold.
    reason: Option<String>,
    reason_code: Option<String>,
    /// When the block began.
    since: String,
    /// The state after that call, if nothing else changes.
    state_after: &'static str,
    /// When the block ends automatically. Null if it stays until it is lifted.
    until: Option<String>,
}

/// A complete call, ready to send.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminCall)]
struct CallItem {
    /// The JSON body, without the token.
    body: String,
    /// A curl command line. Replace `$TOKEN` by the token.
    curl: String,
    method: &'static str,
    path: String,
}

/// Writes an explanation as `explain` answers it. `base` is the service's base URL, used in the
/// command lines.
pub(super) fn explanation(explained: &Explained, base: &str, viewer: Viewer) -> Value {
    let explanation = &explained.explanation;
    let state = &explanation.state;
    let (of_blocks, of_milder) = explained
        .obstacles
        .split_at(explanation.blocks.len().min(explained.obstacles.len()));
    let items = |blocks: &[BlockDetail], obstacles: &[Option<Error>]| {
        let blocks = blocks.iter().zip(obstacles);
        blocks
            .map(|(block, obstacle)| {
                block_item(&explained.account, block, obstacle.as_ref(), base, viewer)
            })
            .collect()
    };
    Value::Object(object(&ExplanationItem {
        blocked_by: blocked_by(state),
        blocks: items(&explanation.blocks, of_blocks),
        effective_status: state.effective_status(),
        milder: items(&explanation.milder, of_milder),
        remedy: explanation.remedy().map(crate::domain::Remedy::as_str),
        restriction: state.restriction(),
    }))
}

fn block_item(
    account: &Account,
    detail: &BlockDetail,
    obstacle: Option<&Error>,
    base: &str,
    viewer: Viewer,
) -> BlockItem {
    let call = obstacle.map_or_else(
        || call_that_lifts(account.id, detail, base, viewer),
        |_| None,
    );
    let needs = match obstacle {
        Some(obstacle) => Some(needs(detail, obstacle, |error| {
            codes::code(&error.clone().into()).error_text
        })),
        None if call.is_none() => Some(format!(
            "POST /v3/resellers/{0}/unsuspend, or the command: steward reseller unsuspend {0}",
            account.reseller_id
        )),
        None => None,
    };
    let hold = detail.hold.as_ref();
    let details = hold.map(|hold| &hold.details);
    BlockItem {
        block: detail.block.as_str(),
        call,
        hold_id: hold.map(|hold| hold.id.to_string()),
        level: details
            .map_or(Level::Block, |details| details.level)
            .as_str(),
        lifted_by: detail
            .lifted_by
            .iter()
            .map(|authority| authority.as_str())
            .collect(),
        needs,
        owner: hold
            .and_then(|hold| hold.owner.as_ref())
            .map(ToString::to_string),
        payment_url: details
            .and_then(|details| details.payment_url.as_ref())
            .map(|url| url.as_str().to_owned()),
        placed_by: hold.map(|hold| hold.opened_by.clone()),
        public_message: details.and_then(|details| details.public_message.clone()),
        reason: hold
            .and_then(|hold| hold.reason_seen_by(viewer.authority))
            .cloned(),
        reason_code: details.and_then(|details| details.reason_code.clone()),
        since: dates::write(detail.since),
        state_after: detail.state_after.effective_status(),
        until: detail.until.map(dates::write),
    }
}

/// The call of this dialect that lifts a block. `None` if only the command line or another dialect
/// can lift it.
fn call_that_lifts(
    account: AccountId,
    detail: &BlockDetail,
    base: &str,
    viewer: Viewer,
) -> Option<CallItem> {
    let id = account.as_i32();
    let named_hold = || {
        let hold = detail.hold.as_ref();
        let hold_id = hold.map(|hold| hold.id.to_string());
        match hold.and_then(|hold| hold.owner.as_ref()) {
            Some(owner) => {
                serde_json::json!({ "hold_id": hold_id, "id": id, "owner": owner.as_str() })
            }
            None => serde_json::json!({ "hold_id": hold_id, "id": id }),
        }
    };
    let (call, body) = match detail.lift {
        Lift::Unfreeze => ("unfreeze", named_hold()),
        Lift::Unsuspend => ("unsuspend", named_hold()),
        Lift::Activate => ("activate", serde_json::json!({ "id": id })),
        Lift::Restore => ("restore", serde_json::json!({ "id": id })),
        Lift::ExtendExpiry => {
            let next_year = dates::write(viewer.now + EXTENSION);
            (
                "expiry_date",
                serde_json::json!({ "expiry_date": next_year, "id": id }),
            )
        }
        Lift::UnsuspendReseller => return None,
    };
    let path = format!("/api/v1.1/admin/accounts/{call}");
    let body = body.to_string();
    let curl = format!(
        "curl -X POST '{base}{path}' -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' -d '{body}'"
    );
    Some(CallItem {
        body,
        curl,
        method: "POST",
        path,
    })
}
