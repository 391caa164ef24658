//! The answers of `explain` and `timeline`: why an account is blocked, and its past and future
//! changes.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::replies::{EntryItem, entry_item, object};
use crate::dialects::dates;
use crate::dialects::views::{Viewer, blocked_by, page_of_entries, upcoming};
use crate::domain::{Account, AccountId, BlockDetail, Explanation, HoldKind, Lift, Time};
use crate::service::{JournalEntry, Slice};
use crate::wire::Codec;

/// Past and future changes of an account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminTimeline)]
pub(super) struct TimelineItem {
    /// The number before which `history` goes on. Absent if `past` has the oldest entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_before: Option<i64>,
    /// The newest entries of the journal, newest first: at most 100, and at most 1 MiB.
    #[schema(value_type = Vec<EntryItem>)]
    past: Vec<Value>,
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
    /// The state after this change, if nothing else changes the account before.
    state_after: &'static str,
    /// The change: `hold_starts`, `hold_ends`, `expires` or `purge`.
    what: &'static str,
}

pub(super) fn timeline(
    account: &Account,
    entries: Slice<JournalEntry>,
    now: Time,
    codec: Codec,
) -> Value {
    let changes = account.upcoming(now).into_iter().map(|change| {
        let (what, hold) = upcoming(change.what);
        UpcomingItem {
            at: dates::write(change.at),
            authority: hold.map(|(_, authority, _)| authority.as_str()),
            hold_id: hold.map(|(.., id)| id.to_string()),
            kind: hold.map(|(kind, ..)| kind.as_str()),
            state_after: change.state.effective_status(),
            what,
        }
    });
    let (past, next_before) = page_of_entries(entries, |entry| entry_item(entry, codec), codec);
    Value::Object(object(&TimelineItem {
        next_before,
        past,
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
    /// `pay` if paying unblocks the account, else null.
    remedy: Option<&'static str>,
}

/// One block, and the call that lifts it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminBlock)]
struct BlockItem {
    /// The block, one of the values of `blocked_by`.
    block: &'static str,
    /// The call that lifts the block. Null if no call of this dialect can.
    call: Option<CallItem>,
    /// The UUID of the hold that causes the block. Null if no hold does.
    hold_id: Option<String>,
    /// The authorities that may lift the block.
    lifted_by: Vec<&'static str>,
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
pub(super) fn explanation(
    account: AccountId,
    explanation: &Explanation,
    base: &str,
    viewer: Viewer,
) -> Value {
    let state = &explanation.state;
    Value::Object(object(&ExplanationItem {
        blocked_by: blocked_by(state),
        blocks: explanation
            .blocks
            .iter()
            .map(|block| block_item(account, block, base, viewer))
            .collect(),
        effective_status: state.effective_status(),
        remedy: explanation.remedy().map(crate::domain::Remedy::as_str),
    }))
}

fn block_item(account: AccountId, detail: &BlockDetail, base: &str, viewer: Viewer) -> BlockItem {
    let hold = detail.hold.as_ref();
    let details = hold.map(|hold| &hold.details);
    BlockItem {
        block: detail.block.as_str(),
        call: call_that_lifts(account, detail, base, viewer),
        hold_id: hold.map(|hold| hold.id.to_string()),
        lifted_by: detail
            .lifted_by
            .iter()
            .map(|authority| authority.as_str())
            .collect(),
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
    let (call, body) = match detail.lift {
        Lift::Unfreeze => {
            let hold = detail
                .hold
                .as_ref()
                .filter(|hold| hold.kind == HoldKind::Freeze)?;
            (
                "unfreeze",
                serde_json::json!({ "hold_id": hold.id.to_string(), "id": id }),
            )
        }
        Lift::Unsuspend => ("unsuspend", serde_json::json!({ "id": id })),
        Lift::Activate => ("activate", serde_json::json!({ "id": id })),
        Lift::Restore => ("restore", serde_json::json!({ "id": id })),
        Lift::ExtendExpiry => {
            let next_year = dates::write(viewer.now + chrono::TimeDelta::days(365));
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
