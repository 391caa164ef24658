//! Several commands in one request.

use futures_util::{StreamExt as _, stream};

use super::group_commit::{ChangeKind, Request};
use super::{AccountRef, Completion, Context, IdempotentRequest, Service};
use crate::domain::{Command, Error, Scope};

/// How many commands one request may have at most.
pub const MAX_OPERATIONS: usize = 1_000;

/// How many commands of one request are queued at a time. One request then takes a small part of
/// its reseller's share of the queue.
const AT_A_TIME: usize = 256;

/// One of several commands.
#[derive(Debug, Clone)]
pub struct Item {
    /// The account that the command is for.
    pub account: AccountRef,
    /// The command.
    pub command: Command,
    /// The idempotency key of this command. `None` if it has none.
    pub once: Option<IdempotentRequest>,
}

impl Service {
    /// Carries out commands independently of each other: one that fails does not stop the others.
    /// Commands for the same account are carried out in their order. The outcomes are in the order
    /// of the items.
    ///
    /// # Errors
    /// If the accounts could not be looked up. Then no command was carried out.
    pub async fn bulk(
        &self,
        context: &Context,
        items: Vec<Item>,
    ) -> Result<Vec<Result<Completion, Error>>, Error> {
        context.principal.require(Scope::AccountWrite)?;
        let accounts = items.iter().map(|item| item.account.clone()).collect();
        let keys = self.resolve_all(context, accounts).await?;
        let submit = |item: Item| {
            let key = keys.get(&item.account).cloned();
            async move {
                let (reseller, account) = key.unwrap_or(Err(Error::AccountNotFound))?;
                self.change(Request {
                    context: context.clone(),
                    reseller,
                    kind: ChangeKind::Command {
                        account,
                        command: item.command,
                        expected_versions: None,
                        filter: None,
                    },
                    idempotency: item.once,
                })
                .await
            }
        };
        // `buffered` starts the futures in their order, and the first poll queues the command.
        let outcomes = stream::iter(items.into_iter().map(submit)).buffered(AT_A_TIME);
        Ok(outcomes.collect().await)
    }
}
