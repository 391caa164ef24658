//! The conditions of searches in SQL.

use sqlx::{Postgres, QueryBuilder};

use crate::domain::{
    Comparison, Condition, Metadata, ResellerId, SearchField, SearchValues, Span, ZoneConditions,
    email_key,
};

/// A statement that is being put together.
type Statement = QueryBuilder<Postgres>;

/// Joins the row of each member that the metadata must have. An account has one row for a name, so
/// it is found once. The index of these rows has the members of one name and value in the order of
/// the account ids, so that a page by id stops when it is full.
pub(super) fn push_members(
    statement: &mut Statement,
    reseller: Option<ResellerId>,
    metadata: &Metadata,
    from: Option<i32>,
) {
    for (position, (key, value)) in metadata.0.iter().enumerate() {
        let member = format!("m{position}");
        statement
            .push(format!(
                " join account_metadata {member} on {member}.reseller_id = a.reseller_id
                   and {member}.account_id = a.id and {member}.key = "
            ))
            .push_bind(key.clone())
            .push(format!(" and {member}.value = "))
            .push_bind(value.clone());
        // The index begins with the reseller, so it is also named when all are listed.
        statement.push(format!(" and {member}.reseller_id = "));
        match reseller {
            Some(reseller) => statement.push_bind(reseller.0),
            None => statement.push("any (array(select r.id from reseller r))"),
        };
        if let Some(from) = from {
            statement
                .push(format!(" and {member}.account_id >= "))
                .push_bind(from);
        }
    }
}

/// The condition that one of the texts by which people know an account contains a text.
pub(super) fn push_text(statement: &mut Statement, text: Option<&str>) {
    if let Some(text) = text {
        statement
            .push(" and position(lower(")
            .push_bind(text.to_owned())
            .push(
                ") in lower(concat_ws(' ', a.profile ->> 'email', a.profile ->> 'company',
                   a.profile ->> 'company_id', a.profile ->> 'account_alias'))) > 0",
            );
    }
}

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
    let firsts = spans.iter().map(|span| span.first);
    let nexts = spans.iter().map(|span| span.next);
    // Two values to bind, however many spans there are: a statement has at most 65,535, and this is
    // repeated for each time zone.
    let within = |statement: &mut Statement| {
        statement
            .push("exists (select from unnest(")
            .push_bind(firsts.clone().collect::<Vec<_>>())
            .push("::timestamptz[], ")
            .push_bind(nexts.clone().collect::<Vec<_>>())
            .push(format!(
                "::timestamptz[]) as span(first, next)
                   where {column} >= span.first and {column} < span.next)"
            ));
    };
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
        SearchField::Company => "(a.profile ->> 'company')",
        SearchField::Status => "a.status",
    }
}

/// Where an order by a field has the accounts without a value: at the end. For a column that always has
/// one, saying so would keep the planner from reading the index backwards.
pub(super) fn nulls_of(field: SearchField) -> &'static str {
    match field {
        SearchField::CreatedAt | SearchField::UpdatedAt | SearchField::Status => "",
        SearchField::ExpiresAt | SearchField::Email | SearchField::Company => " nulls last",
    }
}
