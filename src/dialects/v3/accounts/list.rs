//! The query of `GET /v3/accounts`: filters, and either numbered pages with a sort order or a
//! cursor, which stays fast at any depth.

use axum::http::Uri;
use chrono_tz::Tz;

use crate::dialects::dates::{self, Role};
use crate::dialects::failure::Failure;
use crate::dialects::filter::{self, TimeConditions, check_member_count};
use crate::dialects::v3::cursor::Cursor;
use crate::dialects::v3::page::{no_sort, pairs, searched};
use crate::domain::{
    AccountId, Comparison, Condition, Level, Metadata, Owner, ResellerId, Search, SearchField,
    SearchValues, Start, Time, check_metadata_key, quoted,
};

const DEFAULT_LIMIT: i64 = 10;
const MAX_LIMIT: i64 = 100;
/// The most conditions on fields. Every account that is read is compared with each.
const MAX_CONDITIONS: usize = 20;
/// The most values of a condition with `in`.
const MAX_VALUES: usize = 100;
/// The largest number of accounts that a page may skip, because the database reads all skipped
/// accounts. Beyond it, callers must use cursors.
const MAX_SKIP: i64 = 100_000;

/// The query of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ListRequest {
    pub(super) search: Search,
    /// The number of the page, from 1. `None` if the caller uses cursors.
    pub(super) page: Option<i64>,
    /// The instant in the past as of which accounts are listed. The list is then read by cursor,
    /// and filters are refused.
    pub(super) as_of: Option<Time>,
    /// The other parameters, repeated in the link to the next page.
    repeated: Vec<(String, String)>,
}

impl ListRequest {
    /// Whether the query has dates, so that the time zones of its accounts matter.
    pub(super) fn has_dates(uri: &Uri) -> bool {
        pairs(uri).any(|(name, _)| {
            let name = name.split('[').next().unwrap_or_default();
            name == "asOf" || field(name).is_some_and(SearchField::is_time)
        })
    }

    /// Reads the query. `reseller` is the owner of the list; another reseller's cursor is refused.
    /// `zones` are the time zones of the resellers whose accounts are listed. A date without a zone
    /// is in the zone of each account's reseller; `asOf`, which is one instant for all, is in UTC if
    /// there are several.
    pub(super) fn read(
        uri: &Uri,
        zones: &[Tz],
        now: Time,
        reseller: ResellerId,
    ) -> Result<Self, Failure> {
        let (mut page, mut limit, mut sort, mut after, mut as_of) = (None, None, None, None, None);
        let (mut conditions, mut repeated) = (TimeConditions::new(zones), Vec::new());
        let (mut metadata, mut text, mut on_fields) = (Metadata::default(), None, 0);
        let (mut owner, mut level) = (None, None);
        for (name, value) in pairs(uri) {
            let slot = match name.as_str() {
                "page" => &mut page,
                "limit" => &mut limit,
                "sort" => &mut sort,
                "after" => &mut after,
                "asOf" => &mut as_of,
                "query" => &mut text,
                "owner" => &mut owner,
                "level" => &mut level,
                _ => {
                    if let Some(key) = metadata_key(&name)? {
                        require_member(&mut metadata, &name, key, &value)?;
                    } else {
                        on_fields += 1;
                        check_count(on_fields, &name)?;
                        add_condition(&mut conditions, &name, &value)?;
                    }
                    repeated.push((name, value));
                    continue;
                }
            };
            if slot.replace(value).is_some() {
                return Err(Failure::parameter(name, "appears more than once"));
            }
        }
        // A client that always sends the parameter sends an empty one for the list's own order.
        let sort = sort.filter(|sort| !sort.is_empty());
        let text = searched_in(text, &mut repeated)?;
        let (owner, level) = held_in(owner, level, &mut repeated)?;
        let limit = number("limit", limit.as_deref(), DEFAULT_LIMIT, MAX_LIMIT)?;
        if let Some(text) = &as_of {
            if page.is_some() || sort.is_some() || !repeated.is_empty() {
                return Err(Failure::parameter(
                    "asOf",
                    "can be combined with after and limit only",
                ));
            }
            repeated.push(("asOf".to_owned(), text.clone()));
            after = after.or(Some(String::new()));
        }
        let zone = if let [zone] = zones { *zone } else { Tz::UTC };
        let as_of = as_of
            .map(|text| {
                dates::parse(&text, Role::AsOf(now), zone)
                    .map_err(|problem| Failure::parameter("asOf", problem))
            })
            .transpose()?;
        let TimeConditions {
            all: conditions,
            by_zone,
            ..
        } = conditions;
        let (start, page) = if let Some(after) = after {
            if page.is_some() || sort.is_some() {
                return Err(Failure::parameter(
                    "after",
                    "cannot be combined with page or sort",
                ));
            }
            let after = if after.is_empty() {
                None
            } else {
                Some(Cursor::decode(&after)?.account_of(reseller)?)
            };
            (Start::After(after), None)
        } else {
            let page = number("page", page.as_deref(), 1, i64::MAX)?;
            let (by, descending) = order(sort.as_deref().unwrap_or("-createdAt"))?;
            let skip = skipped(page, limit)?;
            let start = Start::Offset {
                skip,
                by,
                descending,
            };
            (start, Some(page))
        };
        Ok(Self {
            search: Search {
                conditions,
                metadata,
                owner,
                level,
                text,
                by_zone,
                start,
                limit,
            },
            page,
            as_of,
            repeated,
        })
    }

    /// The link to the page after this account.
    pub(super) fn next(&self, last: AccountId, reseller: ResellerId) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("after", &Cursor::account(last, reseller).encode())
            .append_pair("limit", &self.search.limit.to_string());
        query.extend_pairs(&self.repeated);
        format!(
            "<{}?{}>; rel=\"next\"",
            crate::dialects::v3::ACCOUNTS,
            query.finish()
        )
    }
}

/// The text of `query`, which is repeated in links.
fn searched_in(
    text: Option<String>,
    repeated: &mut Vec<(String, String)>,
) -> Result<Option<String>, Failure> {
    let text = text.map(searched).transpose()?.flatten();
    repeated.extend(text.iter().map(|text| ("query".to_owned(), text.clone())));
    Ok(text)
}

/// The values of `owner` and `level`, which are repeated in links.
fn held_in(
    owner: Option<String>,
    level: Option<String>,
    repeated: &mut Vec<(String, String)>,
) -> Result<(Option<Owner>, Option<Level>), Failure> {
    let read = (
        owner.as_deref().map(|text| Owner::parse("owner", text)),
        level.as_deref().map(filter::level),
    );
    let named = |name: &str, text: Option<String>| text.map(|text| (name.to_owned(), text));
    repeated.extend(
        named("owner", owner)
            .into_iter()
            .chain(named("level", level)),
    );
    Ok((read.0.transpose()?, read.1.transpose()?))
}

/// How many accounts precede a page.
fn skipped(page: i64, limit: i64) -> Result<i64, Failure> {
    let skip = (page - 1).checked_mul(limit);
    skip.filter(|skip| *skip <= MAX_SKIP).ok_or_else(|| {
        Failure::parameter("page", "is too deep; follow cursors from `after=` instead")
    })
}

fn number(name: &str, text: Option<&str>, default: i64, max: i64) -> Result<i64, Failure> {
    let Some(text) = text else {
        return Ok(default);
    };
    let value = text.parse().ok().filter(|value| (1..=max).contains(value));
    value.ok_or_else(|| {
        let accepted = if max == i64::MAX {
            "a number from 1 on".to_owned()
        } else {
            format!("between 1 and {max}")
        };
        Failure::must_be(name, &accepted, text)
    })
}

fn field(name: &str) -> Option<SearchField> {
    Some(match name {
        "createdAt" => SearchField::CreatedAt,
        "updatedAt" => SearchField::UpdatedAt,
        "expiresAt" => SearchField::ExpiresAt,
        "email" => SearchField::Email,
        "company" => SearchField::Company,
        "status" => SearchField::Status,
        _ => return None,
    })
}

/// The fields that accounts can be sorted and filtered by.
pub(in crate::dialects::v3) const FIELDS: [&str; 6] = [
    "createdAt",
    "updatedAt",
    "expiresAt",
    "email",
    "company",
    "status",
];

fn order(sort: &str) -> Result<(SearchField, bool), Failure> {
    let (name, descending) = sort
        .strip_prefix('-')
        .map_or((sort, false), |name| (name, true));
    let field = field(name).ok_or_else(|| no_sort(&FIELDS, sort))?;
    Ok((field, descending))
}

/// The name of the member that a filter `metadata[name]=value` is about. `None` if the parameter is
/// another filter.
fn metadata_key(parameter: &str) -> Result<Option<&str>, Failure> {
    if parameter != "metadata" && !parameter.starts_with("metadata[") {
        return Ok(None);
    }
    let key = parameter
        .strip_prefix("metadata[")
        .and_then(|rest| rest.strip_suffix(']'));
    key.map(Some).ok_or_else(|| {
        Failure::parameter(
            parameter,
            "must name one member, as in metadata[customer]=4711",
        )
    })
}

/// Adds the condition that the metadata has a member with a value.
fn require_member(
    metadata: &mut Metadata,
    parameter: &str,
    key: &str,
    value: &str,
) -> Result<(), Failure> {
    check_metadata_key(key).map_err(|problem| Failure::parameter(parameter, problem))?;
    if value.is_empty() || value.chars().any(char::is_control) {
        return Err(Failure::parameter(
            parameter,
            "must have the value that the member has; a member without a value does not exist",
        ));
    }
    if metadata
        .0
        .insert(key.to_owned(), value.to_owned())
        .is_some()
    {
        return Err(Failure::parameter(parameter, "appears more than once"));
    }
    check_member_count(metadata).map_err(|problem| Failure::parameter(parameter, problem))
}

/// Refuses another condition on a field if there are too many.
fn check_count(count: usize, parameter: &str) -> Result<(), Failure> {
    if count > MAX_CONDITIONS {
        return Err(Failure::parameter(
            parameter,
            format!(
                "is one condition too many: a list has at most {MAX_CONDITIONS} conditions on \
                 fields; several values of one field are one condition with [in]"
            ),
        ));
    }
    Ok(())
}

/// Reads a filter: `field[op]=value`, or `field=value` for equality.
fn add_condition(conditions: &mut TimeConditions, name: &str, value: &str) -> Result<(), Failure> {
    let (field_name, operator) = name
        .split_once('[')
        .map_or((name, "eq"), |(field_name, rest)| {
            (field_name, rest.strip_suffix(']').unwrap_or_default())
        });
    let field = field(field_name).ok_or_else(|| {
        let fields = FIELDS.join(", ");
        let problem = format!(
            "is no parameter and no field; the fields are {fields}, metadata[name], owner and level"
        );
        Failure::parameter(name, problem)
    })?;
    let comparison = match operator {
        "eq" => Comparison::Equal,
        "ne" => Comparison::NotEqual,
        "gt" => Comparison::Greater,
        "gte" => Comparison::GreaterOrEqual,
        "lt" => Comparison::Less,
        "lte" => Comparison::LessOrEqual,
        "in" => Comparison::In,
        _ => {
            let problem = format!(
                "must be compared with eq, ne, gt, gte, lt, lte or in, not {}",
                quoted(operator)
            );
            return Err(Failure::parameter(name, problem));
        }
    };
    let texts: Vec<&str> = if comparison == Comparison::In {
        value.split(',').collect()
    } else {
        vec![value]
    };
    if texts.len() > MAX_VALUES || value.chars().any(char::is_control) {
        return Err(Failure::parameter(
            name,
            format!("must have at most {MAX_VALUES} values and no control characters"),
        ));
    }
    if field.is_time() {
        return conditions
            .add(field, comparison, &texts)
            .map_err(|problem| Failure::parameter(name, problem));
    }
    conditions.all.push(Condition {
        field,
        comparison,
        values: SearchValues::Texts(texts.into_iter().map(str::to_owned).collect()),
    });
    Ok(())
}
