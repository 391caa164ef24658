//! Reads the accounts and the other data that the decisions need, with one statement for each kind
//! of row.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::{Batch, Request, emails_of, with_keys};
use crate::domain::{AccountId, AccountKey, Error, Plan, ResellerId, Time};
use crate::service::IdempotencyKey;
use crate::store::{ResellerTerms, StoredRequest, Tx};

impl Batch {
    /// Reads the accounts with these keys, and the other data that the decisions need. With
    /// `is_locking`, it locks the accounts first, in the order of their keys.
    pub(super) async fn load(
        tx: &mut Tx,
        requests: &[Request],
        keys: &[AccountKey],
        now: Time,
        is_locking: bool,
    ) -> Result<Self, Error> {
        // Resellers are locked before accounts, in every transaction: two that lock in different
        // orders would wait for each other.
        let (terms, live_accounts) = load_terms(tx, requests, true).await?;
        if is_locking {
            tx.lock_accounts(keys).await?;
        }
        let accounts = if keys.is_empty() {
            Vec::new()
        } else {
            tx.fetch_accounts(keys).await?
        };
        let batch = Self::of(accounts, now);
        // Read after the accounts. If another replica changed an account before we read it, its
        // answer is stored by now.
        let answers = batch.load_answers(tx, requests, now).await?;
        let emails = batch.load_emails(tx, requests).await?;
        let plans = load_plans(tx, requests).await?;
        let mut batch = Self {
            terms,
            live_accounts,
            emails,
            plans,
            answers,
            ..batch
        };
        batch.fresh_ids = batch.draw_ids(tx, requests).await?;
        Ok(batch)
    }

    /// A number for each account that the batch will create. They are popped from the end, so the
    /// lowest comes last.
    ///
    /// Numbers are 32 bits wide and never come back. So the requests are first decided in a copy of
    /// the batch, with numbers that no account has, and as many are drawn as that created: a
    /// refused creation takes none. Only a transaction that fails afterwards loses what it drew.
    async fn draw_ids(
        &mut self,
        tx: &mut Tx,
        requests: &[Request],
    ) -> Result<Vec<AccountId>, Error> {
        let creations = requests
            .iter()
            .filter(|request| request.key().is_none())
            .count();
        if creations == 0 {
            return Ok(Vec::new());
        }
        let taken: HashSet<AccountId> = requests
            .iter()
            .filter_map(|request| request.key().map(|(_, id)| id))
            .chain(self.emails.values().copied())
            .collect();
        let mut rehearsal = self.clone();
        rehearsal.fresh_ids = unused_ids(&taken, creations);
        self.spare_id = rehearsal.fresh_ids.first().copied();
        for request in requests {
            // Only what it creates is of interest. The outcomes come from the second pass.
            let _outcome = rehearsal.answer(request);
        }
        let accepted = i32::try_from(rehearsal.created.len()).unwrap_or(i32::MAX);
        if accepted == 0 {
            return Ok(Vec::new());
        }
        let mut ids = tx.next_account_ids(accepted).await?;
        ids.reverse();
        Ok(ids)
    }

    /// The stored answers of the requests, also of those whose path named the account by its other
    /// identity.
    async fn load_answers(
        &self,
        tx: &mut Tx,
        requests: &[Request],
        now: Time,
    ) -> Result<HashMap<IdempotencyKey, StoredRequest>, Error> {
        let own = requests
            .iter()
            .filter_map(|request| Some(request.idempotency.as_ref()?.key.clone()));
        let others = requests
            .iter()
            .filter_map(|request| self.under_other_key(request).map(|other| other.key));
        let keys: BTreeSet<_> = own.chain(others).collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let keys: Vec<_> = keys.into_iter().collect();
        let stored = tx.fetch_answers(&keys, now).await?;
        Ok(stored
            .into_iter()
            .map(|stored| (stored.key.clone(), stored))
            .collect())
    }

    /// The owners of the addresses that requests give to accounts, or give back to restored ones.
    pub(super) async fn load_emails(
        &self,
        tx: &mut Tx,
        requests: &[Request],
    ) -> Result<HashMap<(ResellerId, String), AccountId>, Error> {
        let given = requests
            .iter()
            .filter_map(|request| Some((request.reseller, request.email()?)))
            .flat_map(|(reseller, email)| with_keys(reseller, email));
        let restored = requests
            .iter()
            .filter(|request| request.is_restoration())
            .filter_map(|request| self.accounts.get(&request.key()?))
            .flat_map(emails_of);
        let emails: BTreeSet<_> = given.chain(restored).collect();
        if emails.is_empty() {
            return Ok(HashMap::new());
        }
        tx.fetch_emails(&emails.into_iter().collect::<Vec<_>>())
            .await
    }
}

/// Numbers that no account of the batch has, for decisions that are not written.
pub(super) fn unused_ids(taken: &HashSet<AccountId>, count: usize) -> Vec<AccountId> {
    (1..=i32::MAX)
        .rev()
        .filter_map(|id| AccountId::new(i64::from(id)).ok())
        .filter(|id| !taken.contains(id))
        .take(count)
        .collect()
}

/// The terms of the resellers, and how many live accounts each one with a limit has. With
/// `is_locking`, the resellers' rows are locked, so that two replicas cannot exceed a limit
/// together.
pub(super) async fn load_terms(
    tx: &mut Tx,
    requests: &[Request],
    is_locking: bool,
) -> Result<(HashMap<ResellerId, ResellerTerms>, HashMap<ResellerId, i64>), Error> {
    let resellers: BTreeSet<_> = requests
        .iter()
        .filter(|request| request.needs_terms())
        .map(|request| request.reseller.0)
        .collect();
    let (mut terms, mut live_accounts) = (HashMap::new(), HashMap::new());
    if !resellers.is_empty() {
        let resellers: Vec<_> = resellers.into_iter().collect();
        for reseller in tx.fetch_reseller_terms(&resellers, is_locking).await? {
            if reseller.account_limit.is_some() {
                let count = tx.count_live_accounts(reseller.id).await?;
                live_accounts.insert(reseller.id, count);
            }
            terms.insert(reseller.id, reseller);
        }
    }
    Ok((terms, live_accounts))
}

/// The plans that requests name by their identity or their number.
pub(super) async fn load_plans(tx: &mut Tx, requests: &[Request]) -> Result<Vec<Arc<Plan>>, Error> {
    let (mut by_id, mut by_number) = (BTreeSet::new(), BTreeSet::new());
    for request in requests {
        if let Some(revision) = request.revision() {
            let profile = &revision.profile;
            by_id.extend(profile.plan_id.value().map(|id| (request.reseller, *id)));
            by_number.extend(
                profile
                    .tariff_id
                    .value()
                    .map(|number| (request.reseller, *number)),
            );
        }
    }
    let mut plans: Vec<_> = tx.fetch_plans(&by_id).await?.into_values().collect();
    plans.extend(tx.fetch_numbered_plans(&by_number).await?);
    Ok(plans)
}
