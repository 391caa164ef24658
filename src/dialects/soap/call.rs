//! A request on its way through a handler, and how its result or fault is written.

use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::NAMESPACE;
use super::codes::{self, Code, Fault, Wording};
use super::values::Values;
use crate::dialects::body;
use crate::dialects::exchange::RequestOutcome;
use crate::dialects::failure::Failure;
use crate::domain::Error;
use crate::service::{
    Completion, Fingerprint, IdempotencyKey, IdempotentRequest, ResultHeaders, StoredAnswer,
};
use crate::wire::{SoapVersion, escaped, write_envelope, write_not_understood};

/// What was wrong, where the message in the body is one of Zoolz's, which are fixed.
pub(super) const PROBLEM: HeaderName = HeaderName::from_static("steward-problem");

/// The result of a handler.
pub(super) enum Answer {
    /// The change succeeded. The row of the operation has the message.
    Success,
    /// The call succeeded, and this JSON document is its result.
    Info(String),
    /// The stored answer to an earlier request with the same idempotency key.
    Stored(StoredAnswer),
}

/// What a handler returns.
pub(super) type HandlerResult = Result<Answer, Failure>;

impl From<Completion> for Answer {
    fn from(completion: Completion) -> Self {
        match completion {
            Completion::Fresh(_) => Self::Success,
            Completion::Replayed(stored) => Self::Stored(stored),
        }
    }
}

/// A request whose envelope has been read.
pub(super) struct Call {
    /// The texts of its results.
    pub(super) wording: &'static Wording,
    pub(super) values: Values,
    pub(super) version: SoapVersion,
    pub(super) hide_foreign: bool,
    pub(super) as_number: bool,
    /// `None` if the caller sent no idempotency key, or if the operation does not take one.
    pub(super) key: Option<IdempotencyKey>,
    /// The children of the request that were not read.
    pub(super) ignored: Vec<String>,
    /// What the request asks for; all zeros without a key.
    pub(super) fingerprint: Fingerprint,
}

/// The business result of a request, before it is written.
pub(super) struct CallResult {
    code: Code,
    message: String,
    /// The content of the `Joson` or `JSON` element. Empty in most operations.
    document: String,
    pub(super) outcome: RequestOutcome,
}

impl Call {
    /// The idempotency key, the body's fingerprint, and the function that encodes the answer for
    /// storage. `None` if the caller sent no key.
    pub(super) fn idempotency(&self) -> Option<IdempotentRequest> {
        self.idempotency_of(|_| String::new())
    }

    /// The same for a request whose result has a document; `document` makes it.
    pub(super) fn idempotency_of<T>(
        &self,
        document: impl Fn(&T) -> String + Send + Sync + 'static,
    ) -> Option<IdempotentRequest<T>> {
        let key = self.key.clone()?;
        let (wording, version) = (self.wording, self.version);
        let (hide_foreign, as_number) = (self.hide_foreign, self.as_number);
        let encode = move |outcome: &Result<T, Error>| {
            let result = match outcome {
                Ok(done) => success(wording, document(done)),
                Err(error) => failure(&error.clone().into(), wording, hide_foreign),
            };
            stored(version, wording, &result, as_number)
        };
        Some(IdempotentRequest {
            key,
            fingerprint: self.fingerprint,
            other_key: None,
            encode: Arc::new(encode),
            seal: None,
        })
    }

    /// A failure as it is stored for a repeat of the request.
    pub(super) fn stored_failure(&self, reason: &Failure) -> StoredAnswer {
        let result = self.failure(reason);
        stored(self.version, self.wording, &result, self.as_number)
    }

    pub(super) fn success(&self, info: String) -> CallResult {
        success(self.wording, info)
    }

    pub(super) fn failure(&self, reason: &Failure) -> CallResult {
        failure(reason, self.wording, self.hide_foreign)
    }

    pub(super) fn write(&self, result: &CallResult) -> String {
        write_result(self.version, self.wording, result, self.as_number)
    }
}

/// A success. The message is fixed, or it is the document.
fn success(wording: &Wording, document: String) -> CallResult {
    let message = match wording.success {
        "" => document.clone(),
        fixed => fixed.to_owned(),
    };
    let outcome = RequestOutcome::Ok;
    CallResult {
        code: Code::Success,
        message,
        document,
        outcome,
    }
}

fn failure(failure: &Failure, wording: &Wording, hide_foreign: bool) -> CallResult {
    let (code, message) = codes::result(failure, wording, hide_foreign);
    let outcome = if let Failure::Service(Error::Unavailable | Error::Overloaded) = failure {
        RequestOutcome::Unavailable
    } else if let Failure::Service(Error::Internal { .. }) = failure {
        RequestOutcome::Error
    } else {
        RequestOutcome::Refused
    };
    CallResult {
        code,
        message,
        document: String::new(),
        outcome,
    }
}

fn stored(
    version: SoapVersion,
    wording: &Wording,
    result: &CallResult,
    as_number: bool,
) -> StoredAnswer {
    StoredAnswer {
        // The HTTP status of every result is 200. The stored status tells the outcome: for the
        // metrics, and because the service stores no answer with a status of 500 or more.
        status: match result.outcome {
            RequestOutcome::Ok => 200,
            RequestOutcome::Refused => 400,
            RequestOutcome::RateLimited => 429,
            RequestOutcome::Unavailable | RequestOutcome::Error => 503,
        },
        content_type: version.content_type().to_owned(),
        body: write_result(version, wording, result, as_number).into_bytes(),
        headers: ResultHeaders::default(),
    }
}

fn write_result(
    version: SoapVersion,
    wording: &Wording,
    result: &CallResult,
    as_number: bool,
) -> String {
    let name = wording.operation;
    let text = |name: &str, text: &str| {
        if text.is_empty() {
            format!("<{name} />")
        } else {
            format!("<{name}>{}</{name}>", escaped(text))
        }
    };
    let code = result.code.text(as_number);
    let message = text("Message", &result.message);
    let document = wording.detail.element();
    let document = document.map_or_else(String::new, |name| text(name, &result.document));
    let content = format!("<{name}Result><Code>{code}</Code>{message}{document}</{name}Result>");
    let body = format!("<{name}Response xmlns=\"{NAMESPACE}\">{content}</{name}Response>");
    write_envelope(version, &body)
}

/// Writes a fault, with its outcome for the metrics. The outcome cannot be derived from the HTTP
/// status, because faults of the caller also have status 500.
pub(super) fn fault(fault: &Fault, version: SoapVersion) -> (Response, RequestOutcome) {
    if let Fault::MediaType(why) = fault {
        // Whoever did not send SOAP cannot read it: the body is empty, as the original's is.
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let mut response = body::response(status, None, String::new());
        if let Ok(why) = HeaderValue::from_str(why) {
            response.headers_mut().insert(PROBLEM, why);
        }
        return (response, RequestOutcome::of_status(status.as_u16()));
    }
    let (fault, detail) = if let Fault::Explained(fault, why) = fault {
        (fault.as_ref(), Some(why))
    } else {
        (fault, None)
    };
    let detail_of = |name: &str| match detail {
        Some(why) => {
            let why = escaped(why);
            format!("<{name}><explanation xmlns=\"{NAMESPACE}\">{why}</explanation></{name}>")
        }
        None => format!("<{name} />"),
    };
    let (status, code, reason) = fault.describe(version);
    let reason = escaped(&reason);
    let content = match version {
        SoapVersion::V12 => format!(
            "<soap:Fault><soap:Code><soap:Value>soap:{code}</soap:Value></soap:Code><soap:Reason><soap:Text xml:lang=\"en\">{reason}</soap:Text></soap:Reason>{}</soap:Fault>",
            detail_of("soap:Detail")
        ),
        SoapVersion::V11 => format!(
            "<soap:Fault><faultcode>soap:{code}</faultcode><faultstring>{reason}</faultstring>{}</soap:Fault>",
            detail_of("detail")
        ),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let envelope = match fault {
        Fault::MustUnderstand(blocks) => write_not_understood(version, blocks, &content),
        Fault::Envelope(_)
        | Fault::NoOperation
        | Fault::UnknownOperation(_)
        | Fault::Request(_)
        | Fault::Header(_)
        | Fault::MediaType(_)
        | Fault::Explained(..)
        | Fault::RateLimited { .. }
        | Fault::Busy
        | Fault::Crash
        | Fault::TimedOut
        | Fault::BodyTimedOut => write_envelope(version, &content),
    };
    let mut response = body::response(status, Some(version.content_type()), envelope);
    let outcome = match fault {
        Fault::Crash => RequestOutcome::Error,
        Fault::TimedOut | Fault::Busy => RequestOutcome::Unavailable,
        Fault::RateLimited { .. } => RequestOutcome::RateLimited,
        Fault::Envelope(_)
        | Fault::NoOperation
        | Fault::UnknownOperation(_)
        | Fault::Request(_)
        | Fault::Header(_)
        | Fault::MediaType(_)
        | Fault::Explained(..)
        | Fault::MustUnderstand(_)
        | Fault::BodyTimedOut => RequestOutcome::Refused,
    };
    let retry_after = match fault {
        Fault::RateLimited { retry_after } => Some(*retry_after),
        Fault::Busy => Some(1),
        Fault::Envelope(_)
        | Fault::NoOperation
        | Fault::UnknownOperation(_)
        | Fault::Request(_)
        | Fault::Header(_)
        | Fault::MediaType(_)
        | Fault::Explained(..)
        | Fault::MustUnderstand(_)
        | Fault::Crash
        | Fault::TimedOut
        | Fault::BodyTimedOut => None,
    };
    if let Some(seconds) = retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    (response, outcome)
}
