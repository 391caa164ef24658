//! Plans. No statement reads their forty fields, so plans are written and read as JSON objects.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::errors::{OrDomain as _, internal};
use super::transaction::Tx;
use crate::domain::{Error, Plan, PlanTerms, ResellerId, Time, plan_members};

macro_rules! plan_row {
    ($($kind:ident $field:ident: $type:ty,)*) => {
        #[derive(Serialize, Deserialize)]
        struct PlanRow {
            reseller_id: i64,
            id: Uuid,
            number: i32,
            $($field: $type,)*
            created_at: Time,
            updated_at: Time,
        }

        impl From<PlanRow> for Plan {
            fn from(row: PlanRow) -> Self {
                let terms = PlanTerms { $($field: row.$field,)* };
                Self {
                    id: row.id,
                    reseller_id: ResellerId(row.reseller_id),
                    number: row.number,
                    terms,
                    created_at: row.created_at,
                    updated_at: row.updated_at,
                }
            }
        }

        impl From<&Plan> for PlanRow {
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

plan_members!(plan_row);

/// A plan from its row as a JSON object.
pub(super) fn plan_from_json(json: &str) -> Result<Arc<Plan>, Error> {
    serde_json::from_str::<PlanRow>(json)
        .map(|row| Arc::new(row.into()))
        .map_err(|_| internal("plan has an unreadable row"))
}

fn to_json(plan: &Plan) -> Result<serde_json::Value, Error> {
    serde_json::to_value(PlanRow::from(plan))
        .map_err(|_| internal("a plan cannot be written as JSON"))
}

impl Tx {
    /// The plans with these ids. Unknown ids are left out.
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
            r#"select to_json(p)::text as "json!" from plan p
               join unnest($1::bigint[], $2::uuid[]) as w(reseller_id, id)
                 using (reseller_id, id)"#,
            &resellers,
            &ids
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.iter()
            .map(|json| plan_from_json(json).map(|plan| ((plan.reseller_id, plan.id), plan)))
            .collect()
    }

    /// A plan. Without a reseller it looks at all resellers of the transaction.
    pub async fn fetch_plan(
        &mut self,
        reseller: Option<ResellerId>,
        id: Uuid,
    ) -> Result<Option<Arc<Plan>>, Error> {
        let row = sqlx::query_scalar!(
            r#"select to_json(p)::text as "json!" from plan p
               where ($1::bigint is null or reseller_id = $1) and id = $2"#,
            reseller.map(|it| it.0),
            id
        )
        .fetch_optional(self.connection())
        .await
        .or_domain()?;
        row.map(|json| plan_from_json(&json)).transpose()
    }

    /// The plans with these numbers. Unknown numbers are left out.
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
            r#"select to_json(p)::text as "json!" from plan p
               join unnest($1::bigint[], $2::integer[]) as w(reseller_id, number)
                 using (reseller_id, number)"#,
            &resellers,
            &numbers
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.iter().map(|json| plan_from_json(json)).collect()
    }

    /// The plans of a reseller by number after `after`.
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
        rows.iter().map(|json| plan_from_json(json)).collect()
    }

    /// The numbers of the reseller's plans with this name, at most two of them.
    pub async fn plan_numbers(
        &mut self,
        reseller: ResellerId,
        name: &str,
    ) -> Result<Vec<i32>, Error> {
        sqlx::query_scalar!(
            "select number from plan where reseller_id = $1 and name = $2 order by number limit 2",
            reseller.0,
            name
        )
        .fetch_all(self.connection())
        .await
        .or_domain()
    }

    /// The number after the greatest one of the reseller's plans. The caller must have locked the
    /// reseller.
    pub async fn next_plan_number(&mut self, reseller: ResellerId) -> Result<i64, Error> {
        sqlx::query_scalar!(
            r#"select coalesce(max(number), 0)::bigint + 1 as "number!" from plan
               where reseller_id = $1"#,
            reseller.0
        )
        .fetch_one(self.connection())
        .await
        .or_domain()
    }

    /// Inserts a plan.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `number` if another plan of the reseller has it.
    pub async fn insert_plan(&mut self, plan: &Plan) -> Result<(), Error> {
        sqlx::query!(
            "insert into plan select * from jsonb_populate_record(null::plan, $1)",
            to_json(plan)?
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Writes the terms of an existing plan.
    pub async fn replace_plan(&mut self, plan: &Plan) -> Result<(), Error> {
        sqlx::query_file!(
            "src/store/sql/replace_plan.sql",
            plan.reseller_id.0,
            plan.id,
            to_json(plan)?
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }
}
