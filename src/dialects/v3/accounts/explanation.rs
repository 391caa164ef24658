//! The answer of `explain`: why an account is blocked, and what lifts each block.

use serde::Serialize;
use utoipa::ToSchema;

use super::documents::{HoldDocument, hold};
use crate::dialects::dates;
use crate::dialects::v3::{ACCOUNTS, codes};
use crate::dialects::views::{Viewer, blocked_by, needs};
use crate::domain::{Account, BlockDetail, EXTENSION, Error, Level, Lift, Remedy, Time};
use crate::service::Explained;

/// Why an account is blocked.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Explanation)]
pub(in crate::dialects::v3) struct ExplanationDocument {
    effective_status: &'static str,
    blocked_by: Vec<&'static str>,
    /// `pay` if paying unblocks the account, else null.
    remedy: Option<&'static str>,
    blocks: Vec<BlockDocument>,
    /// The strongest level of what is in force: `none`, `warn`, `limit` or `block`.
    restriction: &'static str,
    /// The holds that limit the account: its user may only read.
    limits: Vec<BlockDocument>,
    /// The holds that close nothing. The product shows the user a warning.
    warnings: Vec<BlockDocument>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Block)]
struct BlockDocument {
    /// The block, one of the values of `blockedBy`.
    block: &'static str,
    #[schema(format = DateTime)]
    since: String,
    /// When the block ends automatically. Null if it stays until it is lifted.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// The hold that causes the block. Null if no hold does.
    hold: Option<HoldDocument>,
    /// The authorities that may lift the block.
    lifted_by: Vec<&'static str>,
    /// The call that lifts the block. Null if this caller cannot make it.
    call: Option<CallDocument>,
    /// Who can lift the block instead, or what must come first. Null if `call` is there.
    needs: Option<String>,
    /// The state after that call, if nothing else changes.
    state_after: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Call)]
struct CallDocument {
    method: &'static str,
    path: String,
    /// The JSON body.
    body: String,
    /// A curl command line. Replace `$TOKEN` by the token.
    curl: String,
}

pub(in crate::dialects::v3) fn explanation(
    explained: &Explained,
    base: &str,
    viewer: Viewer,
) -> ExplanationDocument {
    let explanation = &explained.explanation;
    let state = &explanation.state;
    let block = |(detail, obstacle): (&BlockDetail, &Option<Error>)| BlockDocument {
        block: detail.block.as_str(),
        since: dates::write(detail.since),
        until: detail.until.map(dates::write),
        hold: detail.hold.as_ref().map(|open| hold(open, viewer)),
        lifted_by: detail
            .lifted_by
            .iter()
            .map(|authority| authority.as_str())
            .collect(),
        call: match obstacle {
            None => Some(call_that_lifts(
                &explained.account,
                detail,
                base,
                viewer.now,
            )),
            Some(_) => None,
        },
        needs: obstacle.as_ref().map(|obstacle| {
            needs(detail, obstacle, |error| {
                codes::code(&error.clone().into()).message
            })
        }),
        state_after: detail.state_after.effective_status(),
    };
    let (of_blocks, of_milder) = explained
        .obstacles
        .split_at(explanation.blocks.len().min(explained.obstacles.len()));
    let milder = |level| {
        let milder = explanation.milder.iter().zip(of_milder);
        let is_level = move |(detail, _): &(&BlockDetail, &Option<Error>)| {
            let hold = detail.hold.as_ref();
            hold.is_some_and(|hold| hold.details.level == level)
        };
        milder.filter(is_level).map(block).collect()
    };
    ExplanationDocument {
        effective_status: state.effective_status(),
        blocked_by: blocked_by(state),
        remedy: explanation.remedy().map(Remedy::as_str),
        blocks: explanation
            .blocks
            .iter()
            .zip(of_blocks)
            .map(block)
            .collect(),
        restriction: state.restriction(),
        limits: milder(Level::Limit),
        warnings: milder(Level::Warn),
    }
}

/// The members that name the hold to lift.
fn named_hold(detail: &BlockDetail) -> serde_json::Value {
    let hold = detail.hold.as_ref();
    let id = hold.map(|hold| hold.id.to_string());
    match hold.and_then(|hold| hold.owner.as_ref()) {
        Some(owner) => serde_json::json!({ "holdId": id, "owner": owner.as_str() }),
        None => serde_json::json!({ "holdId": id }),
    }
}

/// The call that lifts a block.
fn call_that_lifts(account: &Account, detail: &BlockDetail, base: &str, now: Time) -> CallDocument {
    let (method, tail, body) = match detail.lift {
        Lift::Unfreeze => ("POST", "unfreeze", named_hold(detail)),
        Lift::Unsuspend => ("POST", "unsuspend", named_hold(detail)),
        Lift::Restore => ("POST", "restore", serde_json::json!({})),
        Lift::Activate => ("PUT", "status", serde_json::json!({ "status": "active" })),
        Lift::ExtendExpiry => (
            "PUT",
            "expires-at",
            serde_json::json!({ "expiresAt": dates::write(now + EXTENSION) }),
        ),
        Lift::UnsuspendReseller => ("POST", "unsuspend", serde_json::json!({})),
    };
    let path = if detail.lift == Lift::UnsuspendReseller {
        format!("/v3/resellers/{}/{tail}", account.reseller_id)
    } else {
        format!("{ACCOUNTS}/{}/{tail}", account.uid)
    };
    let body = body.to_string();
    let curl = format!(
        "curl -X {method} '{base}{path}' -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' -d '{body}'"
    );
    CallDocument {
        method,
        path,
        body,
        curl,
    }
}
