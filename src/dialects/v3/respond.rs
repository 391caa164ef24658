//! What a handler answers, and how it is written.

use std::marker::PhantomData;

use axum::body::Body;
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

/// What the OpenAPI document says of an answer.
#[derive(Clone, Copy)]
pub(super) enum Described {
    /// It has no body.
    Nothing,
    /// It is one document.
    One(Describe),
    /// It is a list of documents.
    Many(Describe),
}

/// The body of an answer. Its type stands in the row of the operation, so that the document cannot promise another one.
pub(super) trait Answer: Send {
    /// What the OpenAPI document says of it.
    const DESCRIBED: Described;

    /// The bytes, if there are any.
    fn write(&self, format: Codec) -> Option<Vec<u8>>;
}

/// No body.
pub(super) struct Nothing;
/// One document.
pub(super) struct One<D>(pub(super) D);
/// A list: a bare array in JSON, `item` elements in XML.
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

/// What a handler answers.
pub(super) struct Reply<A> {
    content: Content,
    headers: HeaderMap,
    answer: PhantomData<A>,
}

enum Content {
    /// Written when the format is known.
    Answer(Box<dyn FnOnce(Codec) -> Option<Vec<u8>> + Send>),
    /// The stored answer to a repeat.
    Stored(StoredAnswer),
    /// A response that a handler made itself, such as a stream of events.
    Response(Response),
}

impl<A: Answer + 'static> Reply<A> {
    pub(super) fn new(answer: A) -> Self {
        Self::of(Content::Answer(Box::new(move |format| {
            answer.write(format)
        })))
    }

    /// The stored answer to a repeat.
    pub(super) fn stored(stored: StoredAnswer) -> Self {
        Self::of(Content::Stored(stored))
    }

    /// A response that the handler made itself.
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

    /// Adds a header; a value that cannot stand in one is left out.
    pub(super) fn with_header(mut self, name: header::HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// The response: a success has the status of the operation's row.
    pub(super) fn into_response(self, format: Codec, success: u16) -> Response {
        let mut response = match self.content {
            Content::Answer(encode) => {
                let status = StatusCode::from_u16(success).unwrap_or_default();
                let body = encode(format);
                write(
                    status,
                    body.is_some().then_some(format),
                    body.unwrap_or_default(),
                )
            }
            Content::Stored(stored) => body::replay(stored),
            Content::Response(response) => response,
        };
        response.headers_mut().extend(self.headers);
        response
    }
}

impl<D: Serialize + ToSchema + Send + 'static> Reply<One<D>> {
    /// One document.
    pub(super) fn one(document: D) -> Self {
        Self::new(One(document))
    }

    /// The document of what a write did, or the stored answer to its repeat.
    pub(super) fn completed<T>(completion: Completion<T>, document: impl Fn(&T) -> D) -> Self {
        match completion {
            Completion::Fresh(outcome) => Self::one(document(&outcome)),
            Completion::Replayed(stored) => Self::stored(stored),
        }
    }
}

impl<D: Serialize + ToSchema + Send + 'static> Reply<Many<D>> {
    /// A list.
    pub(super) fn many(documents: impl IntoIterator<Item = D>) -> Self {
        Self::new(Many(documents.into_iter().collect()))
    }

    /// A page of a list, with the link to the next page if there may be one.
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

/// The format of the answer: JSON, unless `Accept` asks for XML alone.
pub(super) fn accepted(headers: &HeaderMap) -> Codec {
    header_text(headers, header::ACCEPT)
        .and_then(wire::accepted)
        .unwrap_or(Codec::Json)
}

/// The bytes of a document.
pub(super) fn encode(format: Codec, document: &impl Serialize) -> Vec<u8> {
    wire::encode(format, document).unwrap_or_else(|problem| {
        tracing::error!(%problem, "a document could not be encoded");
        br#"{"code":"INTERNAL_ERROR","message":"Internal error","error":500,"error_text":"Internal error"}"#.to_vec()
    })
}

/// A failure as this dialect answers it.
pub(super) fn failure(failure: &Failure, format: Codec, request_id: &RequestId) -> Response {
    let code = codes::code(failure);
    let status = StatusCode::from_u16(code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = encode(format, &FailureDocument::new(&code, request_id));
    let mut response = write(status, Some(format), body);
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

/// A response with a body in a format, or without one.
pub(super) fn write(status: StatusCode, format: Option<Codec>, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    if let Some(format) = format {
        let content_type = HeaderValue::from_static(format.content_type());
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type);
    }
    response
}
