//! The table of operations, and the routes generated from it.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::routing::{MethodFilter, MethodRouter};

use super::accounts::documents::{
    AccessDocument, AccountDocument, EntryDocument, HoldDocument, TimelineDocument,
};
use super::accounts::explanation::ExplanationDocument;
use super::accounts::requests::{
    AccountRequest, AssignPlan, Lift, Place, SetExemption, SetExpiry, SetStatus,
};
use super::bulk::{BulkDocument, SimulationDocument};
use super::bulk_jobs::{BulkItemDocument, BulkJobDocument, BulkJobRequest};
use super::call::NoMembers;
use super::dispatch::dispatch;
use super::event_document::EventDocument;
use super::event_logs::EventLogDocument;
use super::operation::{Handler, Operation, Run, run};
use super::operation_request::Operations;
use super::page::Paging;
use super::page::{
    AS_OF, AS_OF_LIST, ITEM_STATE, ONE_RESELLER, PURGE_RESELLER, RESELLER, SUCCEEDED, UNTIL,
    WEBHOOK, WHAT,
};
use super::path_id::{EntryId, EventLogId, JobId, PathId, PlanId, WebhookId};
use super::personal_access_tokens::{
    NewPersonalAccessToken, PersonalAccessTokenDocument, RevokeToken,
};
use super::plans::{NewPlan, NumberedPlan, PlanPatch};
use super::purge::{ApprovalDocument, PlannedDocument};
use super::release_tickets::{Redeem, ReleaseDocument};
use super::resellers::{ResellerDocument, ResellerRequest, SuspensionDocument};
use super::respond::{Answer, Many, Nothing, One, Reply};
use super::snapshot::Lines;
use super::tokens::{NewToken, RotateToken, TokenDocument};
use super::upcoming::ComingDocument;
use super::users::UserDocument;
use super::webhook_logs::LogDocument;
use super::webhooks::{
    EventNames, NewWebhook, Queued, Redeliver, RotateSecret, WebhookDocument, WebhookRequest,
};
use super::{
    Api, accounts, bulk, bulk_jobs, event_logs, events, log_page, personal_access_tokens, plans,
    purge, release_tickets, resellers, snapshot, tokens, upcoming, users, webhook_logs, webhooks,
};
use crate::dialects::body;
use crate::dialects::failure::Failure;
use crate::dialects::operation::BodyLimit;
use crate::dialects::schemas::describe;
use crate::domain::Scope::{
    AccountRead, AccountWrite, ResellerWrite, TokenWrite, WebhookRead, WebhookWrite,
};
use crate::domain::{AccountId, ResellerId, TokenId};

/// All operations.
#[rustfmt::skip]
pub const OPERATIONS: &[Operation] = &[
    Operation::get("/v3/accounts", "accounts_list")
        .about("accounts", "List accounts: by page, or by cursor at any depth")
        .scope(AccountRead).paged(Paging::Search).sorted(|| accounts::list::FIELDS.to_vec()).query(&[AS_OF_LIST]).heavy()
        .run(run!(accounts::list, (()) -> 200 Many<AccountDocument>)),
    Operation::post("/v3/accounts", "accounts_create")
        .about("accounts", "Create an account")
        .scope(AccountWrite).idempotent()
        .example(r#"{"email":"new@example.com","company":"Acme"}"#)
        .run(run!(accounts::create, ((), AccountRequest) -> 201 One<AccountDocument>)),
    Operation::get("/v3/accounts/{id}", "accounts_get")
        .about("accounts", "Read an account")
        .scope(AccountRead).query(&[AS_OF])
        .run(run!(accounts::get, (AccountId) -> 200 One<AccountDocument>)),
    Operation::patch("/v3/accounts/{id}", "accounts_patch")
        .about("accounts", "Change an account; absent members keep their values")
        .changes_account()
        .example(r#"{"company":"Acme"}"#)
        .run(run!(accounts::patch, (AccountId, AccountRequest) -> 200 One<AccountDocument>)),
    Operation::put("/v3/accounts/{id}/status", "accounts_status")
        .about("accounts", "Activate or deactivate an account")
        .changes_account()
        .example(r#"{"status":"active"}"#)
        .run(run!(accounts::status, (AccountId, SetStatus) -> 200 One<AccountDocument>)),
    Operation::put("/v3/accounts/{id}/expires-at", "accounts_expires_at")
        .about("accounts", "Change the expiry date; null means never")
        .changes_account()
        .example(r#"{"expiresAt":"2027-12-31T23:59:59Z"}"#)
        .run(run!(accounts::expires_at, (AccountId, SetExpiry) -> 200 One<AccountDocument>)),
    Operation::put("/v3/accounts/{id}/plan", "accounts_plan")
        .about("accounts", "Assign a plan; null removes it")
        .changes_account()
        .example(r#"{"planId":null}"#)
        .run(run!(accounts::plan, (AccountId, AssignPlan) -> 200 One<AccountDocument>)),
    Operation::post("/v3/accounts/{id}/freeze", "accounts_freeze")
        .about("accounts", "Freeze an account because a payment is due")
        .changes_account()
        .example(r#"{"paymentUrl":"https://example.com"}"#)
        .secret()
        .run(run!(accounts::freeze, (AccountId, Place) -> 200 One<AccountDocument>)),
    Operation::post("/v3/accounts/{id}/unfreeze", "accounts_unfreeze")
        .about("accounts", "Lift the caller's freeze")
        .changes_account()
        .run(run!(accounts::unfreeze, (AccountId, Lift) -> 200 One<AccountDocument>)),
    Operation::post("/v3/accounts/{id}/suspend", "accounts_suspend")
        .about("accounts", "Suspend an account")
        .changes_account()
        .example(r#"{"reasonCode":"abuse"}"#)
        .run(run!(accounts::suspend, (AccountId, Place) -> 200 One<AccountDocument>)),
    Operation::post("/v3/accounts/{id}/unsuspend", "accounts_unsuspend")
        .about("accounts", "Lift the caller's suspension")
        .changes_account()
        .run(run!(accounts::unsuspend, (AccountId, Lift) -> 200 One<AccountDocument>)),
    Operation::post("/v3/accounts/{id}/retain", "accounts_retain")
        .about("accounts", "Forbid deletion and purge of an account, without blocking its use")
        .changes_account()
        .example(r#"{"reasonCode":"legal"}"#)
        .run(run!(accounts::retain, (AccountId, Place) -> 200 One<AccountDocument>)),
    Operation::post("/v3/accounts/{id}/release", "accounts_release")
        .about("accounts", "Lift the caller's retention")
        .changes_account()
        .run(run!(accounts::release, (AccountId, Lift) -> 200 One<AccountDocument>)),
    Operation::put("/v3/accounts/{id}/exempt-until", "accounts_exempt_until")
        .about("accounts", "Exempt an account from automation until an instant; null ends the exemption")
        .changes_account()
        .example(r#"{"exemptUntil":null}"#)
        .run(run!(accounts::exempt_until, (AccountId, SetExemption) -> 200 One<AccountDocument>)),
    Operation::delete("/v3/accounts/{id}", "accounts_delete")
        .about("accounts", "Delete an account; it can be restored until it is purged")
        .changes_account()
        .run(run!(accounts::delete, (AccountId) -> 204 Nothing)),
    Operation::post("/v3/accounts/{id}/restore", "accounts_restore")
        .about("accounts", "Restore a deleted account")
        .changes_account()
        .run(run!(accounts::restore, (AccountId) -> 200 One<AccountDocument>)),
    Operation::get("/v3/accounts/{id}/holds", "accounts_holds")
        .about("accounts", "List the open holds of an account")
        .scope(AccountRead).query(&[AS_OF])
        .run(run!(accounts::holds, (AccountId) -> 200 Many<HoldDocument>)),
    Operation::get("/v3/accounts/{id}/history", "accounts_history")
        .about("accounts", "Read an account's journal, newest entry first")
        .scope(AccountRead).paged(Paging::BeforeNumber)
        .run(run!(accounts::history, (AccountId) -> 200 Many<EntryDocument>)),
    Operation::get("/v3/accounts/{id}/timeline", "accounts_timeline")
        .about("accounts", "Read the past and scheduled changes of an account")
        .scope(AccountRead).paged(Paging::BeforeNumber)
        .run(run!(accounts::timeline, (AccountId) -> 200 One<TimelineDocument>)),
    Operation::get("/v3/accounts/{id}/explain", "accounts_explain")
        .about("accounts", "Explain why an account is blocked, and which call lifts each block")
        .scope(AccountRead)
        .run(run!(accounts::explain, (AccountId) -> 200 One<ExplanationDocument>)),
    Operation::get("/v3/accounts/{id}/access", "accounts_access")
        .about("accounts", "Check whether an account may be used now, and whether paying would unblock it")
        .scope(AccountRead).query(&[AS_OF])
        .run(run!(accounts::access, (AccountId) -> 200 One<AccessDocument>)),
    Operation::post("/v3/accounts/{id}/simulate", "accounts_simulate")
        .about("accounts", "Compute what operations would do to an account, without executing them")
        .scope(AccountRead).while_suspended().heavy()
        .example(r#"{"operations":[{"operation":"freeze","paymentUrl":"https://example.com"},{"operation":"status","status":"inactive"}]}"#)
        .run(run!(bulk::simulate, (AccountId, Operations) -> 200 One<SimulationDocument>)),
    Operation::get("/v3/upcoming", "upcoming_list")
        .about("accounts", "List what time will do to accounts: holds that begin and lapse, expiries, purges; the earliest first")
        .scope(AccountRead).paged(Paging::ByTime).query(&[WHAT, UNTIL, PURGE_RESELLER]).heavy()
        .run(run!(upcoming::list, (()) -> 200 Many<ComingDocument>)),
    Operation::get("/v3/snapshot", "snapshot_read")
        .about("accounts", "Read all accounts, and the cursor of the events that follow, as lines of JSON")
        .scope(AccountRead).query(&[ONE_RESELLER]).heavy()
        .run(run!(snapshot::read, (()) -> 200 Lines)),
    Operation::post("/v3/release-tickets/redeem", "release_tickets_redeem")
        .about("accounts", "Lift the freeze that a release ticket names, unless it was changed since")
        .while_suspended().idempotent()
        .example(r#"{"ticket":"steward_release_AAAA"}"#)
        .run(run!(public release_tickets::redeem, (Redeem) -> 200 One<ReleaseDocument>)),
    Operation::post("/v3/bulk", "bulk_run")
        .about("accounts", "Execute up to 1,000 operations, each on its own")
        .scope(AccountWrite).idempotent().body_limit(BodyLimit::Times(16)).heavy()
        .example(r#"{"operations":[{"operation":"status","status":"active","account":"7"}]}"#)
        .run(run!(bulk::run, ((), Operations) -> 200 One<BulkDocument>)),
    Operation::get("/v3/bulk-jobs", "bulk_jobs_list")
        .about("accounts", "List bulk jobs, newest first")
        .scope(AccountRead).paged(Paging::BeforeId).query(&[RESELLER])
        .run(run!(bulk_jobs::list, (()) -> 200 Many<BulkJobDocument>)),
    Operation::post("/v3/bulk-jobs", "bulk_jobs_create")
        .about("accounts", "Plan one operation for all accounts that a selector finds, without changing them yet; it must be applied within 24 hours")
        .scope(AccountWrite).idempotent().heavy()
        .example(r#"{"selector":{"state":"active"},"operation":{"operation":"status","status":"active"}}"#)
        .run(run!(bulk_jobs::create, ((), BulkJobRequest) -> 201 One<BulkJobDocument>)),
    Operation::get("/v3/bulk-jobs/{id}", "bulk_jobs_get")
        .about("accounts", "Read the progress of a bulk job")
        .scope(AccountRead)
        .run(run!(bulk_jobs::get, (JobId) -> 200 One<BulkJobDocument>)),
    Operation::get("/v3/bulk-jobs/{id}/items", "bulk_jobs_items")
        .about("accounts", "List the accounts of a bulk job, each with its result")
        .scope(AccountRead).paged(Paging::AfterNumber).query(&[ITEM_STATE])
        .run(run!(bulk_jobs::items, (JobId) -> 200 Many<BulkItemDocument>)),
    Operation::post("/v3/bulk-jobs/{id}/apply", "bulk_jobs_apply")
        .about("accounts", "Apply a bulk job in the background")
        .scope(AccountWrite).idempotent()
        .run(run!(bulk_jobs::apply, (JobId) -> 202 One<BulkJobDocument>)),
    Operation::post("/v3/bulk-jobs/{id}/revert", "bulk_jobs_revert")
        .about("accounts", "Revert a bulk job, except for accounts changed since")
        .scope(AccountWrite).idempotent()
        .run(run!(bulk_jobs::revert, (JobId) -> 202 One<BulkJobDocument>)),
    Operation::delete("/v3/bulk-jobs/{id}", "bulk_jobs_delete")
        .about("accounts", "Delete a planned or finished bulk job; the changes that it made stay")
        .scope(AccountWrite).idempotent()
        .run(run!(bulk_jobs::delete, (JobId) -> 204 Nothing)),
    Operation::get("/v3/plans", "plans_list")
        .about("plans", "List plans by number")
        .scope(AccountRead).paged(Paging::PageOrNumber).sorted(|| plans::LISTING.names()).query(&[RESELLER])
        .run(run!(plans::list, (()) -> 200 Many<NumberedPlan>)),
    Operation::post("/v3/plans", "plans_create")
        .about("plans", "Create a plan")
        .scope(AccountWrite).idempotent().requires(&["name"])
        .example(r#"{"name":"pro","displayName":"Pro","tier":2,"interval":"month","amount":"49.00","allowedUsers":25,"allowSso":true}"#)
        .run(run!(plans::create, ((), NewPlan) -> 201 One<NumberedPlan>)),
    Operation::get("/v3/plans/{id}", "plans_get")
        .about("plans", "Read a plan")
        .scope(AccountRead)
        .run(run!(plans::get, (PlanId) -> 200 One<NumberedPlan>)),
    Operation::patch("/v3/plans/{id}", "plans_patch")
        .about("plans", "Change a plan; absent members keep their values")
        .scope(AccountWrite).idempotent()
        .example(r#"{"deprecated":true}"#)
        .run(run!(plans::patch, (PlanId, PlanPatch) -> 200 One<NumberedPlan>)),
    Operation::get("/v3/tokens", "tokens_list")
        .about("tokens", "List tokens, without their secrets")
        .scope(TokenWrite).paged(Paging::PageOrNumber).sorted(|| tokens::LISTING.names())
        .run(run!(tokens::list, (()) -> 200 Many<TokenDocument>)),
    Operation::post("/v3/tokens", "tokens_create")
        .about("tokens", "Create a token; only this answer contains its secret")
        .scope(TokenWrite).idempotent()
        .example(r#"{"name":"reporting","scopes":["token:write"],"expiresIn":7776000}"#)
        .secret()
        .run(run!(tokens::create, ((), NewToken) -> 201 One<TokenDocument>)),
    Operation::get("/v3/tokens/{id}", "tokens_get")
        .about("tokens", "Read a token, without its secret")
        .scope(TokenWrite)
        .run(run!(tokens::get, (TokenId) -> 200 One<TokenDocument>)),
    Operation::post("/v3/tokens/{id}/rotate", "tokens_rotate")
        .about("tokens", "Replace a token by a new one; the old one stays valid for a grace period")
        .scope(TokenWrite).idempotent()
        .example(r#"{"graceSeconds":604800}"#)
        .secret()
        .run(run!(tokens::rotate, (TokenId, RotateToken) -> 201 One<TokenDocument>)),
    Operation::delete("/v3/tokens/{id}", "tokens_delete")
        .about("tokens", "Revoke a token immediately")
        .scope(TokenWrite).while_suspended().idempotent()
        .run(run!(tokens::delete, (TokenId) -> 204 Nothing)),
    Operation::get("/v3/personal-access-tokens", "personal_access_tokens_list")
        .about("tokens", "List tokens as Cryptlex does, without their secrets")
        .scope(TokenWrite).paged(Paging::PageOrNumber).sorted(|| tokens::LISTING.names())
        .run(run!(personal_access_tokens::list, (()) -> 200 Many<PersonalAccessTokenDocument>)),
    Operation::post("/v3/personal-access-tokens", "personal_access_tokens_create")
        .about("tokens", "Create a token as Cryptlex does; only this answer contains its secret, as accessToken")
        .scope(TokenWrite).idempotent()
        .example(r#"{"name":"reporting","scopes":["token:write"],"expiresAt":"2099-12-31T23:59:59Z"}"#)
        .secret()
        .run(run!(personal_access_tokens::create, ((), NewPersonalAccessToken) -> 201 One<PersonalAccessTokenDocument>)),
    Operation::get("/v3/personal-access-tokens/{id}", "personal_access_tokens_get")
        .about("tokens", "Read a token as Cryptlex does, without its secret")
        .scope(TokenWrite)
        .run(run!(personal_access_tokens::get, (TokenId) -> 200 One<PersonalAccessTokenDocument>)),
    Operation::patch("/v3/personal-access-tokens/{id}", "personal_access_tokens_patch")
        .about("tokens", "Revoke a token immediately as Cryptlex does, with revoked")
        .scope(TokenWrite).while_suspended().idempotent()
        .example(r#"{"revoked":true}"#)
        .run(run!(personal_access_tokens::patch, (TokenId, RevokeToken) -> 200 One<PersonalAccessTokenDocument>)),
    Operation::delete("/v3/personal-access-tokens/{id}", "personal_access_tokens_delete")
        .about("tokens", "Revoke a token immediately")
        .scope(TokenWrite).while_suspended().idempotent()
        .run(run!(tokens::delete, (TokenId) -> 204 Nothing)),
    Operation::get("/v3/me", "me_get")
        .about("tokens", "Read who the caller is: its token, its scopes and its reseller")
        .any_token()
        .run(run!(users::me, (()) -> 200 One<UserDocument>)),
    Operation::get("/v3/webhooks", "webhooks_list")
        .about("webhooks", "List webhook endpoints, oldest first")
        .scope(WebhookRead).paged(Paging::Whole).sorted(|| webhooks::LISTING.names()).query(&[RESELLER])
        .run(run!(webhooks::list, (()) -> 200 Many<WebhookDocument>)),
    Operation::post("/v3/webhooks", "webhooks_create")
        .about("webhooks", "Create a webhook endpoint; only this answer contains its secret")
        .scope(WebhookWrite).idempotent().requires(&["url"])
        .example(r#"{"url":"https://example.com/hooks","events":["account.updated"]}"#)
        .secret()
        .run(run!(webhooks::create, ((), NewWebhook) -> 201 One<WebhookDocument>)),
    Operation::get("/v3/webhooks/events", "webhooks_events")
        .about("webhooks", "List the events that an endpoint can subscribe to, by resource")
        .scope(WebhookRead)
        .run(run!(webhooks::events, (()) -> 200 One<EventNames>)),
    Operation::get("/v3/webhooks/{id}", "webhooks_get")
        .about("webhooks", "Read a webhook endpoint and its health")
        .scope(WebhookRead)
        .run(run!(webhooks::get, (WebhookId) -> 200 One<WebhookDocument>)),
    Operation::patch("/v3/webhooks/{id}", "webhooks_patch")
        .about("webhooks", "Change a webhook endpoint; absent members keep their values")
        .scope(WebhookWrite).idempotent()
        .example(r#"{"enabled":true}"#)
        .secret()
        .run(run!(webhooks::patch, (WebhookId, WebhookRequest) -> 200 One<WebhookDocument>)),
    Operation::post("/v3/webhooks/{id}/test", "webhooks_test")
        .about("webhooks", "Deliver a test message; the log shows the result")
        .scope(WebhookWrite).idempotent()
        .run(run!(webhooks::test, (WebhookId) -> 202 One<Queued>)),
    Operation::post("/v3/webhooks/{id}/rotate-secret", "webhooks_rotate_secret")
        .about("webhooks", "Generate a new secret; the old one also signs for a grace period")
        .scope(WebhookWrite).idempotent()
        .example(r#"{"graceSeconds":86400}"#)
        .secret()
        .run(run!(webhooks::rotate_secret, (WebhookId, RotateSecret) -> 200 One<WebhookDocument>)),
    Operation::post("/v3/webhooks/{id}/redeliver", "webhooks_redeliver")
        .about("webhooks", "Repeat all deliveries since an instant")
        .scope(WebhookWrite).idempotent()
        .example(r#"{"since":"2026-01-01T00:00:00Z"}"#)
        .run(run!(webhooks::redeliver, (WebhookId, Redeliver) -> 202 One<Queued>)),
    Operation::get("/v3/webhook-event-logs", "webhooks_logs")
        .about("webhooks", "List delivery attempts, newest first")
        .scope(WebhookRead).heavy().paged(Paging::PageOrId).sorted(|| log_page::FIELDS.to_vec()).query(&[WEBHOOK, SUCCEEDED, RESELLER])
        .run(run!(webhook_logs::list, (()) -> 200 Many<LogDocument>)),
    Operation::post("/v3/webhook-event-logs/{id}/redeliver", "webhooks_redeliver_one")
        .about("webhooks", "Repeat the delivery of one message")
        .scope(WebhookWrite).idempotent()
        .run(run!(webhook_logs::redeliver, (EventLogId) -> 202 One<Queued>)),
    Operation::delete("/v3/webhooks/{id}", "webhooks_delete")
        .about("webhooks", "Delete a webhook endpoint")
        .scope(WebhookWrite).idempotent()
        .run(run!(webhooks::delete, (WebhookId) -> 204 Nothing)),
    Operation::get("/v3/events", "events_list")
        .about("webhooks", "Read the events after a cursor; with `Accept: text/event-stream`, stream them")
        .scope(WebhookRead).paged(Paging::AfterCursor).query(&[RESELLER])
        .run(run!(events::list, (()) -> 200 Many<EventDocument>)),
    Operation::get("/v3/event-logs", "event_logs_list")
        .about("accounts", "List the changes of all accounts, newest first")
        .scope(AccountRead).paged(Paging::PageOrEntry).sorted(|| log_page::FIELDS.to_vec()).query(&[RESELLER]).heavy()
        .run(run!(event_logs::list, (()) -> 200 Many<EventLogDocument>)),
    Operation::get("/v3/event-logs/{id}", "event_logs_get")
        .about("accounts", "Read a change of an account")
        .scope(AccountRead).query(&[RESELLER])
        .run(run!(event_logs::get, (EntryId) -> 200 One<EventLogDocument>)),
    Operation::get("/v3/resellers", "resellers_list")
        .about("resellers", "List resellers; a reseller's token sees only itself")
        .scope(AccountRead).paged(Paging::PageOrNumber).sorted(|| resellers::LISTING.names())
        .run(run!(resellers::list, (()) -> 200 Many<ResellerDocument>)),
    Operation::post("/v3/resellers", "resellers_create")
        .about("resellers", "Create a reseller")
        .operator(ResellerWrite).idempotent().requires(&["name"])
        .example(r#"{"name":"Acme Hosting","timezone":"Europe/Berlin"}"#)
        .run(run!(resellers::create, ((), ResellerRequest) -> 201 One<ResellerDocument>)),
    Operation::get("/v3/resellers/{id}", "resellers_get")
        .about("resellers", "Read a reseller")
        .scope(AccountRead)
        .run(run!(resellers::get, (ResellerId) -> 200 One<ResellerDocument>)),
    Operation::get("/v3/resellers/{id}/suspensions", "resellers_suspensions")
        .about("resellers", "List the suspensions of a reseller, past and present, newest first")
        .scope(AccountRead).paged(Paging::BeforeNumber)
        .run(run!(resellers::suspensions, (ResellerId) -> 200 Many<SuspensionDocument>)),
    Operation::patch("/v3/resellers/{id}", "resellers_patch")
        .about("resellers", "Change a reseller; absent members keep their values")
        .operator(ResellerWrite).idempotent()
        .example(r#"{"accountLimit":1000}"#)
        .run(run!(resellers::patch, (ResellerId, ResellerRequest) -> 200 One<ResellerDocument>)),
    Operation::post("/v3/resellers/{id}/suspend", "resellers_suspend")
        .about("resellers", "Suspend a reseller, without changing its accounts")
        .operator(ResellerWrite).idempotent()
        .run(run!(resellers::suspend, (ResellerId) -> 200 One<ResellerDocument>)),
    Operation::post("/v3/resellers/{id}/unsuspend", "resellers_unsuspend")
        .about("resellers", "Lift the suspension of a reseller; its accounts are as they were before")
        .operator(ResellerWrite).idempotent()
        .run(run!(resellers::unsuspend, (ResellerId) -> 200 One<ResellerDocument>)),
    Operation::get("/v3/purge-plan", "purge_plan")
        .about("resellers", "List the accounts due to be purged, and what stops their purge")
        .scope(AccountRead).paged(Paging::AfterNumber).query(&[PURGE_RESELLER])
        .run(run!(purge::plan, (()) -> 200 Many<PlannedDocument>)),
    Operation::post("/v3/resellers/{id}/approve-purge", "purge_approve")
        .about("resellers", "Approve the purge of all accounts due now, beyond the limit")
        .operator(ResellerWrite).idempotent()
        .run(run!(purge::approve, (ResellerId) -> 200 One<ApprovalDocument>)),
];

/// Finds the operation at a method and a route.
pub(super) fn find(method: &Method, route: &str) -> Option<&'static Operation> {
    static BY_ROUTE: LazyLock<HashMap<(&'static str, &'static str), &'static Operation>> =
        LazyLock::new(|| {
            let key = |operation: &'static Operation| (operation.method, operation.path);
            OPERATIONS
                .iter()
                .map(|operation| (key(operation), operation))
                .collect()
        });
    // The operation for GET also answers HEAD.
    let method = if *method == Method::HEAD {
        "GET"
    } else {
        method.as_str()
    };
    let by_route: &HashMap<(&str, &str), &'static Operation> = &BY_ROUTE;
    by_route.get(&(method, route)).copied()
}

/// The routes of all operations.
pub fn routes(api: Api) -> Router {
    let mut paths: Vec<&str> = OPERATIONS.iter().map(|operation| operation.path).collect();
    paths.sort_unstable();
    paths.dedup();
    let router = paths.into_iter().fold(Router::new(), |router, path| {
        router.route(path, methods(path))
    });
    router.with_state(api)
}

/// The failure of an operation on accounts that Cryptlex has and Steward does not. Its path looks
/// like that of an account. `None` if it is no such operation.
fn not_offered(method: &Method, path: &str) -> Option<Failure> {
    let last = path.trim_end_matches('/').strip_prefix("/v3/accounts/");
    let why = match last {
        Some("login" | "login-google") if *method == Method::POST => {
            "Nobody signs in to Steward with a password: sign in at your own login service, or \
             create a token with POST /v3/personal-access-tokens"
        }
        Some("reset-password-request") if *method == Method::POST => {
            "Steward stores no passwords, so there is none to reset: reset it at your own login \
             service"
        }
        _ => return None,
    };
    Some(Failure::NotOffered(why))
}

/// The methods of one path. `OPTIONS` lists them; other methods are refused with the same list.
fn methods(path: &str) -> MethodRouter<Api> {
    let operations = OPERATIONS.iter().filter(|operation| operation.path == path);
    let (mut routes, mut allowed) = (MethodRouter::new(), Vec::new());
    for operation in operations {
        let method: Method = operation.method.parse().unwrap_or_default();
        let Ok(filter) = MethodFilter::try_from(method) else {
            continue;
        };
        routes = routes.on(filter, |state, request: Request| {
            dispatch(state, operation, request)
        });
        allowed.push(operation.method);
    }
    if allowed.contains(&"GET") {
        allowed.push("HEAD");
    }
    allowed.push("OPTIONS");
    let allowed = allowed.join(", ");
    let allow = HeaderValue::from_str(&allowed).unwrap_or(HeaderValue::from_static(""));
    routes.fallback(async move |State(api): State<Api>, request: Request| {
        let (parts, _) = request.into_parts();
        let answer = super::respond_unmatched(&api, &parts, |fail| {
            if parts.method == Method::OPTIONS {
                body::response(StatusCode::NO_CONTENT, None, Vec::new())
            } else {
                let failure = not_offered(&parts.method, parts.uri.path());
                fail(&failure.unwrap_or(Failure::MethodNotAllowed(allowed)))
            }
        });
        let mut response = answer.await;
        response.headers_mut().insert(header::ALLOW, allow);
        response
    })
}

#[cfg(test)]
mod tests;
