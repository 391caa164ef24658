//! The headers that tell callers how many requests they have left: `X-Rate-Limit-*`, as Cryptlex
//! has them, and `RateLimit` with `RateLimit-Policy` of the IETF's draft 11.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::domain::Time;
use crate::service::Rate;

/// The limits that count a request. `None` where no limit applies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    /// The limit of the credential.
    pub(super) token: Option<Rate>,
    /// The limit of the client's address.
    pub(super) address: Option<Rate>,
}

/// The name of a limit, and the limit.
type Named = (&'static str, Rate);

/// Writes the headers. `X-Rate-Limit-*` is about the credential's limit if there is one, else about
/// the address's; the others name both. If no limit applies, nothing is written.
///
/// A request may be refused although the limits have some left: its caller has used up its share of
/// something scarce (`is_refused`, and the response says when to try again). Until then it has no
/// requests left.
pub(super) fn write(headers: &mut HeaderMap, rates: Rates, is_refused: bool, now: Time) {
    let named = [("token", rates.token), ("address", rates.address)];
    let limits: Vec<Named> = named
        .into_iter()
        .filter_map(|(name, rate)| Some((name, rate?)))
        .collect();
    let Some((_, first)) = limits.first().copied() else {
        return;
    };
    let waits = is_refused && limits.iter().all(|(_, rate)| rate.remaining > 0);
    let wait = waits.then(|| retry_after(headers));
    let (remaining, reset) = match wait {
        Some(seconds) => (0, seconds_of(now) + seconds),
        None => (first.remaining, seconds_of(first.reset_at)),
    };
    headers.insert("x-rate-limit-limit", HeaderValue::from(first.limit));
    headers.insert("x-rate-limit-remaining", HeaderValue::from(remaining));
    headers.insert("x-rate-limit-reset", HeaderValue::from(reset));
    let policies = limits
        .iter()
        .map(|(name, rate)| format!("\"{name}\";q={};w=60", rate.limit));
    let left = limits.iter().map(|(name, rate)| {
        let resets = seconds_of(rate.reset_at) - seconds_of(now);
        format!("\"{name}\";r={};t={}", rate.remaining, resets.max(0))
    });
    let share = wait.map(|seconds| format!("\"share\";r=0;t={seconds}"));
    write_list(headers, "ratelimit-policy", &policies.collect::<Vec<_>>());
    let left: Vec<_> = share.into_iter().chain(left).collect();
    write_list(headers, "ratelimit", &left);
}

fn write_list(headers: &mut HeaderMap, name: &'static str, items: &[String]) {
    if let Ok(value) = HeaderValue::from_str(&items.join(", ")) {
        headers.insert(name, value);
    }
}

/// The seconds since 1970, rounded up.
fn seconds_of(at: Time) -> i64 {
    at.timestamp() + i64::from(at.timestamp_subsec_nanos() > 0)
}

/// The seconds in `Retry-After`, 1 if there are none.
fn retry_after(headers: &HeaderMap) -> i64 {
    let value = headers.get(header::RETRY_AFTER);
    let text = value.and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(1)
}
