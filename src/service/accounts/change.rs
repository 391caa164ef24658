//! Changes of accounts. All of them go through the write lanes.

use std::sync::Arc;

use tracing::{Instrument as _, debug_span};
use uuid::Uuid;

use crate::domain::{
    AccountId, Command, Error, HoldId, HoldKind, HoldPatch, ResellerId, Revision, Scope,
};
use crate::service::group_commit::{ChangeKind, Request};
use crate::service::{Completion, Context, IdempotentRequest, Service};
use crate::telemetry;

impl Service {
    /// Carries out a command on an account. With `idempotency`, a repeat gets the stored answer.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`], [`Error::AccountDeleted`], and the conflicts of the command.
    /// After [`Error::Unavailable`] the command may have been committed or not. It is safe to send
    /// it again: a repeat changes nothing.
    pub async fn execute(
        &self,
        context: &Context,
        account: AccountId,
        command: Command,
        idempotency: Option<IdempotentRequest>,
    ) -> Result<Completion, Error> {
        self.execute_at(context, account, command, None, idempotency)
            .await
    }

    /// Carries out a command on an account, if the account has one of the expected versions. Without
    /// `expected_versions`, any version will do.
    ///
    /// # Errors
    /// [`Error::PreconditionFailed`] if the account has another version, and as
    /// [`Service::execute`].
    pub async fn execute_at(
        &self,
        context: &Context,
        account: AccountId,
        command: Command,
        expected_versions: Option<Arc<[i64]>>,
        idempotency: Option<IdempotentRequest>,
    ) -> Result<Completion, Error> {
        context.principal.require(Scope::AccountWrite)?;
        let reseller = self.owner_of(context, account).await?;
        self.change(Request {
            context: context.clone(),
            reseller,
            kind: ChangeKind::Command {
                account,
                command,
                expected_versions,
                filter: None,
            },
            idempotency,
        })
        .await
    }

    /// Freezes, suspends or retains an account.
    ///
    /// # Errors
    /// As [`Service::execute`].
    pub async fn place(
        &self,
        context: &Context,
        account: AccountId,
        kind: HoldKind,
        details: HoldPatch,
        idempotency: Option<IdempotentRequest>,
    ) -> Result<Completion, Error> {
        let command = Command::Place {
            kind,
            owner: None,
            fresh: HoldId(Uuid::now_v7()),
            details,
        };
        self.execute(context, account, command, idempotency).await
    }

    /// Deletes an account. It can be restored until it is purged, which happens after the
    /// configured window.
    ///
    /// # Errors
    /// As [`Service::execute`].
    pub async fn delete(
        &self,
        context: &Context,
        account: AccountId,
        idempotency: Option<IdempotentRequest>,
    ) -> Result<Completion, Error> {
        self.execute(context, account, self.deletion(), idempotency)
            .await
    }

    /// The command that deletes an account, with the configured window until it may be purged.
    #[must_use]
    pub fn deletion(&self) -> Command {
        Command::Delete {
            purge_after: self.settings.purge_window,
        }
    }

    /// Creates an account. An operator must name the reseller; a reseller may name itself.
    ///
    /// # Errors
    /// [`Error::QuotaReached`], [`Error::Conflict`] or [`Error::InvalidField`].
    pub async fn create(
        &self,
        context: &Context,
        reseller: Option<ResellerId>,
        revision: Revision,
        idempotency: Option<IdempotentRequest>,
    ) -> Result<Completion, Error> {
        context.principal.require(Scope::AccountWrite)?;
        let reseller = context.principal.resolve_reseller(reseller)?;
        if reseller.0 < 1 {
            return Err(Error::ResellerNotFound);
        }
        self.change(Request {
            context: context.clone(),
            reseller,
            kind: ChangeKind::Create {
                uid: Uuid::new_v4(),
                revision: Box::new(revision),
            },
            idempotency,
        })
        .await
    }

    /// Queues a change on a write lane and waits for its outcome.
    pub(in crate::service) async fn change(&self, request: Request) -> Result<Completion, Error> {
        let span = debug_span!(target: telemetry::SPANS, "change", reseller = request.reseller.0);
        self.writes
            .submit(request.reseller, request)
            .instrument(span)
            .await
    }
}
