//! The row of the table of operations, and what ties it to its handler.

use futures_util::future::BoxFuture;

use super::Api;
use super::call::Call;
use super::page::QueryParameter;
use super::path_id::Id;
use super::respond::Described;
use crate::dialects::failure::Failure;
use crate::dialects::operation::{Access, BodyLimit, Cost, UnknownMembers};
use crate::dialects::schemas::Describe;
use crate::domain::Scope;
use crate::service::Context;

/// One operation: everything that is said of it, once.
#[derive(Clone, Copy)]
pub struct Operation {
    /// `GET`, `POST` and so on.
    pub method: &'static str,
    /// Its path; `{id}` stands for what [`Operation::id`] says.
    pub path: &'static str,
    /// Its name in metrics, logs and the OpenAPI document; unique, and never changed.
    pub name: &'static str,
    /// The group in which the OpenAPI document lists it.
    pub tag: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What `{id}` in its path names. Follows from the type that the handler takes.
    pub id: Id,
    /// Whether a repeat with the same `Idempotency-Key` is answered with the stored answer.
    pub idempotent: bool,
    /// Whether `If-Match` is honoured.
    pub conditional: bool,
    /// How its answer is paged.
    pub paging: Paging,
    /// The other parameters of its query.
    pub(super) query: &'static [QueryParameter],
    /// What becomes of members of the body that the request does not know.
    pub unknown_members: UnknownMembers,
    /// The largest body that it accepts.
    pub body_limit: BodyLimit,
    /// How much work it is.
    pub cost: Cost,
    /// A body that it accepts, in JSON; empty where it takes none.
    pub example: &'static str,
    /// The status of a success.
    pub success: u16,
    pub(super) request: Option<Describe>,
    pub(super) answer: Described,
    pub(super) handler: Handler,
    #[cfg(fuzzing)]
    pub(super) read: Option<crate::dialects::fuzzing::Reader>,
}

/// How an answer is paged. The dispatcher reads the parameters of the paging; except for [`Paging::None`] it refuses others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paging {
    /// It is no list.
    None,
    /// The whole list is one page.
    Whole,
    /// `after` a number, and `limit`.
    AfterNumber,
    /// `after` a cursor, and `limit`.
    AfterCursor,
    /// `before` an id, newest first, and `limit`.
    BeforeId,
    /// `page`, `sort`, `after`, `limit` and filters: the list of accounts.
    Search,
}

/// The function that carries an operation out, with its answer already written.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    Private(for<'a> fn(&'a Api, &'a Context, Call) -> Handling<'a>),
    Public(fn(&Api, Call) -> Handling<'_>),
}

type Handling<'a> = BoxFuture<'a, Result<axum::response::Response, Failure>>;

impl Operation {
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

    /// A row that is open to operators only and leads nowhere, until it says otherwise.
    const fn new(method: &'static str, path: &'static str, name: &'static str) -> Self {
        Self {
            method,
            path,
            name,
            tag: "",
            summary: "",
            access: Access::Operator(Scope::ResellerWrite),
            id: Id::None,
            idempotent: false,
            conditional: false,
            paging: Paging::None,
            query: &[],
            unknown_members: UnknownMembers::Ignore,
            body_limit: BodyLimit::Configured,
            cost: Cost::Light,
            example: "",
            success: 0,
            request: None,
            answer: Described::Nothing,
            handler: Handler::Public(|_, _| Box::pin(async { Err(Failure::NoSuchRoute) })),
            #[cfg(fuzzing)]
            read: None,
        }
    }

    /// The group in the OpenAPI document, and what the operation does, in a line.
    pub(super) const fn about(self, tag: &'static str, summary: &'static str) -> Self {
        Self {
            tag,
            summary,
            ..self
        }
    }

    /// Open to credentials with this scope.
    pub(super) const fn scope(self, scope: Scope) -> Self {
        Self {
            access: Access::Scope(scope),
            ..self
        }
    }

    /// Open to operators with this scope.
    pub(super) const fn operator(self, scope: Scope) -> Self {
        Self {
            access: Access::Operator(scope),
            ..self
        }
    }

    /// Takes an `Idempotency-Key`.
    pub(super) const fn idempotent(self) -> Self {
        Self {
            idempotent: true,
            ..self
        }
    }

    /// Changes one account: takes the scope for that, an `Idempotency-Key` and `If-Match`.
    pub(super) const fn changes_account(self) -> Self {
        Self {
            conditional: true,
            ..self.scope(Scope::AccountWrite).idempotent()
        }
    }

    pub(super) const fn paged(self, paging: Paging) -> Self {
        Self { paging, ..self }
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

    /// The handler, and what follows from its types.
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

/// What a row takes from its handler's types, so that the row cannot say anything else.
pub(super) struct Run {
    pub(super) id: Id,
    pub(super) request: Option<Describe>,
    pub(super) answer: Described,
    pub(super) success: u16,
    pub(super) handler: Handler,
    #[cfg(fuzzing)]
    pub(super) read: Option<crate::dialects::fuzzing::Reader>,
}

/// `run!(handler(IdOfThePath, Members) -> status Answer)`: the members are left out where there is no body, the id is `()` where the
/// path has none. `public` in front: a handler without a caller.
macro_rules! run {
    ($handler:path, ($id:ty) -> $success:literal $answer:ty) => {
        Run {
            request: None,
            handler: Handler::Private(|api, context, call| {
                Box::pin(async move {
                    let format = call.format();
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
