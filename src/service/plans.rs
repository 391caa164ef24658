//! Plans: made, listed, changed. An account is given one by its revision, like every descriptive field.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use super::{Completion, Context, IdempotentRequest, Service};
use crate::domain::{Error, Plan, PlanTerms, ResellerId, Resource, Scope};

/// A plan to be made.
#[derive(Debug, Clone)]
pub struct NewPlan {
    /// Of which reseller; with an operator's credential only.
    pub reseller: Option<ResellerId>,
    /// Its number among the reseller's plans, from 1 on; none: the next one.
    pub number: Option<i32>,
    /// What it grants and limits.
    pub terms: PlanTerms,
}

impl Service {
    /// Makes a plan.
    ///
    /// # Errors
    /// [`Error::InvalidField`], [`Error::ResellerNotFound`] or [`Error::InsufficientScope`].
    pub async fn create_plan(
        &self,
        context: &Context,
        new: NewPlan,
        once: Option<IdempotentRequest<Plan>>,
    ) -> Result<Completion<Plan>, Error> {
        context.principal.require(Scope::AccountWrite)?;
        let reseller = context.principal.resolve_reseller(new.reseller)?;
        new.terms.check()?;
        if new.number.is_some_and(|number| number < 1) {
            return Err(Error::invalid("number", "must be at least 1"));
        }
        let now = self.now();
        let work = self.write(context.principal.tenancy(), once, move |tx| {
            Box::pin(async move {
                tx.lock_reseller(reseller).await.map_err(|error| {
                    if error == Error::NotFound(Resource::Reseller) {
                        Error::ResellerNotFound
                    } else {
                        error
                    }
                })?;
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
        });
        work.await
    }

    /// Changes the terms of a plan by a function of what they are.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InvalidField`] or [`Error::InsufficientScope`].
    pub async fn revise_plan(
        &self,
        context: &Context,
        id: Uuid,
        revise: impl FnOnce(&mut PlanTerms) -> Result<(), Error> + Send + 'static,
        once: Option<IdempotentRequest<Plan>>,
    ) -> Result<Completion<Plan>, Error> {
        context.principal.require(Scope::AccountWrite)?;
        let now = self.now();
        let reseller = self.find_plan(context, id).await?.reseller_id;
        let work = self.write(context.principal.tenancy(), once, move |tx| {
            Box::pin(async move {
                // The reseller's row is the lock of its plans.
                tx.lock_reseller(reseller).await?;
                let found = tx
                    .fetch_plans(&BTreeSet::from([(reseller, id)]))
                    .await?
                    .into_values()
                    .next();
                let mut plan = Plan::clone(&*found.ok_or(Error::NotFound(Resource::Plan))?);
                let before = plan.terms.clone();
                revise(&mut plan.terms)?;
                plan.terms.check()?;
                if plan.terms != before {
                    plan.updated_at = now;
                    tx.replace_plan(&plan).await?;
                }
                Ok(plan)
            })
        });
        work.await
    }

    /// One plan.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn plan(&self, context: &Context, id: Uuid) -> Result<Arc<Plan>, Error> {
        context.principal.require(Scope::AccountRead)?;
        self.find_plan(context, id).await
    }

    async fn find_plan(&self, context: &Context, id: Uuid) -> Result<Arc<Plan>, Error> {
        let (store, principal) = (self.store.clone(), context.principal.clone());
        self.detached(async move {
            let mut tx = store.begin_reading(&principal.tenancy()).await?;
            let found = tx.fetch_plan(principal.reseller, id).await?;
            tx.commit().await?;
            found.ok_or(Error::NotFound(Resource::Plan))
        })
        .await
    }

    /// The plans of a reseller by number, behind `after`.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `reseller_id`, which an operator must name.
    pub async fn plans(
        &self,
        context: &Context,
        of: Option<ResellerId>,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Arc<Plan>>, Error> {
        context.principal.require(Scope::AccountRead)?;
        let (store, principal, reseller) = (
            self.store.clone(),
            context.principal.clone(),
            context.principal.resolve_reseller(of)?,
        );
        self.detached(async move {
            let mut tx = store.begin_reading(&principal.tenancy()).await?;
            let plans = tx.list_plans(reseller, after, limit).await?;
            tx.commit().await?;
            Ok(plans)
        })
        .await
    }
}
