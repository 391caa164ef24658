//! One account: as it is, as it was, and as commands would leave it.

use crate::domain::{
    Account, AccountId, BlockDetail, Command, Error, Explanation, Lift, Scope, Time,
};
use crate::service::group_commit::{ChangeKind, Rehearsal, Rehearsed, Request};
use crate::service::{Context, Principal, Service};
use crate::store::{Tenancy, Tx};

/// Why an account is blocked, and what keeps the caller from lifting each block.
#[derive(Debug, Clone)]
pub struct Explained {
    /// The account.
    pub account: Account,
    /// Its blocks.
    pub explanation: Explanation,
    /// Why the caller cannot lift each block, in the order of the blocks and then of what is milder.
    /// `None` if it can.
    /// [`Error::OperatorRequired`] means that it lacks the authority.
    pub obstacles: Vec<Option<Error>>,
    /// The instant that the explanation is for.
    pub at: Time,
}

impl Service {
    /// One account, and when it was read.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`], or [`Error::AccountDeleted`] if it is deleted and not purged
    /// yet.
    pub async fn account(
        &self,
        context: &Context,
        id: AccountId,
    ) -> Result<(Account, Time), Error> {
        let account = self.account_or_deleted(context, id).await?;
        if account.deleted_at.is_some() {
            Err(Error::AccountDeleted)
        } else {
            Ok((account, self.now()))
        }
    }

    /// One account, also if it is deleted and not purged yet.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`].
    pub async fn account_or_deleted(
        &self,
        context: &Context,
        id: AccountId,
    ) -> Result<Account, Error> {
        context.principal.require(Scope::AccountRead)?;
        let reseller = self.owner_of(context, id).await?;
        self.reads
            .submit((reseller, id))
            .await?
            .ok_or(Error::AccountNotFound)
    }

    /// One account as it was at an instant, rewound by the journal, deleted or not.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`], also if the account did not exist yet; [`Error::InvalidField`]
    /// if the instant is in the future or the journal does not reach back to it.
    pub async fn account_as_of(
        &self,
        context: &Context,
        id: AccountId,
        at: Time,
    ) -> Result<Account, Error> {
        self.check_past(at)?;
        let account = self.account_or_deleted(context, id).await?;
        let past = self
            .read(Tenancy::of(account.reseller_id), move |tx| {
                Box::pin(tx.rewind(account, at))
            })
            .await?;
        past.ok_or(Error::AccountNotFound)
    }

    /// What the caller's commands would do to an account, carried out one after the other. They are
    /// decided as the commands themselves would be, and nothing is written. Also returns the account
    /// as it is and when it was read.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`].
    pub async fn simulate(
        &self,
        context: &Context,
        account: AccountId,
        commands: Vec<Command>,
    ) -> Result<(Account, Vec<Result<Rehearsed, Error>>, Time), Error> {
        context.principal.require(Scope::AccountRead)?;
        let reseller = self.owner_of(context, account).await?;
        let (context, now) = (context.clone(), self.now());
        self.read(Tenancy::of(reseller), move |tx| {
            Box::pin(async move {
                let found = tx.fetch_account(reseller, account).await?;
                let before = found.ok_or(Error::AccountNotFound)?;
                let results = rehearse(tx, &context, &before, commands, now).await?;
                Ok((before, results, now))
            })
        })
        .await
    }

    /// Explains why an account is blocked, and for each block whether the caller may lift it.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`].
    pub async fn explain(&self, context: &Context, id: AccountId) -> Result<Explained, Error> {
        let account = self.account_or_deleted(context, id).await?;
        let (context, now) = (context.clone(), self.now());
        let explanation = account.explain(now);
        let mut obstacles = Vec::new();
        for block in explanation.blocks.iter().chain(&explanation.milder) {
            let is_allowed = may_lift(&context.principal, block);
            obstacles.push(match (is_allowed, block.command(now)) {
                (Ok(()), Some(command)) => self.obstacle(&context, &account, command).await?,
                (Ok(()), None) => None,
                (Err(obstacle), _) => Some(obstacle),
            });
        }
        Ok(Explained {
            account,
            explanation,
            obstacles,
            at: now,
        })
    }

    /// Why a command of the caller would be refused now. `None` if it would be carried out.
    async fn obstacle(
        &self,
        context: &Context,
        account: &Account,
        command: Command,
    ) -> Result<Option<Error>, Error> {
        let (context, account, now) = (context.clone(), account.clone(), self.now());
        let results = self.read(Tenancy::of(account.reseller_id), move |tx| {
            Box::pin(async move { rehearse(tx, &context, &account, vec![command], now).await })
        });
        let last = results.await?.pop();
        Ok(last.and_then(Result::err))
    }

    pub(super) fn check_past(&self, at: Time) -> Result<(), Error> {
        if at <= self.now() {
            Ok(())
        } else {
            Err(Error::invalid("as_of", "must not be in the future"))
        }
    }
}

/// Decides the caller's commands on an account, one after the other.
async fn rehearse(
    tx: &mut Tx,
    context: &Context,
    account: &Account,
    commands: Vec<Command>,
    now: Time,
) -> Result<Vec<Result<Rehearsed, Error>>, Error> {
    let request = |command| Request {
        context: context.clone(),
        reseller: account.reseller_id,
        kind: ChangeKind::Command {
            account: account.id,
            command,
            expected_versions: None,
            filter: None,
        },
        idempotency: None,
    };
    let requests: Vec<Request> = commands.into_iter().map(request).collect();
    Rehearsal::at(now)
        .decide(tx, vec![account.clone()], &requests)
        .await
}

/// Whether a caller has the authority and the right to lift a block.
fn may_lift(caller: &Principal, block: &BlockDetail) -> Result<(), Error> {
    if !block.lifted_by.contains(&caller.authority()) {
        return Err(Error::OperatorRequired);
    }
    if block.lift == Lift::UnsuspendReseller {
        return caller.require_operator(Scope::ResellerWrite);
    }
    caller.require_account_changes()
}
