//! The replies of handlers, and how they are written.

use std::marker::PhantomData;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::codes::{self, Code};
use crate::dialects::body;
use crate::dialects::exchange::{RequestId, accept};
use crate::dialects::failure::Failure;
use crate::dialects::schemas::{Describe, describe};
use crate::service::{Completion, ResultHeaders, Slice, StoredAnswer};
use crate::wire::{self, Codec, Rows};

/// An answer's body, for the OpenAPI document.
#[derive(Clone, Copy)]
pub(super) enum Described {
    /// The answer has no body.
    Nothing,
    /// The body is one document.
    One(Describe),
    /// The body is a list of documents.
    Many(Describe),
    /// Each line of the body is a document in JSON, of one of these kinds.
    Lines(&'static [Describe]),
}

/// The body of an answer. Rows of the table name its type, so the OpenAPI document describes what
/// the handler really answers.
pub(super) trait Answer: Send {
    /// Its description for the OpenAPI document.
    const DESCRIBED: Described;

    /// The encoded body. `None` if there is none.
    fn write(self, format: Codec) -> Option<Vec<u8>>;
}

/// An answer without a body.
pub(super) struct Nothing;
/// An answer with one document.
pub(super) struct One<D>(pub(super) D);
/// An answer with a list: a bare array in JSON, `item` elements in XML. Only [`Reply::page`] and
/// [`Reply::whole`] make one, so that no list is written without its limit.
pub(super) struct Many<D> {
    body: Vec<u8>,
    documents: PhantomData<fn() -> D>,
}

impl Answer for Nothing {
    const DESCRIBED: Described = Described::Nothing;

    fn write(self, _: Codec) -> Option<Vec<u8>> {
        None
    }
}

impl<D: Serialize + ToSchema + Send> Answer for One<D> {
    const DESCRIBED: Described = Described::One(describe::<D>);

    fn write(self, format: Codec) -> Option<Vec<u8>> {
        Some(encode(format, &self.0))
    }
}

impl<D: Serialize + ToSchema + Send> Answer for Many<D> {
    const DESCRIBED: Described = Described::Many(describe::<D>);

    fn write(self, _: Codec) -> Option<Vec<u8>> {
        Some(self.body)
    }
}

/// The result of a write: its document, and the headers that belong to it.
pub(super) struct Done<D> {
    pub(super) document: D,
    pub(super) headers: ResultHeaders,
}

impl<D> Done<D> {
    pub(super) fn new(document: D, is_changed: bool) -> Self {
        let headers = ResultHeaders {
            changed: Some(is_changed),
            ..ResultHeaders::default()
        };
        Self { document, headers }
    }

    /// Adds the version of the account as `ETag`.
    pub(super) fn at_version(mut self, version: i64) -> Self {
        self.headers.etag = Some(etag(version));
        self
    }

    /// Adds the path of what was created as `Location`.
    pub(super) fn at_path(mut self, path: String) -> Self {
        self.headers.location = Some(path);
        self
    }
}

/// The `ETag` of an account.
pub(super) fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// The reply of a handler.
pub(super) struct Reply<A> {
    content: Content,
    headers: HeaderMap,
    answer: PhantomData<A>,
}

enum Content {
    /// Encodes the body once the format is known.
    Answer(Box<dyn FnOnce(Codec) -> Option<Vec<u8>> + Send>),
    /// The stored answer to a repeated request.
    Stored(StoredAnswer),
    /// A response that the handler wrote itself, such as a stream of events.
    Response(Response),
}

impl<A: Answer + 'static> Reply<A> {
    pub(super) fn new(answer: A) -> Self {
        Self::of(Content::Answer(Box::new(move |format| {
            answer.write(format)
        })))
    }

    /// The stored answer to a repeated request.
    pub(super) fn stored(stored: StoredAnswer) -> Self {
        Self::of(Content::Stored(stored))
    }

    /// A response that the handler wrote itself.
    pub(super) fn response(response: Response) -> Self {
        Self::of(Content::Response(response))
    }

    fn of(content: Content) -> Self {
        Self {
            content,
            headers: HeaderMap::new(),
            answer: PhantomData,
        }
    }

    /// Adds a header. A value that is not valid in a header is dropped.
    pub(super) fn with_header(mut self, name: header::HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Adds the headers that belong to the result of a write.
    fn with_result(mut self, headers: &ResultHeaders) -> Self {
        body::write_result_headers(&mut self.headers, headers);
        self
    }

    /// Writes the response. `success` is the status in the operation's row.
    pub(super) fn into_response(self, format: Codec, success: u16) -> Response {
        let mut response = match self.content {
            Content::Answer(encode) => {
                let status = StatusCode::from_u16(success).unwrap_or_default();
                let bytes = encode(format);
                let content_type = bytes.is_some().then(|| format.content_type());
                body::response(status, content_type, bytes.unwrap_or_default())
            }
            Content::Stored(stored) => body::replay(stored),
            Content::Response(response) => response,
        };
        response.headers_mut().extend(self.headers);
        response
    }
}

impl<D: Serialize + ToSchema + Send + 'static> Reply<One<D>> {
    /// A reply with one document.
    pub(super) fn one(document: D) -> Self {
        Self::new(One(document))
    }

    /// The reply to a write that was carried out.
    pub(super) fn done(done: Done<D>) -> Self {
        Self::one(done.document).with_result(&done.headers)
    }

    /// The reply to a completed write: its document, or the stored answer to a repeat.
    pub(super) fn completed<T>(
        completion: Completion<T>,
        document: impl Fn(&T) -> Done<D>,
    ) -> Self {
        match completion {
            Completion::Fresh(outcome) => Self::done(document(&outcome)),
            Completion::Replayed(stored) => Self::stored(stored),
        }
    }
}

impl Reply<Nothing> {
    /// The reply to a completed write without a document, or the stored answer to a repeat.
    pub(super) fn completed<T>(completion: Completion<T>, result: impl Fn(&T) -> Done<()>) -> Self {
        match completion {
            Completion::Fresh(outcome) => Self::new(Nothing).with_result(&result(&outcome).headers),
            Completion::Replayed(stored) => Self::stored(stored),
        }
    }

    /// The reply to a write that found nothing to change.
    pub(super) fn unchanged() -> Self {
        Self::new(Nothing).with_result(&Done::new((), false).headers)
    }
}

impl<D: Serialize + ToSchema + Send + 'static> Reply<Many<D>> {
    /// A reply with one page of a list. The page ends at [`wire::MAX_PAGE`] bytes, even if more rows
    /// were read. If more rows may follow, `next` makes the link to the page after the last row that
    /// was written.
    pub(super) fn page<R>(
        format: Codec,
        rows: Slice<R>,
        document: impl FnMut(&R) -> D,
        next: impl FnOnce(&R) -> String,
    ) -> Self {
        let Slice { rows, has_more } = rows;
        let (reply, last, is_cut) = Self::written(format, rows, document);
        match last.filter(|_| has_more || is_cut) {
            Some(last) => reply.with_header(header::LINK, &next(&last)),
            None => reply,
        }
    }

    /// A reply with a list that is always whole. The test of the table shows that such a list is
    /// smaller than a page can be.
    pub(super) fn whole(format: Codec, documents: &[D]) -> Self {
        Self::unless_cut(format, documents.iter().collect(), |document| *document).unwrap_or_else(
            || {
                let body = not_encoded("a list without pages is larger than a page");
                let documents = PhantomData;
                Self::new(Many { body, documents })
            },
        )
    }

    /// A reply with these rows, or `None` if they are larger than a page.
    pub(super) fn unless_cut<R, S: Serialize>(
        format: Codec,
        rows: Vec<R>,
        document: impl FnMut(&R) -> S,
    ) -> Option<Self> {
        let (reply, _, is_cut) = Self::written(format, rows, document);
        (!is_cut).then_some(reply)
    }

    fn written<R, S: Serialize>(
        format: Codec,
        rows: Vec<R>,
        document: impl FnMut(&R) -> S,
    ) -> (Self, Option<R>, bool) {
        let (begin, end) = match (format, rows.is_empty()) {
            (Codec::Json, _) => ("[", "]"),
            (Codec::Xml, false) => ("<xml>", "</xml>"),
            (Codec::Xml, true) => ("<xml/>", ""),
        };
        let (body, last, is_cut) = match Rows::encode(format, begin, "item", rows, document) {
            Ok(mut page) => {
                let last = page.last.take();
                let is_cut = page.is_cut;
                (page.finish(end), last, is_cut)
            }
            Err(problem) => (not_encoded(&problem), None, false),
        };
        let documents = PhantomData;
        (Self::new(Many { body, documents }), last, is_cut)
    }
}

/// An error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct FailureDocument {
    code: &'static str,
    message: String,
    error: u16,
    error_text: String,
    #[serde(rename = "requestId")]
    request_id: String,
}

impl FailureDocument {
    pub(super) fn new(code: &Code, request_id: &RequestId) -> Self {
        Self {
            code: code.word,
            message: code.message.clone(),
            error: code.status,
            error_text: code.message.clone(),
            request_id: request_id.to_string(),
        }
    }
}

/// The same as a problem (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// Always `about:blank`: `code` says which problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The meaning of the HTTP status.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request.
    detail: String,
    #[serde(flatten)]
    failure: FailureDocument,
}

/// The media type of [`Problem`].
pub(super) const PROBLEM: &str = "application/problem+json";

/// The format of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureFormat {
    /// The dialect's own document.
    Own(Codec),
    /// `application/problem+json`
    Problem,
}

impl FailureFormat {
    fn content_type(self) -> &'static str {
        match self {
            Self::Own(codec) => codec.content_type(),
            Self::Problem => PROBLEM,
        }
    }

    fn encode(self, code: &Code, request_id: &RequestId) -> Vec<u8> {
        let failure = FailureDocument::new(code, request_id);
        match self {
            Self::Own(codec) => encode(codec, &failure),
            Self::Problem => {
                let status = StatusCode::from_u16(code.status).ok();
                let title = status.and_then(|status| status.canonical_reason());
                let problem = Problem {
                    kind: "about:blank",
                    title: title.unwrap_or_default(),
                    status: code.status,
                    detail: code.message.clone(),
                    failure,
                };
                encode(Codec::Json, &problem)
            }
        }
    }
}

/// The format of the answer: JSON, unless `Accept` names only XML.
pub(super) fn accepted(headers: &HeaderMap) -> Codec {
    accept(headers)
        .and_then(|ranges| wire::accepted(&ranges))
        .unwrap_or(Codec::Json)
}

/// The format of a failure: a problem if `Accept` names that type, else the format of the answer.
pub(in crate::dialects) fn accepted_for_failures(headers: &HeaderMap) -> FailureFormat {
    let is_problem = |name: &str| name.eq_ignore_ascii_case(PROBLEM);
    let ranges = accept(headers).unwrap_or_default();
    if wire::quality(&ranges, is_problem).is_some_and(|quality| quality > 0) {
        FailureFormat::Problem
    } else {
        FailureFormat::Own(accepted(headers))
    }
}

/// Encodes a document.
pub(super) fn encode(format: Codec, document: &impl Serialize) -> Vec<u8> {
    wire::encode(format, document).unwrap_or_else(|problem| not_encoded(&problem))
}

fn not_encoded(problem: &str) -> Vec<u8> {
    tracing::error!(%problem, "cannot encode an answer; sending an internal error instead");
    br#"{"code":"INTERNAL_ERROR","message":"Internal error","error":500,"error_text":"Internal error"}"#.to_vec()
}

/// A failure as it is stored for a repeat of the request.
pub(super) fn stored_failure(
    failure: &Failure,
    format: FailureFormat,
    request_id: &RequestId,
) -> StoredAnswer {
    let code = codes::code(failure);
    StoredAnswer {
        status: code.status,
        content_type: format.content_type().to_owned(),
        body: format.encode(&code, request_id),
        headers: ResultHeaders::default(),
    }
}

/// Writes a failure in this dialect.
pub(super) fn failure(
    failure: &Failure,
    format: FailureFormat,
    request_id: &RequestId,
) -> Response {
    let code = codes::code(failure);
    let status = StatusCode::from_u16(code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = format.encode(&code, request_id);
    let mut response = body::response(status, Some(format.content_type()), body);
    if let Some(seconds) = code.retry_after {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if code.status == 401 {
        let challenge = HeaderValue::from_static("Bearer");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}
