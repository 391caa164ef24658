//! The row of the table of calls, and the macro that links it to its handler.

use futures_util::future::BoxFuture;

use super::Api;
use super::call::{Answer, Call};
use crate::dialects::failure::Failure;
use crate::dialects::operation::{Access, BodyLimit, Cost, WhileSuspended};
use crate::dialects::schemas::Describe;
use crate::domain::Scope::AccountWrite;
use crate::service::Context;
use crate::wire::Codec;

/// A row of the table: everything that defines one call.
#[derive(Clone, Copy)]
pub struct Operation {
    /// The last part of the path, which is also the name in metrics and logs. Every path also works
    /// with a slash at its end.
    pub name: &'static str,
    /// What the call does, in one line.
    pub summary: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Whether the credentials of a suspended reseller may call it.
    pub while_suspended: WhileSuspended,
    /// Whether a repeat with the same `Idempotency-Key` gets the stored answer.
    pub idempotent: bool,
    /// Whether the answer may contain a secret.
    pub has_secret: bool,
    /// The largest body that the call accepts.
    pub body_limit: BodyLimit,
    /// How much work the call is. The dispatcher limits how many heavy calls run at once.
    pub cost: Cost,
    /// An example of the body, in JSON.
    pub example: &'static str,
    pub(super) request: Describe,
    pub(super) data: Data,
    pub(super) handler: Handler,
    pub(super) ignored: Ignored,
    #[cfg(fuzzing)]
    pub(super) read: crate::dialects::schemas::Reader,
}

/// The content of the answer's `data` member.
#[derive(Clone, Copy)]
pub(super) enum Data {
    Nothing,
    One(Describe),
    Many(Describe),
}

/// The function that executes a call.
pub(super) type Handler =
    for<'a> fn(&'a Api, &'a Context, Call) -> BoxFuture<'a, Result<Answer, Failure>>;

/// The function that lists the paths of the members of a body that a call ignores. It lists none if
/// the body cannot be decoded.
pub(super) type Ignored = fn(Codec, &[u8]) -> Vec<String>;

impl Operation {
    pub(super) const fn new(
        name: &'static str,
        access: Access,
        summary: &'static str,
        run: Run,
    ) -> Self {
        Self {
            name,
            summary,
            access,
            while_suspended: if matches!(access, Access::Scope(AccountWrite)) {
                WhileSuspended::Refused
            } else {
                WhileSuspended::Admitted
            },
            idempotent: matches!(access, Access::Scope(AccountWrite)),
            has_secret: false,
            body_limit: BodyLimit::Configured,
            cost: Cost::Light,
            example: "",
            request: run.request,
            data: Data::Nothing,
            handler: run.handler,
            ignored: run.ignored,
            #[cfg(fuzzing)]
            read: run.read,
        }
    }

    /// Whether the `data` of its answer is a list.
    #[must_use]
    pub const fn answers_a_list(&self) -> bool {
        matches!(self.data, Data::Many(_))
    }

    pub(super) const fn data(self, data: Data) -> Self {
        Self { data, ..self }
    }

    /// The answer may contain a secret, so it is encrypted where it is stored.
    pub(super) const fn secret(self) -> Self {
        Self {
            has_secret: true,
            ..self
        }
    }

    pub(super) const fn heavy(self) -> Self {
        Self {
            cost: Cost::Heavy,
            ..self
        }
    }

    pub(super) const fn example(self, example: &'static str) -> Self {
        Self { example, ..self }
    }
}

/// The parts of a row that follow from its handler's types, so that they cannot contradict them.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub(super) request: Describe,
    pub(super) handler: Handler,
    pub(super) ignored: Ignored,
    #[cfg(fuzzing)]
    pub(super) read: crate::dialects::schemas::Reader,
}

/// `run!(handler, Members)`, or `run!(handler, Members, is_ignored)` if the call makes use of some
/// members that the type has no field for.
macro_rules! run {
    ($handler:ident, $members:ty) => {
        run!($handler, $members, |_| true)
    };
    ($handler:ident, $members:ty, $is_ignored:expr) => {
        Run {
            request: describe::<$members>,
            handler: |api, context, call| {
                Box::pin(async move {
                    let request = call.with_members::<$members>()?;
                    let ignored = request.call.named_in_body();
                    let answer = handlers::$handler(api, context, request).await?;
                    Ok(answer.ignoring(&ignored))
                })
            },
            ignored: |codec, body| ignored_members::<$members>(codec, body, $is_ignored),
            #[cfg(fuzzing)]
            read: |codec, body| drop(crate::wire::decode::<$members>(codec, body)),
        }
    };
}

pub(super) use run;
