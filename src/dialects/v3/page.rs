//! The query of a request, read according to its row of the table: paging and other parameters.

use axum::http::Uri;
use chrono_tz::Tz;
use uuid::Uuid;

use crate::dialects::dates::{self, Role};
use crate::dialects::failure::Failure;
use crate::domain::{ResellerId, Time};
use crate::service::Slice;
use crate::wire::nearest;

/// The largest number of items on a page, and the default.
const MAX_LIMIT: i64 = 100;

/// The most characters of a text to search for: those of the longest text of a row.
const MAX_SEARCHED: usize = 255;

/// How an answer is paged. The dispatcher reads the parameters named here, and refuses unknown ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paging {
    /// The answer is not a list.
    None,
    /// A list that is small enough to be one page: by page, too.
    Whole,
    /// By page, or by number: `after` a number.
    PageOrNumber,
    /// By number: `after` a number, and `limit`.
    AfterNumber,
    /// By cursor: `after` a cursor, and `limit`.
    AfterCursor,
    /// In the order of time: `after` a cursor, and `limit`.
    ByTime,
    /// By id, newest first: `before` an id, and `limit`.
    BeforeId,
    /// By page, or by id, newest first.
    PageOrId,
    /// By number, newest first: `before` a number, and `limit`.
    BeforeNumber,
    /// By page, or by number, newest first.
    PageOrEntry,
    /// The list of accounts: `page`, `sort`, `after`, `limit` and filters.
    Search,
}

impl Paging {
    /// The names of the parameters with which a page is chosen.
    pub(super) const fn names(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::AfterNumber | Self::AfterCursor | Self::ByTime => &["after", "limit"],
            Self::Whole | Self::PageOrNumber => &["page", "limit", "sort", "query", "after"],
            Self::BeforeId | Self::BeforeNumber => &["before", "limit"],
            Self::PageOrId | Self::PageOrEntry => &["page", "limit", "sort", "query", "before"],
            Self::Search => &["page", "sort", "query", "after", "limit"],
        }
    }
}

/// A query parameter. The table of operations and the OpenAPI document use it.
#[derive(Debug)]
pub(super) struct QueryParameter {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    /// The JSON Schema of its value.
    pub(super) schema: &'static str,
}

const RESELLER_NUMBER: &str = r#"{"type":"integer","format":"int64","minimum":1}"#;
const INSTANT: &str = r#"{"type":"string","format":"date-time"}"#;

pub(super) const RESELLER: QueryParameter = QueryParameter {
    name: "resellerId",
    description: "The reseller's number. Required with an operator's token.",
    schema: RESELLER_NUMBER,
};
pub(super) const PURGE_RESELLER: QueryParameter = QueryParameter {
    name: "resellerId",
    description: "Only accounts of this reseller. Only with an operator's token; if absent, all resellers.",
    schema: RESELLER_NUMBER,
};
pub(super) const ONE_RESELLER: QueryParameter = QueryParameter {
    name: "resellerId",
    description: "Only this reseller. Only with an operator's token; if absent, all resellers, one after the other.",
    schema: RESELLER_NUMBER,
};
pub(super) const WHAT: QueryParameter = QueryParameter {
    name: "what",
    description: "Only things of this kind: `hold_starts`, `hold_ends`, `expires` or `purge`; several are separated by commas.",
    schema: r#"{"type":"string","pattern":"^(hold_starts|hold_ends|expires|purge)(,(hold_starts|hold_ends|expires|purge))*$"}"#,
};
pub(super) const UNTIL: QueryParameter = QueryParameter {
    name: "until",
    description: "Only things that happen up to this instant; a date alone means the end of that day.",
    schema: INSTANT,
};
pub(super) const AS_OF: QueryParameter = QueryParameter {
    name: "asOf",
    description: "Read the account as it was at this instant in the past; a date alone means the end of that day, and today means now. If absent, as it is now.",
    schema: INSTANT,
};
pub(super) const AS_OF_LIST: QueryParameter = QueryParameter {
    name: "asOf",
    description: "List the accounts as they were at this instant in the past; a date alone means the end of that day, and today means now. Only by cursor, and not with `page`, `sort` or filters.",
    schema: INSTANT,
};
pub(super) const ITEM_STATE: QueryParameter = QueryParameter {
    name: "state",
    description: "Only accounts in this state.",
    schema: r#"{"type":"string","enum":["pending","changed","unchanged","failed","skipped","reverted","kept"]}"#,
};
pub(super) const WEBHOOK: QueryParameter = QueryParameter {
    name: "webhookId",
    description: "Only attempts to this endpoint.",
    schema: r#"{"type":"string","format":"uuid"}"#,
};
pub(super) const SUCCEEDED: QueryParameter = QueryParameter {
    name: "succeeded",
    description: "Only attempts that succeeded (true) or failed (false).",
    schema: r#"{"type":"boolean"}"#,
};

/// The query of a request.
#[derive(Debug)]
pub(super) struct Query {
    /// For a list by number: the number after which the page begins. 0 means the start.
    pub(super) after: i64,
    /// The largest number of items on the page, 1 to 100.
    pub(super) limit: i64,
    /// For a list by cursor: the cursor after which the page begins. `None` means the start.
    pub(super) cursor: Option<String>,
    /// For a list by id: the id before which the page begins. `None` means the newest item.
    before: Option<String>,
    /// The number of the page, from 1. `None` if the query names none.
    pub(super) page: Option<i64>,
    /// The name of the field to sort by, with `-` in front for descending. `None` means the list's
    /// own order.
    pub(super) sort: Option<String>,
    /// The text that the rows must contain, in any case. `None` means all rows.
    pub(super) search: Option<String>,
    /// Whether the page begins at a row that the query names.
    pub(super) is_by_cursor: bool,
    parameters: Vec<(&'static str, String)>,
}

impl Query {
    /// Reads the parameters that the row names. An unknown or repeated parameter is refused.
    pub(super) fn read(
        uri: &Uri,
        paging: Paging,
        parameters: &'static [QueryParameter],
    ) -> Result<Self, Failure> {
        let mut query = Self {
            after: 0,
            limit: MAX_LIMIT,
            cursor: None,
            before: None,
            page: None,
            sort: None,
            search: None,
            is_by_cursor: false,
            parameters: Vec::new(),
        };
        if paging == Paging::Search {
            // The list of accounts reads its own query, because it has a filter for each field.
            return Ok(query);
        }
        let mut seen = Vec::new();
        for (name, value) in pairs(uri) {
            let parameter = parameters.iter().find(|known| known.name == name);
            let is_paging = paging.names().contains(&name.as_str());
            if !is_paging && parameter.is_none() {
                return Err(unknown_parameter(&name, paging, parameters));
            }
            if seen.contains(&name) {
                return Err(Failure::parameter(name, "appears more than once"));
            }
            match (parameter, name.as_str()) {
                (Some(parameter), _) => query.parameters.push((parameter.name, value)),
                (None, "limit") => query.limit = limit(&value)?,
                (None, "before") => query.before = Some(value),
                (None, "page") => query.page = Some(page(&value)?),
                (None, "sort") => query.sort = Some(value).filter(|sort| !sort.is_empty()),
                (None, "query") => query.search = searched(value)?,
                (None, _) if matches!(paging, Paging::AfterCursor | Paging::ByTime) => {
                    query.cursor = Some(value);
                }
                (None, _) => query.after = after(&value)?,
            }
            seen.push(name);
        }
        let cursor = seen
            .iter()
            .find(|name| matches!(name.as_str(), "after" | "before"));
        let by_page = seen
            .iter()
            .find(|name| matches!(name.as_str(), "page" | "sort" | "query"));
        if let (Some(cursor), Some(by_page)) = (cursor, by_page) {
            let problem = format!("cannot be combined with {by_page}");
            return Err(Failure::parameter(cursor, problem));
        }
        query.is_by_cursor = cursor.is_some();
        Ok(query)
    }

    /// The value of a parameter. `None` if the query does not have it.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The value of `resellerId`.
    pub(super) fn reseller(&self) -> Result<Option<ResellerId>, Failure> {
        let read = |text: &str| {
            let number = text.parse().ok().filter(|number| *number > 0);
            number.ok_or_else(|| Failure::must_be(RESELLER.name, "a number from 1 on", text))
        };
        Ok(self
            .text(RESELLER.name)
            .map(read)
            .transpose()?
            .map(ResellerId))
    }

    /// The value of `asOf`. A date without a zone is in `zone`.
    pub(super) fn as_of(&self, zone: Tz, now: Time) -> Result<Option<Time>, Failure> {
        let read = |text: &str| {
            dates::parse(text, Role::AsOf(now), zone)
                .map_err(|problem| Failure::parameter(AS_OF.name, problem))
        };
        self.text(AS_OF.name).map(read).transpose()
    }

    /// The value of a parameter that must be a UUID.
    pub(super) fn uuid(&self, name: &'static str) -> Result<Option<Uuid>, Failure> {
        uuid(name, self.text(name))
    }

    /// The id before which the page begins.
    pub(super) fn before(&self) -> Result<Option<Uuid>, Failure> {
        uuid("before", self.before.as_deref())
    }

    /// Rows that were read with this limit. If there are as many, more may follow.
    pub(super) fn rows<R>(&self, rows: Vec<R>) -> Slice<R> {
        Slice {
            has_more: i64::try_from(rows.len()) == Ok(self.limit),
            rows,
        }
    }

    /// The number before which the page begins.
    pub(super) fn before_number(&self) -> Result<Option<i64>, Failure> {
        let read = |text: &str| {
            let number = text.parse().ok().filter(|number| *number > 0);
            number.ok_or_else(|| Failure::must_be("before", "a number from 1 on", text))
        };
        self.before.as_deref().map(read).transpose()
    }

    /// The link to the page before this row of a list by number, newest first.
    pub(super) fn before_entry(&self, last: i64, uri: &Uri) -> String {
        self.link("before", &last.to_string(), uri)
    }

    /// The link to the page after this row of a list by number.
    pub(super) fn after(&self, last: i64, uri: &Uri) -> String {
        self.link("after", &last.to_string(), uri)
    }

    /// The link to the page that begins at this position.
    pub(super) fn link(&self, name: &str, place: &str, uri: &Uri) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query
            .append_pair(name, place)
            .append_pair("limit", &self.limit.to_string());
        query.extend_pairs(self.sort.iter().map(|sort| ("sort", sort)));
        query.extend_pairs(self.search.iter().map(|text| ("query", text)));
        query.extend_pairs(&self.parameters);
        format!("<{}?{}>; rel=\"next\"", uri.path(), query.finish())
    }

    /// Whether the query chooses a page by its number, or sorts or searches the list.
    pub(super) fn is_by_page(&self) -> bool {
        self.page.is_some() || self.sort.is_some() || self.search.is_some()
    }

    /// How many rows the pages before this one have.
    pub(super) fn skip(&self) -> i64 {
        (self.page.unwrap_or(1) - 1).saturating_mul(self.limit)
    }

    /// The link to the page with the next number.
    pub(super) fn next_page(&self, uri: &Uri) -> String {
        let next = self.page.unwrap_or(1).saturating_add(1);
        self.link("page", &next.to_string(), uri)
    }

    /// The refusal of a field that the list cannot be sorted by.
    pub(super) fn no_sort(&self, fields: &[&str]) -> Failure {
        no_sort(fields, self.sort.as_deref().unwrap_or_default())
    }
}

/// The refusal of a field that a list cannot be sorted by.
pub(super) fn no_sort(fields: &[&str], sort: &str) -> Failure {
    let accepted = format!(
        "one of {}, with - in front for descending",
        fields.join(", ")
    );
    Failure::must_be("sort", &accepted, sort)
}

/// The names of the parameters that a query may have.
pub(super) fn known(paging: Paging, others: &[QueryParameter]) -> Vec<&'static str> {
    let others = others.iter().map(|parameter| parameter.name);
    paging.names().iter().copied().chain(others).collect()
}

/// The refusal of a parameter that a call does not have.
fn unknown_parameter(name: &str, paging: Paging, others: &[QueryParameter]) -> Failure {
    let known = known(paging, others);
    let nearest = nearest(name, known.iter().copied());
    let accepted = match (instead(name, paging), nearest, known.as_slice()) {
        (Some(instead), _, known) => {
            format!(": {instead}; the parameters are {}", known.join(", "))
        }
        (None, Some(nearest), _) => format!("; did you mean {nearest}?"),
        (None, None, []) => ", which has none".to_owned(),
        (None, None, known) => format!("; the parameters are {}", known.join(", ")),
    };
    Failure::parameter(name, format!("is no parameter of this call{accepted}"))
}

/// What a list has instead of a parameter that other lists have. `None` if there is no such list, or
/// no other list has the parameter.
fn instead(name: &str, paging: Paging) -> Option<&'static str> {
    use Paging::{AfterCursor, AfterNumber, BeforeId, BeforeNumber, ByTime, PageOrEntry, PageOrId};
    Some(match (name, paging) {
        ("page", BeforeId | BeforeNumber)
        | ("after", BeforeId | BeforeNumber | PageOrId | PageOrEntry) => {
            "the first page is the newest, and its Link header leads to older ones by before"
        }
        ("page" | "before", AfterNumber | AfterCursor | ByTime) => {
            "the Link header of each page leads to the next one by after"
        }
        ("sort", BeforeId | BeforeNumber) => "the list is always newest first",
        ("sort", AfterNumber) => "the list is always in the order of the accounts' numbers",
        ("sort", AfterCursor) => "the list is always in the order of the changes",
        ("sort", ByTime) => "the list is always in the order of time",
        ("query", AfterNumber | AfterCursor | ByTime | BeforeId | BeforeNumber) => {
            "no text can be looked for in this list"
        }
        _ => return None,
    })
}

/// The names and values of the query's parameters.
pub(super) fn pairs(uri: &Uri) -> impl Iterator<Item = (String, String)> {
    url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned()
}

fn limit(text: &str) -> Result<i64, Failure> {
    let refuse = || Failure::must_be("limit", &format!("between 1 and {MAX_LIMIT}"), text);
    let limit = text
        .parse()
        .ok()
        .filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(refuse)
}

fn page(text: &str) -> Result<i64, Failure> {
    let refuse = || Failure::must_be("page", "a number from 1 on", text);
    text.parse()
        .ok()
        .filter(|page| *page > 0)
        .ok_or_else(refuse)
}

/// The text of `query`. An empty one is none, as clients send it that always send the parameter.
pub(super) fn searched(text: String) -> Result<Option<String>, Failure> {
    if text.chars().count() > MAX_SEARCHED || text.chars().any(char::is_control) {
        let problem =
            format!("must have at most {MAX_SEARCHED} characters, and no control characters");
        return Err(Failure::parameter("query", problem));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn after(text: &str) -> Result<i64, Failure> {
    let refuse = || Failure::must_be("after", "a number from 0 on", text);
    text.parse()
        .ok()
        .filter(|after| *after >= 0)
        .ok_or_else(refuse)
}

fn uuid(name: &'static str, text: Option<&str>) -> Result<Option<Uuid>, Failure> {
    let read = |text| Uuid::try_parse(text).map_err(|_| Failure::must_be(name, "a UUID", text));
    text.map(read).transpose()
}
