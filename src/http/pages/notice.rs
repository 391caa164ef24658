//! The notice page for the user of a blocked account: `GET /notice/{uid}`.
//!
//! It shows the public reason for the block, and a payment link if paying lifts it. The page needs
//! no token, because the account's UUID in the link cannot be guessed. It has no scripts and loads
//! nothing from other addresses.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use uuid::Uuid;

use super::notice_texts::{Advice, Language};
use crate::dialects::exchange::ClientAddress;
use crate::domain::{Account, Block, Error, HoldKind, Level, Remedy, Time};
use crate::hash::sha256;
use crate::service::Service;
use crate::wire::escaped;

const STYLE: &str = ":root{color-scheme:light dark;--ink:#1b1f24;--paper:#f6f7f9;--card:#fff;--line:#d5d9df;--mark:#0b57d0;--on-mark:#fff}\
    @media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--paper:#14171b;--card:#1e2227;--line:#3a4048;--mark:#8ab4f8;--on-mark:#10203a}}\
    *{box-sizing:border-box}\
    body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;background:var(--paper);color:var(--ink);\
    font:1.0625rem/1.6 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}\
    main{width:100%;max-width:34rem;padding:2rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem;overflow-wrap:anywhere}\
    h1{margin:0 0 1rem;font-size:1.5rem;line-height:1.3;text-wrap:balance}p{margin:0 0 1rem;white-space:pre-line}\
    ul{margin:0 0 1rem;padding-left:1.25rem}main>:last-child{margin-bottom:0}\
    .message{padding-left:1rem;border-left:.25rem solid var(--line)}\
    a{display:inline-block;padding:.75rem 1.5rem;border-radius:.5rem;background:var(--mark);color:var(--on-mark);font-weight:600;text-decoration:none}\
    a:hover{text-decoration:underline}a:focus-visible{outline:3px solid var(--ink);outline-offset:2px}";

/// The content security policy: it allows the style sheet by its hash and forbids everything else.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = data_encoding::BASE64.encode(&sha256(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// The route of the notice page.
pub fn routes(service: Arc<Service>) -> Router {
    Router::new()
        .route("/notice/{uid}", get(notice))
        .with_state(service)
}

async fn notice(
    State(service): State<Arc<Service>>,
    Path(uid): Path<String>,
    address: Option<Extension<ClientAddress>>,
    headers: HeaderMap,
) -> Response {
    let holder = ClientAddress::holder(address.as_deref());
    let language = Language::preferred(
        headers
            .get(header::ACCEPT_LANGUAGE)
            .and_then(|value| value.to_str().ok()),
    );
    let found = match Uuid::try_parse(&uid) {
        Ok(uid) => service.notice(uid, holder).await,
        Err(_) => Err(Error::AccountNotFound),
    };
    let (status, heading, content) = match found {
        Ok((account, now)) => (
            StatusCode::OK,
            heading(&account, now, language),
            content(&account, now, language),
        ),
        Err(Error::AccountNotFound | Error::AccountDeleted) => (
            StatusCode::NOT_FOUND,
            language.nothing_found(),
            paragraph(language.advice(Advice::CheckLink)),
        ),
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            language.unavailable(),
            paragraph(language.advice(Advice::TryLater)),
        ),
    };
    respond(status, language, &page(language, heading, &content))
}

/// What is strongest: the first block, or else that the account is limited or its user warned.
fn heading(account: &Account, now: Time, language: Language) -> &'static str {
    let state = account.state(now);
    match (state.blocked_by().first(), state.level()) {
        (None, Some(level)) => language.milder_heading(level),
        (block, _) => language.heading(block.copied()),
    }
}

fn paragraph(text: &str) -> String {
    format!("<p>{}</p>", escaped(text))
}

/// The HTML below the heading: further blocks, public messages, the end of the block, advice.
fn content(account: &Account, now: Time, language: Language) -> String {
    let state = account.state(now);
    let blocks = state.blocked_by();
    let mut others: Vec<&str> = blocks
        .iter()
        .map(|block| language.heading(Some(*block)))
        .collect();
    others.dedup();
    let others: Vec<String> = others
        .iter()
        .skip(1)
        .map(|other| format!("<li>{other}</li>"))
        .collect();
    let mut parts = if others.is_empty() {
        Vec::new()
    } else {
        vec![format!("<ul>{}</ul>", others.concat())]
    };

    let holds = || {
        [HoldKind::Suspend, HoldKind::Freeze]
            .into_iter()
            .flat_map(|kind| account.holds_in_force(kind, now))
    };
    let mut messages: Vec<&String> = Vec::new();
    for message in holds().filter_map(|hold| hold.details.public_message.as_ref()) {
        if !messages.contains(&message) {
            messages.push(message);
        }
    }
    parts.extend(
        messages
            .into_iter()
            .map(|message| format!("<p class=\"message\">{}</p>", escaped(message))),
    );
    // Show an end only if nothing but holds blocks the account and every hold has an end.
    let only_holds = blocks.iter().all(|block| {
        matches!(
            block,
            Block::SuspendedByOperator | Block::SuspendedByReseller | Block::Frozen
        )
    });
    let strongest = holds().filter(|hold| Some(hold.details.level) == state.level());
    let ends: Option<Vec<Time>> = strongest.map(|hold| hold.details.ends_at).collect();
    if let Some(end) = ends
        .and_then(|ends| ends.into_iter().max())
        .filter(|_| only_holds)
    {
        parts.push(format!(
            "<p><time datetime=\"{}\">{}</time></p>",
            end.format("%Y-%m-%dT%H:%M:%SZ"),
            escaped(&language.until(end))
        ));
    }

    let payment = account
        .payment_url(now)
        .filter(|_| blocks.is_empty() || state.remedy() == Some(Remedy::Pay));
    let advice = match (blocks, payment) {
        ([], Some(_)) if state.level() == Some(Level::Limit) => Advice::PayToWrite,
        ([], Some(_)) => Advice::PayInTime,
        ([], None) if state.level().is_some() => Advice::ContactProvider,
        ([], None) => Advice::NotBlocked,
        (_, Some(_)) => Advice::Pay,
        ([Block::Expired], _) => Advice::Renew,
        _ => Advice::ContactProvider,
    };
    parts.push(paragraph(language.advice(advice)));
    if let Some(url) = payment {
        parts.push(format!(
            "<p><a href=\"{}\" rel=\"noreferrer\">{}</a></p>",
            escaped(url.as_str()),
            language.pay()
        ));
    }
    parts.concat()
}

fn page(language: Language, heading: &str, content: &str) -> String {
    format!(
        "<!doctype html><html lang=\"{}\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"robots\" content=\"noindex\"><title>{heading}</title><style>{STYLE}</style></head><body><main><h1>{heading}</h1>{content}</main></body></html>",
        language.tag()
    )
}

fn respond(status: StatusCode, language: Language, page: &str) -> Response {
    let mut response = Response::new(Body::from(page.to_owned()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value))
    };
    set(header::CONTENT_TYPE, "text/html; charset=utf-8");
    set(header::CONTENT_LANGUAGE, language.tag());
    set(header::VARY, "Accept-Language");
    set(header::CACHE_CONTROL, "no-store");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    if status == StatusCode::SERVICE_UNAVAILABLE {
        set(header::RETRY_AFTER, "60");
    }
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}
