//! The replies of handlers, and how they are written.

use std::marker::PhantomData;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::codes::{self, Code};
use crate::dialects::body;
use crate::dialects::exchange::{RequestId, header_text};
use crate::dialects::failure::Failure;
use crate::dialects::schemas::{Describe, describe};
use crate::service::{Completion, StoredAnswer};
use crate::wire::{self, Codec};

/// An answer's body, for the OpenAPI document.
#[derive(Clone, Copy)]
pub(super) enum Described {
    /// The answer has no body.
    Nothing,
    /// The body is one document.
    One(Describe),
    /// The body is a list of documents.
    Many(Describe),
}

/// The body of an answer. Rows of the table name its type, so the OpenAPI document describes what
/// the handler really answers.
pub(super) trait Answer: Send {
    /// Its description for the OpenAPI document.
    const DESCRIBED: Described;

    /// The encoded body. `None` if there is none.
    fn write(&self, format: Codec) -> Option<Vec<u8>>;
}

/// An answer without a body.
pub(super) struct Nothing;
/// An answer with one document.
pub(super) struct One<D>(pub(super) D);
/// An answer with a list: a bare array in JSON, `item` elements in XML.
pub(super) struct Many<D>(pub(super) Vec<D>);

impl Answer for Nothing {
    const DESCRIBED: Described = Described::Nothing;

    fn write(&self, _: Codec) -> Option<Vec<u8>> {
        None
    }
}

impl<D: Serialize + ToSchema + Send> Answer for One<D> {
    const DESCRIBED: Described = Described::One(describe::<D>);

    fn write(&self, format: Codec) -> Option<Vec<u8>> {
        Some(encode(format, &self.0))
    }
}

impl<D: Serialize + ToSchema + Send> Answer for Many<D> {
    const DESCRIBED: Described = Described::Many(describe::<D>);

    fn write(&self, format: Codec) -> Option<Vec<u8>> {
        #[derive(Serialize)]
        struct Items<'a, D> {
            item: &'a [D],
        }
        Some(match format {
            Codec::Json => encode(format, &self.0),
            Codec::Xml => encode(format, &Items { item: &self.0 }),
        })
    }
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

    /// The reply to a completed write: its document, or the stored answer to a repeat.
    pub(super) fn completed<T>(completion: Completion<T>, document: impl Fn(&T) -> D) -> Self {
        match completion {
            Completion::Fresh(outcome) => Self::one(document(&outcome)),
            Completion::Replayed(stored) => Self::stored(stored),
        }
    }
}

impl<D: Serialize + ToSchema + Send + 'static> Reply<Many<D>> {
    /// A reply with a whole list.
    pub(super) fn many(documents: impl IntoIterator<Item = D>) -> Self {
        Self::new(Many(documents.into_iter().collect()))
    }

    /// A reply with one page of a list. `next` is the link to the next page, if there may be one.
    pub(super) fn page(documents: impl IntoIterator<Item = D>, next: Option<String>) -> Self {
        let reply = Self::many(documents);
        match next {
            Some(next) => reply.with_header(header::LINK, &next),
            None => reply,
        }
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

/// The format of the answer: JSON, unless `Accept` names only XML.
pub(in crate::dialects) fn accepted(headers: &HeaderMap) -> Codec {
    header_text(headers, header::ACCEPT)
        .and_then(wire::accepted)
        .unwrap_or(Codec::Json)
}

/// Encodes a document.
pub(super) fn encode(format: Codec, document: &impl Serialize) -> Vec<u8> {
    wire::encode(format, document).unwrap_or_else(|problem| {
        tracing::error!(%problem, "cannot encode an answer; sending an internal error instead");
        br#"{"code":"INTERNAL_ERROR","message":"Internal error","error":500,"error_text":"Internal error"}"#.to_vec()
    })
}

/// Writes a failure in this dialect.
pub(super) fn failure(failure: &Failure, format: Codec, request_id: &RequestId) -> Response {
    let code = codes::code(failure);
    let status = StatusCode::from_u16(code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = encode(format, &FailureDocument::new(&code, request_id));
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
