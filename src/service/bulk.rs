//! Several commands in one request.

use std::collections::HashMap;

use futures_util::future::join_all;
use uuid::Uuid;

use super::group_commit::{ChangeKind, Request};
use super::{AccountRef, Completion, Context, IdempotentRequest, Service};
use crate::domain::{Account, AccountId, Command, Error, ResellerId, Scope, Simulated, Time};

/// The most commands of one request.
pub const MAX_OPERATIONS: usize = 1_000;

/// One of several commands.
#[derive(Debug, Clone)]
pub struct Item {
    /// At which account.
    pub account: AccountRef,
    /// What.
    pub command: Command,
    /// What makes a repeat of it the same request, if anything.
    pub once: Option<IdempotentRequest>,
}

impl Service {
    /// Carries out commands, each for itself: one that fails keeps no other from being done. Those at one account are carried out
    /// in their order. The outcomes are in the order of the items.
    ///
    /// # Errors
    /// That the right is missing, or that the accounts could not be looked up; then nothing was done.
    pub async fn bulk(
        &self,
        context: &Context,
        items: Vec<Item>,
    ) -> Result<Vec<Result<Completion, Error>>, Error> {
        context.principal.require(Scope::AccountWrite)?;
        let named = items
            .iter()
            .map(|item| item.account.clone())
            .collect::<Vec<_>>();
        let found = self.locate_named(context, named).await?;
        let submit = |item: Item| {
            let owner = found.get(&item.account).copied();
            async move {
                let (reseller, account) = owner.ok_or(Error::AccountNotFound)?;
                let what = ChangeKind::Command {
                    account,
                    command: item.command,
                    only_at: None,
                };
                self.change(Request {
                    context: context.clone(),
                    reseller,
                    what,
                    once: item.once,
                })
                .await
            }
        };
        // Each is queued when it is first polled, which happens in their order.
        Ok(join_all(items.into_iter().map(submit)).await)
    }

    /// What commands would do to an account, one after the other, with the account as it is and when that was found out; nothing
    /// is written.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`], or that the right is missing.
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

    async fn locate_named(
        &self,
        context: &Context,
        named: Vec<AccountRef>,
    ) -> Result<HashMap<AccountRef, (ResellerId, AccountId)>, Error> {
        let ids = named
            .iter()
            .filter_map(|one| {
                if let AccountRef::Id(id) = one {
                    Some(id.as_i32())
                } else {
                    None
                }
            })
            .collect::<Vec<_>>();
        let uids = named
            .iter()
            .filter_map(|one| {
                if let AccountRef::Uid(uid) = one {
                    Some(*uid)
                } else {
                    None
                }
            })
            .collect::<Vec<_>>();
        let of = context.principal.reseller;
        let found = self
            .read(context.principal.tenancy(), move |tx| {
                Box::pin(async move { tx.locate_accounts(of, &ids, &uids).await })
            })
            .await?;
        let both = |(reseller, id, uid): (ResellerId, AccountId, Uuid)| {
            [
                (AccountRef::Id(id), (reseller, id)),
                (AccountRef::Uid(uid), (reseller, id)),
            ]
        };
        Ok(found.into_iter().flat_map(both).collect())
    }
}
