//! One account: as it is, as it was, and as commands would leave it.

use crate::domain::{Account, AccountId, Command, Error, Scope, Simulated, Time};
use crate::service::{Context, Service};
use crate::store::Tenancy;

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

    /// What commands would do to an account, carried out one after the other. Nothing is written.
    /// Also returns the account as it is and when it was read.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`].
    pub async fn simulate(
        &self,
        context: &Context,
        account: AccountId,
        commands: &[Command],
    ) -> Result<(Account, Vec<Simulated>, Time), Error> {
        let account = self.account_or_deleted(context, account).await?;
        let now = self.now();
        let simulated = account.simulate(commands, &context.principal.actor(), now);
        Ok((account, simulated, now))
    }

    pub(super) fn check_past(&self, at: Time) -> Result<(), Error> {
        if at <= self.now() {
            Ok(())
        } else {
            Err(Error::invalid("as_of", "must not be in the future"))
        }
    }
}
