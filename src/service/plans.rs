//! Plans: created, listed, changed. An account gets its plan by a revision, like every profile
//! field.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use super::resellers::lock_named_reseller;
use super::{Completion, Context, IdempotentRequest, Service, Written};
use crate::domain::{AccountId, Error, Plan, PlanTerms, ResellerId, Resource, Scope};
use crate::store::Tx;

/// The number of plans that a refusal names.
const NAMED_PLANS: i64 = 10;

/// A plan to be created.
#[derive(Debug, Clone)]
pub struct NewPlan {
    /// The reseller that gets the plan. An operator must name one.
    pub reseller: Option<ResellerId>,
    /// The plan's number among the reseller's plans, from 1 on. `None` means the next free one.
    pub number: Option<i32>,
    /// What the plan grants and limits.
    pub terms: PlanTerms,
}

impl Service {
    /// Creates a plan.
    ///
    /// # Errors
    /// [`Error::InvalidField`] or [`Error::ResellerNotFound`].
    pub async fn create_plan(
        &self,
        context: &Context,
        new: NewPlan,
        idempotency: Option<IdempotentRequest<Plan>>,
    ) -> Result<Completion<Plan>, Error> {
        context.principal.require(Scope::AccountWrite)?;
        let reseller = context.principal.resolve_reseller(new.reseller)?;
        new.terms.check(None)?;
        if new.number.is_some_and(|number| number < 1) {
            return Err(Error::invalid("number", "must be at least 1"));
        }
        let now = self.now();
        let caller = &context.principal;
        self.write_once(caller, caller.tenancy(), idempotency, move |tx| {
            Box::pin(async move {
                lock_named_reseller(tx, reseller).await?;
                let number = match new.number {
                    Some(number) => number,
                    None => i32::try_from(tx.next_plan_number(reseller).await?).map_err(|_| {
                        Error::invalid("number", "must be named: the last one is taken")
                    })?,
                };
                let plan = Plan {
                    id: Uuid::new_v4(),
                    reseller_id: reseller,
                    number,
                    terms: new.terms,
                    created_at: now,
                    updated_at: now,
                };
                tx.insert_plan(&plan).await?;
                Ok(plan)
            })
        })
        .await
    }

    /// Changes a plan: `revise` gets its present terms and edits them.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InvalidField`], and what `revise` returns.
    pub async fn revise_plan(
        &self,
        context: &Context,
        id: Uuid,
        revise: impl FnOnce(&mut PlanTerms) -> Result<(), Error> + Send + 'static,
        idempotency: Option<IdempotentRequest<Written<Plan>>>,
    ) -> Result<Completion<Written<Plan>>, Error> {
        context.principal.require(Scope::AccountWrite)?;
        let now = self.now();
        let reseller = self.find_plan(context, id).await?.reseller_id;
        let caller = &context.principal;
        self.write_once(caller, caller.tenancy(), idempotency, move |tx| {
            Box::pin(async move {
                // Locking the reseller's row locks all its plans.
                tx.lock_reseller(reseller).await?;
                let mut plan = fetch(tx, reseller, id).await?;
                let before = plan.terms.clone();
                revise(&mut plan.terms)?;
                plan.terms.check(Some(&before))?;
                let is_changed = plan.terms != before;
                if is_changed {
                    plan.updated_at = now;
                    tx.replace_plan(&plan).await?;
                }
                Ok(Written {
                    value: plan,
                    is_changed,
                })
            })
        })
        .await
    }

    /// One plan.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn plan(&self, context: &Context, id: Uuid) -> Result<Arc<Plan>, Error> {
        context.principal.require(Scope::AccountRead)?;
        self.find_plan(context, id).await
    }

    /// The plan with this number: of the account's reseller, or of the caller for an account that is
    /// to be created. `None` if no plan has it.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `reseller_id` if an operator names no account.
    pub async fn numbered_plan(
        &self,
        context: &Context,
        account: Option<AccountId>,
        number: i32,
    ) -> Result<Option<Arc<Plan>>, Error> {
        let principal = &context.principal;
        // Who may write accounts may learn whether the plan that they name exists.
        principal
            .require(Scope::AccountRead)
            .or_else(|_| principal.require(Scope::AccountWrite))?;
        let reseller = match account {
            Some(account) => self.owner_of(context, account).await?,
            None => principal.resolve_reseller(None)?,
        };
        let found = self
            .read(principal.tenancy(), move |tx| {
                Box::pin(async move {
                    let wanted = BTreeSet::from([(reseller, number)]);
                    tx.fetch_numbered_plans(&wanted).await
                })
            })
            .await?;
        Ok(found.into_iter().next())
    }

    async fn find_plan(&self, context: &Context, id: Uuid) -> Result<Arc<Plan>, Error> {
        let reseller = context.principal.reseller;
        let found = self
            .read(context.principal.tenancy(), move |tx| {
                Box::pin(tx.fetch_plan(reseller, id))
            })
            .await?;
        found.ok_or(Error::NotFound(Resource::Plan))
    }

    /// The plans of a reseller with a number above `after`, in the order of their numbers.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `reseller_id` if an operator names none.
    pub async fn plans(
        &self,
        context: &Context,
        reseller: Option<ResellerId>,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Arc<Plan>>, Error> {
        context.principal.require(Scope::AccountRead)?;
        let reseller = context.principal.resolve_reseller(reseller)?;
        self.read(context.principal.tenancy(), move |tx| {
            Box::pin(tx.list_plans(reseller, after, limit))
        })
        .await
    }

    /// The number of the plan with this name: of the account's reseller, or of the reseller that
    /// will own a new account.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `tariff_id` if no plan or more than one has the name, and for
    /// `reseller_id` if an operator names none. [`Error::AccountNotFound`].
    pub async fn plan_number(
        &self,
        context: &Context,
        account: Option<AccountId>,
        reseller: Option<ResellerId>,
        name: &str,
    ) -> Result<i32, Error> {
        context.principal.require(Scope::AccountWrite)?;
        let owner = match (context.principal.reseller, account) {
            (Some(own), _) => Some(own),
            (None, Some(_)) => None,
            (None, None) => Some(context.principal.resolve_reseller(reseller)?),
        };
        let wanted = name.to_owned();
        let (numbers, plans) = self
            .read(context.principal.tenancy(), move |tx| {
                Box::pin(async move {
                    let owner = match (owner, account) {
                        (Some(owner), _) => Some(owner),
                        (None, Some(account)) => tx.locate_account(account).await?,
                        (None, None) => None,
                    };
                    let owner = owner.ok_or(Error::AccountNotFound)?;
                    let numbers = tx.plan_numbers(owner, &wanted).await?;
                    let plans = match numbers.as_slice() {
                        [_] => Vec::new(),
                        _ => tx.list_plans(owner, 0, NAMED_PLANS).await?,
                    };
                    Ok((numbers, plans))
                })
            })
            .await?;
        let may_read = context.principal.require(Scope::AccountRead).is_ok();
        let problem = match numbers.as_slice() {
            [number] => return Ok(*number),
            [] => no_such_plan(name, may_read.then_some(plans.as_slice())),
            [one, another, ..] => format!(
                "several plans have the name {name:?}, among them {one} and {another}; give the number"
            ),
        };
        Err(Error::invalid("tariff_id", problem))
    }
}

/// What is wrong with the name of a plan. `plans` are the first plans of the reseller. `None` if the
/// caller may not read them.
fn no_such_plan(name: &str, plans: Option<&[Arc<Plan>]>) -> String {
    let known = match plans {
        None => String::new(),
        Some([]) => " The reseller has no plans.".to_owned(),
        Some(plans) => {
            let names = plans.iter().map(|plan| format!("{:?}", plan.terms.name));
            format!(" Its plans are {}.", names.collect::<Vec<_>>().join(", "))
        }
    };
    format!(
        "no plan of the reseller has the name {name:?}.{known} A whole number is accepted also if \
         no plan has it"
    )
}

async fn fetch(tx: &mut Tx, reseller: ResellerId, id: Uuid) -> Result<Plan, Error> {
    let found = tx.fetch_plans(&BTreeSet::from([(reseller, id)])).await?;
    let plan = found.into_values().next();
    plan.map(Arc::unwrap_or_clone)
        .ok_or(Error::NotFound(Resource::Plan))
}
