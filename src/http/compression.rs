//! Answers compressed with gzip, for callers that ask for it.
//!
//! An answer that contains a secret is never compressed: its length would say how much the secret
//! has in common with what the caller wrote beside it (the BREACH attack).

use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};

use crate::wire;

/// Smaller answers fit into one packet as they are, in bytes.
const SMALLEST: u64 = 1_024;
/// Answers of at most this many bytes are compressed before they are sent. An encoder takes several
/// times their size, and would be kept until the client takes the answer.
const WHOLE: u64 = 64 << 10;
/// The bytes that are compressed or sent at a time, so that a large answer does not delay other
/// requests.
const PART: usize = 16 << 10;
/// The media types that compress well and that are sent whole.
const TYPES: [&str; 9] = [
    "application/json",
    "application/x-ndjson",
    "application/problem+json",
    "application/xml",
    "text/xml",
    "application/soap+xml",
    "text/html",
    "text/plain",
    "application/openmetrics-text",
];

/// Whether `Accept-Encoding` prefers gzip: it names gzip, or everything, and does not prefer the
/// answer as it is.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter();
    let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
    let codings = lines.join(",");
    let quality = |names: &[&str]| {
        wire::quality(&codings, |coding| {
            names.iter().any(|name| coding.eq_ignore_ascii_case(name))
        })
    };
    let gzip = quality(&["gzip", "x-gzip"]).or_else(|| quality(&["*"]));
    let as_it_is = quality(&["identity"]).unwrap_or(0);
    gzip.is_some_and(|gzip| gzip > 0 && gzip >= as_it_is)
}

/// Compresses a response if its caller wants that and it is worth it. A response to `HEAD` gets the
/// headers that the one to `GET` would have.
pub(super) async fn apply(response: Response, is_wanted: bool) -> Response {
    if !is_worth_it(&response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let headers = &mut parts.headers;
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if !is_wanted {
        return Response::from_parts(parts, body);
    }
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.remove(header::CONTENT_LENGTH);
    // A strong tag names one sequence of bytes. `If-Match` accepts both.
    if let Some(tag) = headers.get(header::ETAG).and_then(tag_of_compressed) {
        headers.insert(header::ETAG, tag);
    }
    if body.is_end_stream() {
        return Response::from_parts(parts, body);
    }
    let is_small = body.size_hint().exact().is_some_and(|size| size <= WHOLE);
    let mut compressed = Compressed::new(body);
    if is_small && let Some(length) = compressed.finish().await {
        parts.headers.insert(header::CONTENT_LENGTH, length);
    }
    Response::from_parts(parts, Body::new(compressed))
}

fn tag_of_compressed(tag: &HeaderValue) -> Option<HeaderValue> {
    let tag = tag.to_str().ok()?.strip_suffix('"')?;
    HeaderValue::from_str(&format!("{tag}{}\"", crate::dialects::GZIP_TAG)).ok()
}

/// Whether a response is of a kind that may be compressed, and large enough.
fn is_worth_it(response: &Response) -> bool {
    let headers = response.headers();
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let media_type = wire::media_type(text(header::CONTENT_TYPE)).map(|(name, _)| name);
    let announced = text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let size = announced.or_else(|| response.body().size_hint().exact());
    let has_body = !matches!(
        response.status(),
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT
    );
    let may_change = !text(header::CACHE_CONTROL).is_some_and(|text| text.contains("no-transform"));
    has_body
        && may_change
        && !headers.contains_key(header::CONTENT_ENCODING)
        && media_type.is_some_and(|name| TYPES.contains(&name))
        && size.is_none_or(|size| size >= SMALLEST)
}

/// A body that is compressed while it is sent, or before.
struct Compressed {
    /// It is kept to the end, because it may hold a permit for the answer's memory.
    body: Body,
    /// What is left of the body's last piece.
    rest: Bytes,
    /// `None` when the body has ended.
    encoder: Option<GzEncoder<Vec<u8>>>,
    /// What was compressed before it is sent.
    finished: Bytes,
}

impl Compressed {
    fn new(body: Body) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())),
            finished: Bytes::new(),
        }
    }

    /// Compresses all of a body that is in memory, drops the encoder and returns the length. `None` if
    /// the body fails, which none in memory does.
    async fn finish(&mut self) -> Option<HeaderValue> {
        let finished = BodyExt::collect(&mut *self).await.ok()?;
        self.finished = finished.to_bytes();
        Some(self.finished.len().into())
    }
}

impl hyper::body::Body for Compressed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if !this.finished.is_empty() {
            let part = this.finished.split_to(this.finished.len().min(PART));
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        loop {
            let Some(encoder) = this.encoder.as_mut() else {
                return Poll::Ready(None);
            };
            if this.rest.is_empty() {
                match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                    Some(Ok(frame)) => this.rest = frame.into_data().unwrap_or_default(),
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => {
                        let end = this
                            .encoder
                            .take()
                            .map_or(Ok(Vec::new()), GzEncoder::finish);
                        return Poll::Ready(Some(frame(end)));
                    }
                }
            }
            let part = this.rest.split_to(this.rest.len().min(PART));
            if let Err(error) = encoder.write_all(&part) {
                return Poll::Ready(Some(frame(Err(error))));
            }
            let done = std::mem::take(encoder.get_mut());
            if !done.is_empty() {
                return Poll::Ready(Some(frame(Ok(done))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.finished.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.encoder.is_some() {
            return SizeHint::default();
        }
        SizeHint::with_exact(u64::try_from(self.finished.len()).unwrap_or(u64::MAX))
    }
}

fn frame(bytes: io::Result<Vec<u8>>) -> Result<Frame<Bytes>, axum::Error> {
    bytes
        .map(|bytes| Frame::data(bytes.into()))
        .map_err(axum::Error::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_only_to_those_who_prefer_it() {
        for (value, expected) in [
            ("gzip", true),
            ("x-gzip", true),
            ("br, GZIP;q=0.5", true),
            ("gzip, deflate, br", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip; q=0.0, *", false),
            ("gzip;q=0.5, identity", false),
            ("gzip;q=0.5, identity;q=0.2", true),
            ("identity", false),
            ("br", false),
            ("identity, *;q=0", false),
            ("", false),
            ("gzip;q=x", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(is_wanted(&headers), expected, "{value}");
        }
        assert!(!is_wanted(&HeaderMap::new()));
    }
}
