//! The conditions of searches in SQL.

use sqlx::{Postgres, QueryBuilder};

use crate::domain::{
    Comparison, Condition, SearchField, SearchValues, Span, ZoneConditions, email_key,
};

/// A statement that is being put together.
type Statement = QueryBuilder<Postgres>;

/// The conditions for the accounts of resellers in each time zone. Pushes nothing if there are none.
pub(super) fn push_by_zone(statement: &mut Statement, by_zone: &[ZoneConditions]) {
    if by_zone.is_empty() {
        return;
    }
    statement.push(" and case (select r.timezone from reseller r where r.id = a.reseller_id)");
    for zone in by_zone {
        statement
            .push(" when ")
            .push_bind(zone.zone.clone())
            .push(" then true");
        push_conditions(statement, &zone.conditions);
    }
    statement.push(" else false end");
}

/// The conditions of a search. A field without a value equals nothing.
pub(super) fn push_conditions(statement: &mut Statement, conditions: &[Condition]) {
    for condition in conditions {
        let column = column(condition.field);
        let texts = match &condition.values {
            SearchValues::Times(spans) => {
                push_times(statement, column, condition.comparison, spans);
                continue;
            }
            SearchValues::Texts(texts) if condition.field == SearchField::Email => {
                texts.iter().map(|text| email_key(text)).collect()
            }
            SearchValues::Texts(texts) => texts.clone(),
        };
        let operator = match condition.comparison {
            Comparison::Equal | Comparison::In => "= any",
            Comparison::NotEqual => "<> all",
            Comparison::Greater => "> all",
            Comparison::GreaterOrEqual => ">= all",
            Comparison::Less => "< all",
            Comparison::LessOrEqual => "<= all",
        };
        let or_absent = if condition.comparison == Comparison::NotEqual {
            format!("{column} is null or ")
        } else {
            String::new()
        };
        statement
            .push(format!(" and ({or_absent}{column} {operator} ("))
            .push_bind(texts)
            .push("))");
    }
}

/// A condition on an instant. Each value is a span: equal means within it, less before its first
/// instant, and greater after its last.
fn push_times(statement: &mut Statement, column: &str, comparison: Comparison, spans: &[Span]) {
    let within = |statement: &mut Statement| {
        statement.push("(false");
        for span in spans {
            statement
                .push(format!(" or ({column} >= "))
                .push_bind(span.first)
                .push(format!(" and {column} < "))
                .push_bind(span.next)
                .push(")");
        }
        statement.push(")");
    };
    let firsts = spans.iter().map(|span| span.first);
    let nexts = spans.iter().map(|span| span.next);
    let (operator, bound) = match comparison {
        Comparison::Equal | Comparison::In => {
            statement.push(" and ");
            return within(statement);
        }
        Comparison::NotEqual => {
            statement.push(format!(" and ({column} is null or not "));
            within(statement);
            statement.push(")");
            return;
        }
        Comparison::Greater => (">=", nexts.max()),
        Comparison::GreaterOrEqual => (">=", firsts.max()),
        Comparison::Less => ("<", firsts.min()),
        Comparison::LessOrEqual => ("<", nexts.min()),
    };
    if let Some(bound) = bound {
        statement
            .push(format!(" and {column} {operator} "))
            .push_bind(bound);
    }
}

pub(super) fn column(field: SearchField) -> &'static str {
    match field {
        SearchField::CreatedAt => "a.created_at",
        SearchField::UpdatedAt => "a.updated_at",
        SearchField::ExpiresAt => "a.expires_at",
        SearchField::Email => "a.email_key",
        SearchField::Company => "a.company",
        SearchField::Status => "a.status",
    }
}
