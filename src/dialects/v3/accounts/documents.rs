//! The documents of accounts, in answers: Cryptlex's members in their order, then ours.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::dialects::dates;
use crate::dialects::v3::journal_names::{self, ActorDocument};
use crate::dialects::v3::plans::PlanDocument;
use crate::dialects::v3::resellers::{SuspensionDocument, suspension};
use crate::dialects::views::{Viewer, blocked_by, page_of_entries, words};
use crate::domain::{Account, Hold, HoldKind, Owner, PaymentUrl, Remedy, Time};
use crate::service::{JournalEntry, Slice, Suspension};
use crate::wire::Codec;

/// An account: the 21 members of Cryptlex in their order, then ours. Cryptlex's clients cannot read
/// null in its members: a text that is not known is empty, a number 0. In ours null is possible.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Account)]
pub(in crate::dialects::v3) struct AccountDocument {
    id: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    company: String,
    email: String,
    status: &'static str,
    admin_portal_domain: String,
    customer_portal_domain: String,
    reseller_portal_domain: String,
    website: String,
    logo_url: String,
    favicon_url: String,
    google_client_id: String,
    /// When its trial ends or ended. The time of creation if it never had one.
    #[schema(format = DateTime)]
    trial_expires_at: String,
    /// Its plan. The built-in plan `none`, with the nil UUID, if it has none.
    plan: PlanDocument,
    company_id: String,
    account_alias: String,
    region: String,
    payment_method: String,
    psp: String,
    total_trial_extensions: i32,
    /// When the account expires. Null if it never does.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// The open holds.
    holds: Vec<HoldDocument>,
    /// The computed state of the account.
    effective_status: &'static str,
    /// What blocks the account now. Empty if it may be used.
    blocked_by: Vec<&'static str>,
    /// A number that each change of the account increases by 1; also its `ETag`.
    version: i64,
    /// Until this instant the account does not expire, is not purged, and gets no holds from the
    /// system. Null if it is not exempt.
    #[schema(format = DateTime)]
    exempt_until: Option<String>,
    /// When the account will be purged. Null if no purge is planned.
    #[schema(format = DateTime)]
    purge_due_at: Option<String>,
    /// Texts for the reseller's own programs, by name.
    metadata: BTreeMap<String, String>,
    /// The strongest level of what is in force: `none`, `warn`, `limit` or `block`.
    restriction: &'static str,
    /// What limits the account, as `blockedBy` says what blocks it.
    limited_by: Vec<&'static str>,
    /// What its user is warned of.
    warned_by: Vec<&'static str>,
    /// A ticket that lifts the freeze once, without a token. Only in the answer to a freeze that
    /// asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub(in crate::dialects::v3) release_ticket: Option<String>,
}

/// A hold: a block with its own authority, reason and period.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Hold)]
pub(in crate::dialects::v3) struct HoldDocument {
    id: String,
    kind: &'static str,
    authority: &'static str,
    /// For whom the authority holds the account, such as `billing`. Null if for nobody in particular.
    owner: Option<String>,
    /// How far the hold restricts the account: `block`, `limit` or `warn`.
    level: &'static str,
    /// Whether the hold has started and not ended.
    in_force: bool,
    /// When the hold took effect, or will.
    #[schema(format = DateTime)]
    since: String,
    /// When the hold starts. Null if it started at once.
    #[schema(format = DateTime)]
    starts_at: Option<String>,
    /// When the hold ends automatically. Null if it stays until it is lifted.
    #[schema(format = DateTime)]
    ends_at: Option<String>,
    reason_code: Option<String>,
    /// The internal reason. Null unless the caller's authority placed the hold.
    reason: Option<String>,
    public_message: Option<String>,
    payment_url: Option<String>,
    #[schema(format = DateTime)]
    opened_at: String,
    /// The actor that placed the hold.
    opened_by: String,
}

pub(in crate::dialects::v3) fn account(account: &Account, viewer: Viewer) -> AccountDocument {
    let state = account.state(viewer.now);
    let profile = (*account.profile).clone();
    let text = Option::unwrap_or_default;
    AccountDocument {
        id: account.uid.to_string(),
        created_at: dates::write(account.created_at),
        updated_at: dates::write(account.updated_at),
        company: text(profile.company),
        email: text(profile.email.map(|email| email.as_str().to_owned())),
        status: account.status.as_str(),
        admin_portal_domain: text(profile.admin_portal_domain),
        customer_portal_domain: text(profile.customer_portal_domain),
        reseller_portal_domain: text(profile.reseller_portal_domain),
        website: text(profile.website),
        logo_url: text(profile.logo_url),
        favicon_url: text(profile.favicon_url),
        google_client_id: text(profile.google_client_id),
        trial_expires_at: dates::write(profile.trial_expires_at.unwrap_or(account.created_at)),
        plan: account
            .plan
            .as_deref()
            .map_or_else(PlanDocument::none, PlanDocument::of),
        company_id: text(profile.company_id),
        account_alias: text(profile.account_alias),
        region: text(profile.region),
        payment_method: text(profile.payment_method),
        psp: text(profile.psp),
        total_trial_extensions: profile.total_trial_extensions.unwrap_or_default(),
        expires_at: account.expires_at.map(dates::write),
        holds: holds(account, viewer),
        effective_status: state.effective_status(),
        blocked_by: blocked_by(&state),
        restriction: state.restriction(),
        limited_by: words(state.limited_by()),
        warned_by: words(state.warned_by()),
        version: account.version,
        exempt_until: account.exempt_until.map(dates::write),
        purge_due_at: account.purge_due_at.map(dates::write),
        metadata: profile.metadata.unwrap_or_default().0,
        release_ticket: None,
    }
}

/// The open holds, without those that have ended.
pub(in crate::dialects::v3) fn holds(account: &Account, viewer: Viewer) -> Vec<HoldDocument> {
    account
        .holds
        .iter()
        .filter(|hold| !hold.has_lapsed(viewer.now))
        .map(|open| hold(open, viewer))
        .collect()
}

pub(super) fn hold(hold: &Hold, viewer: Viewer) -> HoldDocument {
    let details = hold.details.clone();
    HoldDocument {
        id: hold.id.to_string(),
        kind: hold.kind.as_str(),
        authority: hold.authority.as_str(),
        owner: hold.owner.as_ref().map(Owner::to_string),
        level: details.level.as_str(),
        in_force: hold.in_force(viewer.now),
        since: dates::write(hold.since()),
        starts_at: details.starts_at.map(dates::write),
        ends_at: details.ends_at.map(dates::write),
        reason_code: details.reason_code,
        reason: hold.reason_seen_by(viewer.authority).cloned(),
        public_message: details.public_message,
        payment_url: details.payment_url.map(|url| url.as_str().to_owned()),
        opened_at: dates::write(hold.opened_at),
        opened_by: hold.opened_by.clone(),
    }
}

/// Whether an account may be used now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Access)]
pub(in crate::dialects::v3) struct AccessDocument {
    /// Whether the account may be used.
    allowed: bool,
    effective_status: &'static str,
    blocked_by: Vec<&'static str>,
    /// `pay` if paying unblocks the account, else null.
    remedy: Option<&'static str>,
    /// Where the user pays. Null if no freeze has a URL.
    payment_url: Option<String>,
    /// The message for the user: from the strongest hold, and of equals from a suspension before a
    /// freeze. Null if there is none.
    public_message: Option<String>,
    /// The strongest level of what is in force: `none`, `warn`, `limit` (the user may only read) or
    /// `block`.
    level: &'static str,
    /// What limits the account, as `blockedBy` says what blocks it.
    limited_by: Vec<&'static str>,
    /// What its user is warned of.
    warned_by: Vec<&'static str>,
}

pub(in crate::dialects::v3) fn access(account: &Account, now: Time) -> AccessDocument {
    let state = account.state(now);
    let messages = account.holds.iter().filter_map(|hold| {
        let rank = match hold.kind {
            HoldKind::Suspend => 1,
            HoldKind::Freeze => 0,
            HoldKind::Retention => return None,
        };
        let message = hold.details.public_message.clone();
        let message = message.filter(|_| hold.in_force(now))?;
        Some(((hold.details.level, rank), message))
    });
    let message = messages.max_by_key(|(rank, _)| *rank);
    AccessDocument {
        allowed: state.blocked_by().is_empty(),
        level: state.restriction(),
        limited_by: words(state.limited_by()),
        warned_by: words(state.warned_by()),
        effective_status: state.effective_status(),
        blocked_by: blocked_by(&state),
        remedy: state.remedy().map(Remedy::as_str),
        payment_url: account
            .payment_url(now)
            .map(PaymentUrl::as_str)
            .map(str::to_owned),
        public_message: message.map(|(_, message)| message),
    }
}

/// An entry of the journal.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = JournalEntry)]
pub(in crate::dialects::v3) struct EntryDocument {
    id: i64,
    #[schema(format = DateTime)]
    at: String,
    /// The account's version after the entry. Null if nothing changed.
    sequence: Option<i64>,
    action: String,
    /// `applied`, `unchanged` or `refused`.
    outcome: String,
    /// Why the operation was refused. Null if it was not.
    refusal: Option<String>,
    events: Vec<String>,
    authority: String,
    /// Who made the change.
    actor: ActorDocument,
    dialect: String,
    request_id: String,
    /// The values before the change, of the members of the account that changed. In `holds` are the
    /// holds that were changed or closed.
    #[schema(value_type = Object)]
    before: Value,
    /// The values after the change.
    #[schema(value_type = Object)]
    after: Value,
}

/// An entry of the journal in an answer. `created_at` is when its account was created.
pub(in crate::dialects::v3) fn entry(entry: &JournalEntry, created_at: Time) -> EntryDocument {
    let (actor, entry) = (journal_names::actor(entry), entry.clone());
    EntryDocument {
        id: entry.id,
        at: dates::write(entry.at),
        sequence: entry.sequence,
        action: entry.action,
        outcome: entry.outcome,
        refusal: entry.refusal,
        events: entry.events,
        authority: entry.authority,
        actor,
        dialect: entry.dialect,
        request_id: entry.request_id,
        before: Value::Object(journal_names::facts(&entry.before, created_at)),
        after: Value::Object(journal_names::facts(&entry.after, created_at)),
    }
}

/// Past and future changes of an account.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Timeline)]
pub(in crate::dialects::v3) struct TimelineDocument {
    /// A page of the journal, newest entry first.
    past: Vec<EntryDocument>,
    /// The suspensions of the account's reseller since the account was created, newest first, at
    /// most 100. They blocked the account without changing it, so the journal does not have them.
    reseller_suspensions: Vec<SuspensionDocument>,
    /// Scheduled changes that happen without a request, earliest first.
    upcoming: Vec<UpcomingDocument>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Upcoming)]
struct UpcomingDocument {
    #[schema(format = DateTime)]
    at: String,
    /// The change: `hold_starts`, `hold_ends`, `expires` or `purge`.
    what: &'static str,
    /// The kind of the hold. Null if the change does not concern a hold.
    kind: Option<&'static str>,
    authority: Option<&'static str>,
    hold_id: Option<String>,
    /// The owner of the hold. Null if it has none in particular, or if the change does not concern a
    /// hold.
    owner: Option<String>,
    /// The state after this change, if nothing else changes the account before.
    state_after: &'static str,
}

/// The timeline, and the number of the entry before which the next page of the past begins. `None`
/// if there is no next page.
pub(in crate::dialects::v3) fn timeline(
    account: &Account,
    entries: Slice<JournalEntry>,
    suspensions: &[Suspension],
    now: Time,
    format: Codec,
) -> (TimelineDocument, Option<i64>) {
    let changes = account.upcoming(now).into_iter().map(|change| {
        let (what, hold) = (change.what.kind(), change.what.hold().cloned());
        UpcomingDocument {
            at: dates::write(change.at),
            what: what.as_str(),
            kind: hold.as_ref().map(|hold| hold.kind.as_str()),
            authority: hold.as_ref().map(|hold| hold.authority.as_str()),
            hold_id: hold.as_ref().map(|hold| hold.id.to_string()),
            owner: hold.and_then(|hold| hold.owner).map(|it| it.to_string()),
            state_after: change.state.effective_status(),
        }
    });
    let (past, next) = page_of_entries(entries, |it| entry(it, account.created_at), format);
    let document = TimelineDocument {
        past,
        reseller_suspensions: suspensions.iter().map(suspension).collect(),
        upcoming: changes.collect(),
    };
    (document, next)
}
