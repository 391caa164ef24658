//! Pages of lists that are followed by a cursor: plans, tokens, resellers.

use axum::http::Uri;
use serde::Serialize;

use super::codes::Failure;
use crate::wire::Codec;

const DEFAULT_LIMIT: i64 = 100;
const MAX_LIMIT: i64 = 100;

/// Several documents: a bare array in JSON, elements of one name in XML.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Several<T> {
    Json(Vec<T>),
    Xml { item: Vec<T> },
}

impl<T> Several<T> {
    pub(super) fn of(items: Vec<T>, format: Codec) -> Self {
        if format == Codec::Json {
            Self::Json(items)
        } else {
            Self::Xml { item: items }
        }
    }
}

/// Which part of a list is asked for.
pub(super) struct Page {
    /// Behind which number; 0: from the start.
    pub(super) after: i64,
    pub(super) limit: i64,
    /// What `after` says, where that is a cursor.
    pub(super) cursor: Option<String>,
    others: Vec<(String, String)>,
}

impl Page {
    /// Reads `after`, `limit` and the parameters named; others are refused.
    pub(super) fn read(uri: &Uri, known: &[&str]) -> Result<Self, Failure> {
        Self::read_as(uri, known, false)
    }

    /// The same, for a list in which `after` is a cursor.
    pub(super) fn read_with_cursor(uri: &Uri, known: &[&str]) -> Result<Self, Failure> {
        Self::read_as(uri, known, true)
    }

    fn read_as(uri: &Uri, known: &[&str], has_cursor: bool) -> Result<Self, Failure> {
        let mut page = Self {
            after: 0,
            limit: DEFAULT_LIMIT,
            cursor: None,
            others: Vec::new(),
        };
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in
            url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned()
        {
            if seen.contains(&name) {
                return Err(Failure::parameter(&name, "appears more than once"));
            }
            let number = || value.parse::<i64>().ok();
            match name.as_str() {
                "after" if has_cursor => page.cursor = Some(value),
                "after" => {
                    let refuse = || Failure::parameter("after", "must be a number from 0 on");
                    page.after = number().filter(|after| *after >= 0).ok_or_else(refuse)?;
                }
                "limit" => {
                    let refuse = || {
                        Failure::parameter("limit", &format!("must be between 1 and {MAX_LIMIT}"))
                    };
                    page.limit = number()
                        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                        .ok_or_else(refuse)?;
                }
                other if known.contains(&other) => page.others.push((name.clone(), value)),
                _ => return Err(Failure::parameter(&name, "is no parameter of this call")),
            }
            seen.push(name);
        }
        Ok(page)
    }

    /// The value of one of the named parameters.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.others
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The same, as a number from 1 on.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, Failure> {
        let read = |value: &str| value.parse().ok().filter(|number| *number > 0);
        self.text(name)
            .map(|value| {
                read(value).ok_or_else(|| Failure::parameter(name, "must be a number from 1 on"))
            })
            .transpose()
    }

    /// The link to what lies behind this page, if there may be anything.
    pub(super) fn next(&self, last: Option<i64>, found: usize, uri: &Uri) -> Option<String> {
        let last = last.filter(|_| i64::try_from(found) == Ok(self.limit))?;
        Some(self.link("after", &last.to_string(), uri))
    }

    /// The link to a page that begins at a place.
    pub(super) fn link(&self, name: &str, place: &str, uri: &Uri) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query
            .append_pair(name, place)
            .append_pair("limit", &self.limit.to_string());
        query.extend_pairs(self.others.iter().filter(|(other, _)| other != name));
        format!("<{}?{}>; rel=\"next\"", uri.path(), query.finish())
    }
}
