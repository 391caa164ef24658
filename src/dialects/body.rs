//! Reads bodies and idempotency keys, and writes responses, in the same way for every dialect. A
//! body counts against its caller's share of memory.

use std::ops::Deref;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;

use super::exchange::{Exchange, header_text};
use super::failure::Failure;
use crate::hash::sha256;
use crate::service::{
    CommandHash, Fingerprint, IdempotencyKey, ResultHeaders, Service, StoredAnswer,
    is_lasting_refusal,
};
use crate::shares::Permit;
use crate::wire::{self, Canonical, Codec};

/// The header whose key makes a repeated write safe.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The header that tells whether a write changed anything.
pub(super) const CHANGED: HeaderName = HeaderName::from_static("steward-changed");

/// The header of an answer that names the members of the request that were ignored, separated by
/// commas.
pub(super) const IGNORED_MEMBERS: HeaderName = HeaderName::from_static("ignored-members");
/// The length of the longest value of [`IGNORED_MEMBERS`], in bytes.
const MAX_IGNORED_MEMBERS: usize = 1_000;

/// The bytes of a body that need no permit. Nearly every body is smaller.
const FREE: usize = 4 << 10;
/// Permits are taken for this many bytes at a time.
const STEP: usize = 16 << 10;

/// A body in memory, with the permits for its size.
#[derive(Debug, Default)]
pub(super) struct RequestBody {
    bytes: Vec<u8>,
    permits: Vec<Permit>,
}

impl Deref for RequestBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl RequestBody {
    /// The body in UTF-8, whichever character set it is in. See [`wire::to_utf8`].
    pub(super) fn into_utf8(
        mut self,
        codec: Codec,
        content_type: Option<&str>,
    ) -> Result<Self, wire::Error> {
        if let Some(text) = wire::to_utf8(codec, content_type, &self.bytes)? {
            self.bytes = text;
        }
        Ok(self)
    }
}

impl From<&'static [u8]> for RequestBody {
    fn from(bytes: &'static [u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            permits: Vec::new(),
        }
    }
}

/// Reads the whole body, unless it is larger than `max` bytes. If `Content-Length` is larger, the
/// body is refused unread. What has arrived counts against the share of the exchange's caller.
pub(super) async fn read(
    service: &Service,
    exchange: &Exchange,
    headers: &HeaderMap,
    mut stream: Body,
    max: usize,
) -> Result<RequestBody, Failure> {
    check_content_encoding(headers, &stream)?;
    let length: Option<usize> =
        header_text(headers, header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
    if length.is_some_and(|length| length > max) {
        return Err(wire::Error::TooLarge.into());
    }
    let (mut body, mut permitted) = (RequestBody::default(), FREE);
    while let Some(frame) = exchange.body_wait.during(stream.frame()).await {
        let frame = frame.map_err(|_| wire::Error::Malformed {
            field: String::new(),
            problem: "the body ended early".to_owned(),
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let size = body.bytes.len() + data.len();
        if size > max {
            return Err(wire::Error::TooLarge.into());
        }
        if size > permitted {
            // The whole of an announced body at once: bodies that each hold a part and wait for
            // the rest would stop each other.
            let wanted = length.filter(|length| *length >= size).unwrap_or(size) - permitted;
            let steps = wanted.div_ceil(STEP);
            let permit = service.body_permit(exchange.holder(), steps * STEP).await?;
            permitted += steps * STEP;
            body.permits.push(permit);
        }
        body.bytes.extend_from_slice(&data);
    }
    Ok(body)
}

/// Refuses a body that is compressed.
fn check_content_encoding(headers: &HeaderMap, stream: &Body) -> Result<(), wire::Error> {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let encodings = encodings.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let encodings = encodings.collect::<Vec<_>>().join(", ");
    let mut named = encodings.split(',').map(str::trim);
    let is_plain = named.all(|name| name.is_empty() || name.eq_ignore_ascii_case("identity"));
    if is_plain || axum::body::HttpBody::is_end_stream(stream) {
        Ok(())
    } else {
        let shown = encodings.chars().take(40).collect();
        Err(wire::Error::ContentEncoding(shown))
    }
}

/// The value of [`IGNORED_MEMBERS`]. `None` if there are none. A name is written as in a URL, because
/// a header takes no other characters, and the rest of a long list is left out.
pub(super) fn ignored_members(paths: &[String]) -> Option<HeaderValue> {
    let mut named = String::new();
    for path in paths {
        let path = in_header(path);
        let separator = if named.is_empty() { "" } else { ", " };
        if named.len() + separator.len() + path.len() > MAX_IGNORED_MEMBERS {
            break;
        }
        named = format!("{named}{separator}{path}");
    }
    let value = HeaderValue::from_str(&named).ok();
    value.filter(|value| !value.is_empty())
}

/// A name in characters that a list in a header may have; others are written as in a URL.
fn in_header(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b'%');
    name.bytes()
        .map(|byte| match byte {
            byte if is_plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// Decodes the members of a body. Refuses an unknown member, unless it stands at the top and
/// `is_ignored` accepts its name.
pub(super) fn decode<M: DeserializeOwned>(
    codec: Codec,
    body: &[u8],
    is_ignored: impl Fn(&str) -> bool,
) -> Result<M, Failure> {
    let (members, unknown) = wire::decode_listing_unknown(codec, body)?;
    let refused = unknown
        .into_iter()
        .find(|member| !(member.is_at_the_top() && is_ignored(&member.path)));
    match refused {
        None => Ok(members),
        Some(member) => Err(Failure::parameter(&member.path, member.problem())),
    }
}

/// The idempotency key of a request. `None` if there is no such header.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let refuse = |problem| Failure::parameter("Idempotency-Key", problem);
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(refuse("appears more than once"));
    }
    let is_key =
        |key: &&str| (1..=255).contains(&key.len()) && key.chars().all(|c| c.is_ascii_graphic());
    let key = value.to_str().ok().filter(is_key);
    let key = key.ok_or_else(|| refuse("must be 1 to 255 visible characters"))?;
    Ok(Some(key.to_owned()))
}

/// The fingerprint of a command in JSON or XML. The members in `ignored`, at the root of the body,
/// are no part of it: the credential, and what only concerns the answer. `condition` is the
/// `If-Match` header, or empty.
pub(super) fn fingerprint(
    codec: Codec,
    body: &[u8],
    ignored: &[&str],
    condition: &str,
) -> Fingerprint {
    let whole = sha256(body);
    let command = match wire::canonical(codec, body, ignored) {
        Some(Canonical { loose, exact }) => {
            let hash = |form: String| sha256(format!("{form}{condition}").as_bytes());
            CommandHash::of(hash(loose), exact.map(hash))
        }
        // A body that cannot be read is compared as it is.
        None => CommandHash::of(whole, Some(whole)),
    };
    Fingerprint {
        command,
        body: whole,
    }
}

/// Stores the answer to a request that was refused, so that a repeat gets it too, although what
/// caused the refusal may have changed by then. A refusal that is stored already stays.
pub(super) async fn store_refusal(
    service: &Service,
    request: Option<(IdempotencyKey, Fingerprint)>,
    failure: &Failure,
    answer: impl FnOnce() -> StoredAnswer,
) {
    let (Some((key, fingerprint)), Failure::Service(error)) = (request, failure) else {
        return;
    };
    if is_lasting_refusal(error)
        && let Err(error) = service.store_answer(key, fingerprint, answer()).await
    {
        tracing::debug!(%error, "a refusal was not stored under its idempotency key");
    }
}

/// Adds the headers that belong to a result.
pub(super) fn write_result_headers(headers: &mut HeaderMap, result: &ResultHeaders) {
    let changed = result.changed.map(|changed| changed.to_string());
    let values = [
        (header::ETAG, result.etag.as_deref()),
        (header::LOCATION, result.location.as_deref()),
        (CHANGED, changed.as_deref()),
    ];
    for (name, value) in values {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    }
}

/// The response that replays a stored answer.
pub(super) fn replay(stored: StoredAnswer) -> Response {
    let is_empty = stored.body.is_empty();
    let mut response = Response::new(Body::from(stored.body));
    *response.status_mut() =
        StatusCode::from_u16(stored.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    // Versions before migration 0016 stored a content type for an empty body too.
    if !is_empty && let Ok(content_type) = HeaderValue::from_str(&stored.content_type) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    write_result_headers(headers, &stored.headers);
    headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    response
}

/// A response with a body. `None` as the content type is for an empty body.
pub(super) fn response(
    status: StatusCode,
    content_type: Option<&'static str>,
    body: impl Into<Body>,
) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    if let Some(content_type) = content_type {
        let content_type = HeaderValue::from_static(content_type);
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type);
    }
    response
}
