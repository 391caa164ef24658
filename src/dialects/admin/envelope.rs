//! The envelope of this dialect's answers, in JSON or XML, with its members in alphabetical order.

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::codes::Code;
use super::replies::{AccountDocument, SavedItem, object};
use crate::dialects::views::{blocked_by, held_by};
use crate::domain::Outcome;
use crate::service::CommandOutcome;
use crate::wire::{self, Codec, Rows};

/// The `error_text` of every success.
pub(super) const SUCCESS: &str = "Successful operation";

/// The envelope of every answer. Members without a value are left out.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Envelope {
    /// What blocks the account now. Only with `verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    blocked_by: Option<Vec<&'static str>>,
    /// Whether the call changed the account. Only with `verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    changed: Option<bool>,
    /// The result, if the call has one. In XML, a list is one element per item.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    #[schema(value_type = Option<Value>)]
    data: Option<Data>,
    /// The computed state of the account. Only with `verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    effective_status: Option<&'static str>,
    /// 0 for a success, else the HTTP status of the error.
    error: u16,
    /// `Successful operation`, or the reason for the error.
    error_text: String,
    /// The holds in force, such as `suspend:reseller` or `freeze:reseller:billing`: kind, authority
    /// and owner. Only with `verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    held_by: Option<Vec<String>>,
    /// The paths of the members of the request that were ignored. Only with `verbose`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    ignored: Vec<String>,
    /// The `before` of the next page. Only in lists of journal entries that are shorter than their
    /// `limit` because a page has at most 1 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_before: Option<i64>,
    /// The `from_id` of the next page. Only in lists of accounts that are shorter than their `limit`
    /// because a page has at most 1 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_from_id: Option<i64>,
    /// The number of all accounts that match. Only in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    total_count: Option<i64>,
}

/// The result of a call that is not a list.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Data {
    Value(Value),
    Account(AccountDocument),
}

/// The next page of a list, for a page that ended before its limit.
#[derive(Debug, Clone, Copy)]
pub(super) enum Next {
    /// The list goes on from this account.
    FromId(i64),
    /// The list goes on before this journal entry.
    Before(i64),
}

/// An answer before it is encoded.
#[derive(Debug)]
pub(super) struct Reply {
    envelope: Envelope,
    /// The beginning of the encoded answer, up to the last row, if the result is a list.
    rows: Option<Vec<u8>>,
    /// Whether XML has an empty `<data/>` if there is no result. Altcraft leaves it out for some
    /// calls.
    has_data_element: bool,
}

impl Reply {
    fn success() -> Self {
        let envelope = Envelope {
            blocked_by: None,
            changed: None,
            data: None,
            effective_status: None,
            error: 0,
            error_text: SUCCESS.to_owned(),
            held_by: None,
            ignored: Vec::new(),
            next_before: None,
            next_from_id: None,
            total_count: None,
        };
        Self {
            envelope,
            rows: None,
            has_data_element: true,
        }
    }

    /// The answer to a change.
    pub(super) fn done(done: &CommandOutcome, verbose: bool) -> Self {
        let mut reply = Self::success();
        if verbose {
            let state = done.account.state(done.at);
            reply.envelope.blocked_by = Some(blocked_by(&state));
            reply.envelope.held_by = Some(held_by(&done.account, done.at));
            reply.envelope.changed = Some(done.outcome == Outcome::Applied);
            reply.envelope.effective_status = Some(state.effective_status());
        }
        reply
    }

    /// The answer to `freeze`, with the release ticket if the request asked for one.
    pub(super) fn frozen(
        done: &CommandOutcome,
        verbose: bool,
        ticket: Option<&SecretString>,
    ) -> Self {
        let mut reply = Self::done(done, verbose);
        reply.envelope.data = ticket.map(|ticket| {
            Data::Value(serde_json::json!({ "release_ticket": ticket.expose_secret() }))
        });
        reply
    }

    /// The answer to a change without a `<data/>` in XML, as Altcraft answers `activate` and
    /// `deactivate`.
    pub(super) fn done_bare(done: &CommandOutcome, verbose: bool) -> Self {
        Self {
            has_data_element: false,
            ..Self::done(done, verbose)
        }
    }

    /// The answer to `save`.
    pub(super) fn saved(done: &CommandOutcome, verbose: bool) -> Self {
        let mut reply = Self::done(done, verbose);
        reply.envelope.data = Some(Data::Value(Value::Object(object(&SavedItem {
            saved_id: done.account.id.as_i32(),
        }))));
        reply
    }

    /// An answer with one result.
    pub(super) fn data(data: Value) -> Self {
        let mut reply = Self::success();
        reply.envelope.data = Some(Data::Value(data));
        reply
    }

    /// An answer with one account.
    pub(super) fn account(account: AccountDocument) -> Self {
        let mut reply = Self::success();
        reply.envelope.data = Some(Data::Account(account));
        reply
    }

    /// An answer with a list that is always whole, because it is always smaller than a page.
    pub(super) fn list(codec: Codec, items: Vec<Value>) -> Self {
        let written = rows(codec, items, Value::clone).and_then(|page| {
            if page.is_cut {
                Err("a list without pages is larger than a page".to_owned())
            } else {
                Ok(page)
            }
        });
        Self::rows(written, false, |_| Next::Before(0))
    }

    /// An answer with rows that were written. If they are fewer than the `limit` of the request and
    /// more follow, `is_short` is true, and `next` makes the position after the last one.
    pub(super) fn rows<R>(
        written: Result<Rows<R>, String>,
        is_short: bool,
        next: impl FnOnce(&R) -> Next,
    ) -> Self {
        let mut reply = Self::success();
        match written {
            Ok(page) => {
                let is_short = is_short || page.is_cut;
                if let Some(last) = page.last.as_ref().filter(|_| is_short) {
                    reply.set_next(next(last));
                }
                reply.rows = Some(page.finish(""));
            }
            Err(problem) => {
                tracing::error!(%problem, "cannot write a list; sending an internal error instead");
                reply.envelope.error = 500;
                "Internal error".clone_into(&mut reply.envelope.error_text);
            }
        }
        reply
    }

    /// Adds the paths of the members that were ignored.
    pub(super) fn ignoring(mut self, paths: &[String]) -> Self {
        self.envelope.ignored = paths.to_vec();
        self
    }

    fn set_next(&mut self, next: Next) {
        match next {
            Next::FromId(id) => self.envelope.next_from_id = Some(id),
            Next::Before(id) => self.envelope.next_before = Some(id),
        }
    }

    /// Adds the number of all accounts that match.
    pub(super) fn with_total(mut self, total: Option<i64>) -> Self {
        self.envelope.total_count = total;
        self
    }

    /// The answer to a failure.
    pub(super) fn failure(code: &Code) -> Self {
        let mut reply = Self::success();
        reply.has_data_element = false;
        reply.envelope.error = code.error;
        reply.envelope.error_text.clone_from(&code.error_text);
        reply
    }

    /// The encoded answer.
    pub(super) fn encode(mut self, codec: Codec) -> Vec<u8> {
        let rows = self.rows.take();
        if codec == Codec::Xml
            && rows.is_none()
            && self.envelope.data.is_none()
            && self.has_data_element
        {
            self.envelope.data = Some(Data::Value(Value::Null));
        }
        let envelope = wire::encode(codec, &self.envelope);
        let envelope = match (rows, envelope) {
            (Some(rows), Ok(envelope)) => Ok(after_rows(codec, rows, &envelope)),
            (_, envelope) => envelope,
        };
        envelope.unwrap_or_else(|problem| {
            tracing::error!(%problem, "cannot encode an answer; sending an internal error instead");
            match codec {
                Codec::Json => br#"{"error":500,"error_text":"Internal error"}"#.to_vec(),
                Codec::Xml => {
                    b"<xml><error>500</error><error_text>Internal error</error_text></xml>".to_vec()
                }
            }
        })
    }
}

/// Encodes the rows of a list until the page is full ([`MAX_PAGE`](wire::MAX_PAGE)).
pub(super) fn rows<R, D: Serialize>(
    codec: Codec,
    rows: Vec<R>,
    document: impl FnMut(&R) -> D,
) -> Result<Rows<R>, String> {
    let begin = match (codec, rows.is_empty()) {
        (Codec::Json, _) => r#"{"data":["#,
        (Codec::Xml, false) => "<xml>",
        (Codec::Xml, true) => "<xml><data/>",
    };
    Rows::encode(codec, begin, "data", rows, document)
}

/// The rows of a list, and the members of the envelope after them.
fn after_rows(codec: Codec, mut rows: Vec<u8>, envelope: &[u8]) -> Vec<u8> {
    let (begin, end): (&[u8], &[u8]) = match codec {
        Codec::Json => (b"{", b"],"),
        Codec::Xml => (b"<xml>", b""),
    };
    rows.extend_from_slice(end);
    rows.extend_from_slice(envelope.strip_prefix(begin).unwrap_or(envelope));
    rows
}
