//! The conditional headers: `If-Match`, with the rules of RFC 9110 for entity tags.

use std::sync::Arc;

use axum::http::{HeaderMap, header};

use crate::dialects::GZIP_TAG;
use crate::dialects::failure::Failure;
use crate::domain::quoted;

/// The versions that `If-Match` accepts. `None` if the header is absent or is `*`, which any version
/// matches.
///
/// A tag that is no version of ours, or a weak one, matches nothing, so that the change is refused
/// with 412.
///
/// # Errors
/// [`Failure::Parameter`] if `*` stands beside a tag. A list would then accept what its tags refuse.
pub(super) fn expected_versions(headers: &HeaderMap) -> Result<Option<Arc<[i64]>>, Failure> {
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(None);
    }
    let text = text(headers);
    if !tags(&text).any(|tag| tag == "*") {
        return Ok(Some(tags(&text).filter_map(version).collect()));
    }
    if tags(&text).count() > 1 {
        let problem = format!(
            "must be a list of ETags such as \"1\", \"2\", or * alone, not {}",
            quoted(&text)
        );
        return Err(Failure::parameter("If-Match", problem));
    }
    Ok(None)
}

/// Refuses `If-Match` for a write on something that has no version. To ignore it would be to make a
/// change that the caller has forbidden.
pub(super) fn refuse(headers: &HeaderMap) -> Result<(), Failure> {
    if headers.contains_key(header::IF_MATCH) {
        let problem = "is accepted only by the operations on one account, because only accounts \
                       have an ETag; leave it out";
        return Err(Failure::parameter("If-Match", problem));
    }
    Ok(())
}

/// The `If-Match` header, all its lines together. Empty if there is none.
pub(super) fn text(headers: &HeaderMap) -> String {
    let lines = headers.get_all(header::IF_MATCH).iter();
    let lines: Vec<_> = lines
        .map(|line| String::from_utf8_lossy(line.as_bytes()))
        .collect();
    lines.join(",")
}

/// The tags of a list. None of ours contains a comma, so one that does is never ours.
fn tags(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|tag| !tag.is_empty())
}

/// The version that a strong tag names, if it is written as we write it.
fn version(tag: &str) -> Option<i64> {
    let text = tag.strip_prefix('"')?.strip_suffix('"')?;
    let text = text.strip_suffix(GZIP_TAG).unwrap_or(text);
    let version: i64 = text.parse().ok()?;
    (version.to_string() == text).then_some(version)
}
