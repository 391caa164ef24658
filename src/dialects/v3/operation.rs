//! The row of the table of operations, and the macro that links it to its handler.

use futures_util::future::BoxFuture;

use super::Api;
use super::call::Call;
use super::page::{Paging, QueryParameter, known};
use super::path_id::Id;
use super::respond::Described;
use crate::dialects::failure::Failure;
use crate::dialects::operation::{Access, BodyLimit, Cost, WhileSuspended};
use crate::dialects::schemas::Describe;
use crate::domain::Scope;
use crate::service::Context;

/// A row of the table: everything that defines one operation.
#[derive(Clone, Copy)]
pub struct Operation {
    /// The HTTP method, such as `GET`.
    pub method: &'static str,
    /// The path. It may contain `{id}`.
    pub path: &'static str,
    /// The name in metrics, logs and the OpenAPI document. Unique, and never changed.
    pub name: &'static str,
    /// The group in the OpenAPI document.
    pub tag: &'static str,
    /// What the operation does, in one line.
    pub summary: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Whether the credentials of a suspended reseller may call it.
    pub while_suspended: WhileSuspended,
    /// The kind of resource that `{id}` names, from the type of the handler's id.
    pub id: Id,
    /// Whether a repeat with the same `Idempotency-Key` gets the stored answer.
    pub idempotent: bool,
    /// Whether the answer may contain a secret.
    pub has_secret: bool,
    /// Whether the operation checks `If-Match`.
    pub conditional: bool,
    /// How its answer is paged.
    pub paging: Paging,
    /// The fields that `sort` can name, if it takes `sort`.
    pub(super) sorts: fn() -> Vec<&'static str>,
    /// The other query parameters.
    pub(super) query: &'static [QueryParameter],
    /// The largest body that the operation accepts.
    pub body_limit: BodyLimit,
    /// How much work the operation is. The dispatcher limits how many heavy operations run at once.
    pub cost: Cost,
    /// An example of the body, in JSON. Empty if the operation takes no body.
    pub example: &'static str,
    /// The HTTP status of a success.
    pub success: u16,
    /// The members of the body that must not be missing, besides those that the type of the request
    /// requires: its other operations can do without them.
    pub(super) required: &'static [&'static str],
    pub(super) request: Option<Describe>,
    pub(super) answer: Described,
    pub(super) handler: Handler,
    #[cfg(fuzzing)]
    pub(super) read: Option<crate::dialects::schemas::Reader>,
}

/// The function that executes an operation and writes its answer.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    Private(for<'a> fn(&'a Api, &'a Context, Call) -> Handling<'a>),
    Public(fn(&Api, Call) -> Handling<'_>),
}

type Handling<'a> = BoxFuture<'a, Result<axum::response::Response, Failure>>;

impl Operation {
    /// The names of the parameters that its query may have, except the filters of the list of
    /// accounts.
    pub fn query_parameters(&self) -> impl Iterator<Item = &'static str> + use<> {
        known(self.paging, self.query).into_iter()
    }

    /// The largest body that it accepts, in bytes. `configured` is `v3.max_body_bytes`.
    #[must_use]
    pub fn max_body(&self, configured: usize) -> usize {
        self.body_limit.bytes(configured)
    }

    /// Whether it answers one document and changes nothing.
    pub(super) fn reads_a_document(&self) -> bool {
        self.method == "GET" && matches!(self.answer, Described::One(_))
    }

    pub(super) const fn get(path: &'static str, name: &'static str) -> Self {
        Self::new("GET", path, name)
    }

    pub(super) const fn post(path: &'static str, name: &'static str) -> Self {
        Self::new("POST", path, name)
    }

    pub(super) const fn put(path: &'static str, name: &'static str) -> Self {
        Self::new("PUT", path, name)
    }

    pub(super) const fn patch(path: &'static str, name: &'static str) -> Self {
        Self::new("PATCH", path, name)
    }

    pub(super) const fn delete(path: &'static str, name: &'static str) -> Self {
        Self::new("DELETE", path, name)
    }

    /// A row with defaults: only operators may call it, and it answers that the route does not
    /// exist. The other methods replace the defaults.
    const fn new(method: &'static str, path: &'static str, name: &'static str) -> Self {
        Self {
            method,
            path,
            name,
            tag: "",
            summary: "",
            access: Access::Operator(Scope::ResellerWrite),
            while_suspended: if matches!(method.as_bytes(), b"GET") {
                WhileSuspended::Admitted
            } else {
                WhileSuspended::Refused
            },
            id: Id::None,
            idempotent: false,
            has_secret: false,
            conditional: false,
            paging: Paging::None,
            sorts: Vec::new,
            query: &[],
            body_limit: BodyLimit::Configured,
            cost: Cost::Light,
            example: "",
            success: 0,
            required: &[],
            request: None,
            answer: Described::Nothing,
            handler: Handler::Public(|_, _| Box::pin(async { Err(Failure::NoSuchRoute) })),
            #[cfg(fuzzing)]
            read: None,
        }
    }

    /// The group in the OpenAPI document, and a one-line summary.
    pub(super) const fn about(self, tag: &'static str, summary: &'static str) -> Self {
        Self {
            tag,
            summary,
            ..self
        }
    }

    /// Credentials with this scope may call it.
    pub(super) const fn scope(self, scope: Scope) -> Self {
        Self {
            access: Access::Scope(scope),
            ..self
        }
    }

    /// Every credential may call it.
    pub(super) const fn any_token(self) -> Self {
        Self {
            access: Access::AnyToken,
            ..self
        }
    }

    /// Operators' credentials with this scope may call it.
    pub(super) const fn operator(self, scope: Scope) -> Self {
        Self {
            access: Access::Operator(scope),
            ..self
        }
    }

    /// A suspended reseller may call it, although it is no `GET`.
    pub(super) const fn while_suspended(self) -> Self {
        Self {
            while_suspended: WhileSuspended::Admitted,
            ..self
        }
    }

    /// The operation takes an `Idempotency-Key`.
    pub(super) const fn idempotent(self) -> Self {
        Self {
            idempotent: true,
            ..self
        }
    }

    /// The body must have these members.
    pub(super) const fn requires(self, required: &'static [&'static str]) -> Self {
        Self { required, ..self }
    }

    /// The answer may contain a secret, so it is encrypted where it is stored.
    pub(super) const fn secret(self) -> Self {
        Self {
            has_secret: true,
            ..self
        }
    }

    /// The operation changes one account: it needs the scope `account:write`, and takes an
    /// `Idempotency-Key` and `If-Match`.
    pub(super) const fn changes_account(self) -> Self {
        Self {
            conditional: true,
            ..self.scope(Scope::AccountWrite).idempotent()
        }
    }

    pub(super) const fn paged(self, paging: Paging) -> Self {
        Self { paging, ..self }
    }

    /// `sort` can name these fields.
    pub(super) const fn sorted(self, sorts: fn() -> Vec<&'static str>) -> Self {
        Self { sorts, ..self }
    }

    pub(super) const fn query(self, query: &'static [QueryParameter]) -> Self {
        Self { query, ..self }
    }

    pub(super) const fn example(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    pub(super) const fn heavy(self) -> Self {
        Self {
            cost: Cost::Heavy,
            ..self
        }
    }

    pub(super) const fn body_limit(self, body_limit: BodyLimit) -> Self {
        Self { body_limit, ..self }
    }

    /// The handler, and the attributes that follow from its types.
    pub(super) const fn run(self, run: Run) -> Self {
        Self {
            access: match run.handler {
                Handler::Private(_) => self.access,
                Handler::Public(_) => Access::Public,
            },
            id: run.id,
            success: run.success,
            request: run.request,
            answer: run.answer,
            handler: run.handler,
            #[cfg(fuzzing)]
            read: run.read,
            ..self
        }
    }
}

/// The parts of a row that follow from its handler's types, so that they cannot contradict them.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub(super) id: Id,
    pub(super) request: Option<Describe>,
    pub(super) answer: Described,
    pub(super) success: u16,
    pub(super) handler: Handler,
    #[cfg(fuzzing)]
    pub(super) read: Option<crate::dialects::schemas::Reader>,
}

/// `run!(handler, (Id, Members) -> status Answer)` makes a [`Run`]. Leave `Members` out if there is
/// no body, and write `()` as the id if the path has none. `public` in front means that the handler
/// gets no caller.
macro_rules! run {
    ($handler:path, ($id:ty) -> $success:literal $answer:ty) => {
        Run {
            request: None,
            handler: Handler::Private(|api, context, call| {
                Box::pin(async move {
                    let format = call.format();
                    let NoMembers {} = call.members()?;
                    let request = call.with_id::<$id>(api, context).await?;
                    let reply: Reply<$answer> = $handler(api, context, request).await?;
                    Ok(reply.into_response(format, $success))
                })
            }),
            #[cfg(fuzzing)]
            read: None,
            ..run!(@types ($id) -> $success $answer)
        }
    };
    ($handler:path, ($id:ty, $members:ty) -> $success:literal $answer:ty) => {
        Run {
            request: Some(describe::<$members>),
            handler: Handler::Private(|api, context, call| {
                Box::pin(async move {
                    let format = call.format();
                    let members = call.members::<$members>()?;
                    let request = call.with_id::<$id>(api, context).await?.with_members(members);
                    let reply: Reply<$answer> = $handler(api, context, request).await?;
                    Ok(reply.into_response(format, $success))
                })
            }),
            #[cfg(fuzzing)]
            read: run!(@read $members),
            ..run!(@types ($id) -> $success $answer)
        }
    };
    (public $handler:path, ($members:ty) -> $success:literal $answer:ty) => {
        Run {
            request: Some(describe::<$members>),
            handler: Handler::Public(|api, call| {
                Box::pin(async move {
                    let format = call.format();
                    let members = call.members::<$members>()?;
                    let reply: Reply<$answer> = $handler(api, call, members).await?;
                    Ok(reply.into_response(format, $success))
                })
            }),
            #[cfg(fuzzing)]
            read: run!(@read $members),
            ..run!(@types (()) -> $success $answer)
        }
    };
    (@types ($id:ty) -> $success:literal $answer:ty) => {
        Run {
            id: <$id as PathId>::KIND,
            request: None,
            answer: <$answer as Answer>::DESCRIBED,
            success: $success,
            handler: Handler::Public(|_, _| Box::pin(async { Err(Failure::NoSuchRoute) })),
            #[cfg(fuzzing)]
            read: None,
        }
    };
    (@read $members:ty) => {
        Some(|codec, body| drop(crate::wire::decode::<$members>(codec, body)))
    };
}

pub(super) use run;
