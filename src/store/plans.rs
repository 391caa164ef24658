//! Plans. They have forty members that no statement looks at, so they go in and out as JSON.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::errors::{OrDomain as _, internal};
use super::transaction::Tx;
use crate::domain::{Error, Plan, PlanTerms, ResellerId, Time, plan_members};

macro_rules! row {
    ($($kind:ident $field:ident: $type:ty,)*) => {
        #[derive(Serialize, Deserialize)]
        struct Row {
            reseller_id: i64,
            id: Uuid,
            number: i32,
            $($field: $type,)*
            created_at: Time,
            updated_at: Time,
        }

        impl From<Row> for Plan {
            fn from(row: Row) -> Self {
                let terms = PlanTerms { $($field: row.$field,)* };
                Self { id: row.id, reseller_id: ResellerId(row.reseller_id), number: row.number, terms, created_at: row.created_at, updated_at: row.updated_at }
            }
        }

        impl From<&Plan> for Row {
            fn from(plan: &Plan) -> Self {
                Self {
                    reseller_id: plan.reseller_id.0,
                    id: plan.id,
                    number: plan.number,
                    $($field: plan.terms.$field.clone(),)*
                    created_at: plan.created_at,
                    updated_at: plan.updated_at,
                }
            }
        }
    };
}

plan_members!(row);

pub(super) fn read(json: &str) -> Result<Arc<Plan>, Error> {
    serde_json::from_str::<Row>(json)
        .map(|row| Arc::new(row.into()))
        .map_err(|_| internal("plan has an unusable row"))
}

fn written(plan: &Plan) -> Result<serde_json::Value, Error> {
    serde_json::to_value(Row::from(plan)).map_err(|_| internal("a plan cannot be written"))
}

impl Tx {
    /// The plans with these identities, as far as there are any.
    pub async fn fetch_plans(
        &mut self,
        wanted: &BTreeSet<(ResellerId, Uuid)>,
    ) -> Result<HashMap<(ResellerId, Uuid), Arc<Plan>>, Error> {
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        let (resellers, ids): (Vec<i64>, Vec<Uuid>) = wanted
            .iter()
            .map(|(reseller, id)| (reseller.0, *id))
            .unzip();
        let rows = sqlx::query_scalar!(
            r#"select to_json(p)::text as "json!" from plan p join unnest($1::bigint[], $2::uuid[]) as w(reseller_id, id) using (reseller_id, id)"#,
            &resellers,
            &ids
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.iter()
            .map(|json| read(json).map(|plan| ((plan.reseller_id, plan.id), plan)))
            .collect()
    }

    /// A plan of a reseller, or of any within the transaction's tenancy.
    pub async fn fetch_plan(
        &mut self,
        reseller: Option<ResellerId>,
        id: Uuid,
    ) -> Result<Option<Arc<Plan>>, Error> {
        let row = sqlx::query_scalar!(
            r#"select to_json(p)::text as "json!" from plan p where ($1::bigint is null or reseller_id = $1) and id = $2"#,
            reseller.map(|it| it.0),
            id
        )
        .fetch_optional(self.connection())
        .await
        .or_domain()?;
        row.map(|json| read(&json)).transpose()
    }

    /// The plans with these numbers, as far as there are any.
    pub async fn fetch_numbered_plans(
        &mut self,
        wanted: &BTreeSet<(ResellerId, i32)>,
    ) -> Result<Vec<Arc<Plan>>, Error> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let (resellers, numbers): (Vec<i64>, Vec<i32>) = wanted
            .iter()
            .map(|(reseller, number)| (reseller.0, *number))
            .unzip();
        let rows = sqlx::query_scalar!(
            r#"select to_json(p)::text as "json!" from plan p join unnest($1::bigint[], $2::integer[]) as w(reseller_id, number) using (reseller_id, number)"#,
            &resellers,
            &numbers
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.iter().map(|json| read(json)).collect()
    }

    /// The plans of a reseller by number, behind `after`.
    pub async fn list_plans(
        &mut self,
        reseller: ResellerId,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Arc<Plan>>, Error> {
        let rows = sqlx::query_scalar!(
            r#"select to_json(p)::text as "json!" from plan p
               where p.reseller_id = $1 and p.number > $2::bigint order by p.number limit $3"#,
            reseller.0,
            after,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.iter().map(|json| read(json)).collect()
    }

    /// A number that no plan of the reseller has, which must be locked.
    pub async fn next_plan_number(&mut self, reseller: ResellerId) -> Result<i64, Error> {
        sqlx::query_scalar!(r#"select coalesce(max(number), 0)::bigint + 1 as "number!" from plan where reseller_id = $1"#, reseller.0)
            .fetch_one(self.connection())
            .await
            .or_domain()
    }

    /// Keeps a new plan.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `number` if another plan of the reseller has it.
    pub async fn insert_plan(&mut self, plan: &Plan) -> Result<(), Error> {
        sqlx::query!(
            "insert into plan select * from jsonb_populate_record(null::plan, $1)",
            written(plan)?
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Writes the terms of a plan that exists.
    pub async fn replace_plan(&mut self, plan: &Plan) -> Result<(), Error> {
        // One row of the table's own type on the right: the columns cannot get out of step with the row.
        sqlx::query!(
            r#"update plan set (name, display_name, version, tier, "interval", paddle_id, paddle_price_id, allowed_users, allowed_organizations,
                 allowed_admins, allowed_products, allowed_meter_attributes, allowed_feature_flags, allowed_features, allowed_activations,
                 allowed_trial_activations, allowed_releases, allowed_product_space, allow_sending_domain, amount, allow_customer_portal_access,
                 allow_organization_admins, allow_offline_activations, allow_hosted_floating_licenses, allow_on_premise_floating_licenses,
                 allow_custom_domain, allow_resellers, allow_sso, allow_custom_roles, allow_legacy_custom_roles, allow_event_logs, allow_audit_logs,
                 allow_custom_email_templates, allow_maintenance_policies, allow_activation_logs, activation_logs_retention_period, deprecated,
                 updated_at) =
               (select n.name, n.display_name, n.version, n.tier, n."interval", n.paddle_id, n.paddle_price_id, n.allowed_users,
                 n.allowed_organizations, n.allowed_admins, n.allowed_products, n.allowed_meter_attributes, n.allowed_feature_flags,
                 n.allowed_features, n.allowed_activations, n.allowed_trial_activations, n.allowed_releases, n.allowed_product_space,
                 n.allow_sending_domain, n.amount, n.allow_customer_portal_access, n.allow_organization_admins, n.allow_offline_activations,
                 n.allow_hosted_floating_licenses, n.allow_on_premise_floating_licenses, n.allow_custom_domain, n.allow_resellers, n.allow_sso,
                 n.allow_custom_roles, n.allow_legacy_custom_roles, n.allow_event_logs, n.allow_audit_logs, n.allow_custom_email_templates,
                 n.allow_maintenance_policies, n.allow_activation_logs, n.activation_logs_retention_period, n.deprecated, n.updated_at
                from jsonb_populate_record(null::plan, $3) n)
               where reseller_id = $1 and id = $2"#,
            plan.reseller_id.0,
            plan.id,
            written(plan)?
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }
}
