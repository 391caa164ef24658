//! The conditional headers: `If-Match` and `If-None-Match`, with the rules of RFC 9110 for entity
//! tags.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::dialects::GZIP_TAG;
use crate::dialects::failure::Failure;
use crate::domain::quoted;
use crate::hash::sha256;

/// The end of the strong tag of a document in XML: it is not the same sequence of bytes as in JSON.
const XML_TAG: &str = "-xml";

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
                       have a version; leave it out";
        return Err(Failure::parameter("If-Match", problem));
    }
    Ok(())
}

/// The `If-Match` header, all its lines together. Empty if there is none.
pub(super) fn text(headers: &HeaderMap) -> String {
    lines(headers, &header::IF_MATCH)
}

/// The `If-None-Match` header, all its lines together. Empty if there is none.
pub(super) fn none_match(headers: &HeaderMap) -> String {
    lines(headers, &header::IF_NONE_MATCH)
}

/// The tag for an answer 304: the document's tag if `If-None-Match` names it, or the one that the
/// document has when it is sent compressed. `None` if it names neither. Weak tags compare as strong
/// ones.
pub(super) fn named(none_match: &str, tag: &str) -> Option<HeaderValue> {
    let compressed = format!("{}{GZIP_TAG}\"", tag.strip_suffix('"')?);
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    let is_named =
        |tag: &&str| tags(none_match).any(|named| named == "*" || opaque(named) == opaque(tag));
    let tag = [tag, &compressed].into_iter().find(is_named)?;
    HeaderValue::try_from(tag).ok()
}

/// The tag of a version that is sent as XML, if `tag` is the one of the same version in JSON.
pub(super) fn tag_of_xml(tag: &str) -> String {
    format!("{}{XML_TAG}\"", tag.strip_suffix('"').unwrap_or(tag))
}

/// The answer 304 to a read whose caller has the document with this tag already.
pub(super) fn not_modified(tag: HeaderValue) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

/// A document that was read, with a weak tag of its content, or 304 if `If-None-Match` names the
/// tag. An answer that has a tag of its own stays as it is.
pub(super) async fn with_content_tag(response: Response, none_match: &str) -> Response {
    if response.status() != StatusCode::OK || response.headers().contains_key(header::ETAG) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // Documents are in memory as a whole, so this neither waits nor fails.
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return Response::from_parts(parts, Body::empty());
    };
    // Half of the digest: 128 bits are enough for a document and its changes.
    let half = sha256(&bytes)
        .first_chunk()
        .map_or(0, |half| u128::from_be_bytes(*half));
    let Ok(tag) = HeaderValue::try_from(format!("W/\"{half:032x}\"")) else {
        return Response::from_parts(parts, bytes.into());
    };
    if let Some(named) = named(none_match, tag.to_str().unwrap_or_default()) {
        return not_modified(named);
    }
    parts.headers.insert(header::ETAG, tag);
    Response::from_parts(parts, bytes.into())
}

fn lines(headers: &HeaderMap, name: &HeaderName) -> String {
    let lines = headers.get_all(name).iter();
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
    let text = text.strip_suffix(XML_TAG).unwrap_or(text);
    let version: i64 = text.parse().ok()?;
    (version.to_string() == text).then_some(version)
}
