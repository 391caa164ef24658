//! Searches: the only statements that are put together at run time. Field names and operators come from closed sets;
//! every value is bound.

use std::collections::HashMap;

use sqlx::{Postgres, QueryBuilder};

use crate::domain::{
    Account, AccountId, Comparison, Condition, Error, ResellerId, Search, SearchField,
    SearchValues, Start,
};
use crate::store::errors::{OrDomain as _, internal};
use crate::store::transaction::Tx;

impl Tx {
    /// A page of the accounts that a search finds, in its order; of one reseller, or of all within the transaction's
    /// tenancy.
    pub async fn search_accounts(
        &mut self,
        reseller: Option<ResellerId>,
        search: &Search,
    ) -> Result<Vec<Account>, Error> {
        let mut query = QueryBuilder::new("select a.reseller_id, a.id from account a ");
        narrow(&mut query, reseller, &search.conditions);
        match search.start {
            Start::After(after) => {
                if let Some(after) = after {
                    query.push(" and a.id > ").push_bind(after.as_i32());
                }
                query.push(" order by a.id");
            }
            Start::Offset {
                skip,
                by,
                descending,
            } => {
                let direction = if descending { "desc" } else { "asc" };
                query
                    .push(format!(
                        " order by {} {direction} nulls last, a.id {direction} offset ",
                        column(by)
                    ))
                    .push_bind(skip);
            }
        }
        query.push(" limit ").push_bind(search.limit);
        let keys: Vec<(i64, i32)> = query
            .build_query_as()
            .fetch_all(self.connection())
            .await
            .or_domain()?;
        self.fetch_in_order(&keys).await
    }

    /// How many accounts a search finds, whatever its page, counted up to `most`.
    pub async fn count_found(
        &mut self,
        reseller: Option<ResellerId>,
        search: &Search,
        most: i64,
    ) -> Result<i64, Error> {
        let mut query = QueryBuilder::new("select count(*) from (select from account a ");
        narrow(&mut query, reseller, &search.conditions);
        query.push(" limit ").push_bind(most).push(") as found");
        query
            .build_query_scalar()
            .fetch_one(self.connection())
            .await
            .or_domain()
    }

    async fn fetch_in_order(&mut self, keys: &[(i64, i32)]) -> Result<Vec<Account>, Error> {
        let keys: Vec<_> = keys
            .iter()
            .map(|(reseller, id)| Ok((ResellerId(*reseller), AccountId::new(i64::from(*id))?)))
            .collect::<Result<_, Error>>()?;
        let mut found: HashMap<AccountId, Account> = self
            .fetch_accounts(&keys)
            .await?
            .into_iter()
            .map(|account| (account.id, account))
            .collect();
        keys.iter()
            .map(|(_, id)| {
                found
                    .remove(id)
                    .ok_or_else(|| internal("a search found an account that is not there"))
            })
            .collect()
    }
}

fn column(field: SearchField) -> &'static str {
    match field {
        SearchField::CreatedAt => "a.created_at",
        SearchField::UpdatedAt => "a.updated_at",
        SearchField::ExpiresAt => "a.expires_at",
        SearchField::Email => "a.email_key",
        SearchField::Company => "a.company",
        SearchField::Status => "a.status",
    }
}

/// The reseller, what is not deleted, and the conditions. A field without a value is equal to nothing.
fn narrow(
    query: &mut QueryBuilder<Postgres>,
    reseller: Option<ResellerId>,
    conditions: &[Condition],
) {
    query.push("where a.deleted_at is null");
    if let Some(reseller) = reseller {
        query.push(" and a.reseller_id = ").push_bind(reseller.0);
    }
    for condition in conditions {
        let operator = match condition.comparison {
            Comparison::Equal | Comparison::In => "= any",
            Comparison::NotEqual => "<> all",
            Comparison::Greater => "> all",
            Comparison::GreaterOrEqual => ">= all",
            Comparison::Less => "< all",
            Comparison::LessOrEqual => "<= all",
        };
        let column = column(condition.field);
        let or_absent = if condition.comparison == Comparison::NotEqual {
            format!("{column} is null or ")
        } else {
            String::new()
        };
        query.push(format!(" and ({or_absent}{column} {operator} ("));
        match &condition.values {
            SearchValues::Times(times) => query.push_bind(times.clone()),
            SearchValues::Texts(texts) if condition.field == SearchField::Email => query.push_bind(
                texts
                    .iter()
                    .map(|text| text.to_lowercase())
                    .collect::<Vec<_>>(),
            ),
            SearchValues::Texts(texts) => query.push_bind(texts.clone()),
        };
        query.push("))");
    }
}
