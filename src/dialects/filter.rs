//! The members of a request that filter accounts, in `admin`'s list and in `v3`'s bulk jobs.

use chrono_tz::Tz;

use super::dates;
use crate::domain::{
    AccountFilter, Authority, Comparison, Condition, Error, Level, MAX_METADATA_CONDITIONS,
    MAX_TEXT, Metadata, Owner, SearchField, SearchValues, StateFilter, ZoneConditions,
    check_metadata_key,
};

/// The conditions as the caller wrote them. `None` leaves a condition out.
#[derive(Debug, Clone)]
pub(crate) struct FilterMembers<'a> {
    /// `active`, `suspended` or a value of `blocked_by`.
    pub(crate) state: Option<&'a str>,
    /// `operator`, `reseller` or `system`.
    pub(crate) held_by: Option<&'a str>,
    /// The name of an owner.
    pub(crate) owner: Option<&'a str>,
    /// `block`, `limit` or `warn`.
    pub(crate) level: Option<&'a str>,
    /// A date, or a date and time.
    pub(crate) expires_before: Option<&'a str>,
    /// A date, or a date and time.
    pub(crate) expires_after: Option<&'a str>,
    /// The text to search for.
    pub(crate) text: Option<&'a str>,
    /// Members that the metadata must have.
    pub(crate) metadata: Metadata,
}

impl FilterMembers<'_> {
    /// Reads the conditions. Dates without a zone are in the zone of each account's reseller, which
    /// is one of `zones`. If there are several, conditions on such dates are returned beside the
    /// filter.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for the first condition that is malformed.
    pub(crate) fn filter(
        self,
        zones: &[Tz],
    ) -> Result<(AccountFilter, Vec<ZoneConditions>), Error> {
        let mut conditions = TimeConditions::new(zones);
        let mut add = |name, text, comparison| match text {
            None => Ok(()),
            Some(text) => conditions
                .add(SearchField::ExpiresAt, comparison, &[text])
                .map_err(|problem| Error::invalid(name, problem)),
        };
        add("expires_before", self.expires_before, Comparison::Less)?;
        add(
            "expires_after",
            self.expires_after,
            Comparison::GreaterOrEqual,
        )?;
        let TimeConditions { all, by_zone, .. } = conditions;
        let bound = |comparison| {
            let condition = all.iter().find(|it| it.comparison == comparison)?;
            match &condition.values {
                SearchValues::Times(spans) => spans.first().map(|span| span.first),
                SearchValues::Texts(_) => None,
            }
        };
        let filter = AccountFilter {
            state: self.state.map(StateFilter::parse).transpose()?,
            held_by: self.held_by.map(authority).transpose()?,
            held_by_owner: self
                .owner
                .map(|owner| Owner::parse("owner", owner))
                .transpose()?,
            held_at: self.level.map(level).transpose()?,
            expires_before: bound(Comparison::Less),
            expires_after: bound(Comparison::GreaterOrEqual),
            text: self.text.map(search_text).transpose()?,
            metadata: wanted_metadata(self.metadata)?,
        };
        Ok((filter, by_zone))
    }
}

/// Conditions on instants in a list of accounts. A date without a zone is in the zone of each
/// account's reseller.
#[derive(Debug)]
pub(super) struct TimeConditions {
    zones: Vec<Tz>,
    /// The conditions for all accounts.
    pub(super) all: Vec<Condition>,
    /// The conditions on dates without a zone, if the accounts' resellers are in several zones.
    pub(super) by_zone: Vec<ZoneConditions>,
}

impl TimeConditions {
    /// No conditions on accounts whose resellers are in one of these zones.
    pub(super) fn new(zones: &[Tz]) -> Self {
        Self {
            zones: zones.to_vec(),
            all: Vec::new(),
            by_zone: Vec::new(),
        }
    }

    /// Adds a condition.
    ///
    /// # Errors
    /// A message for the caller if a value is no date.
    pub(super) fn add(
        &mut self,
        field: SearchField,
        comparison: Comparison,
        texts: &[&str],
    ) -> Result<(), String> {
        let condition = |zone: Tz| {
            let spans = texts.iter().map(|text| dates::parse_span(text, zone));
            Ok::<_, String>(Condition {
                field,
                comparison,
                values: SearchValues::Times(spans.collect::<Result<_, _>>()?),
            })
        };
        let zone = self.zones.first().copied().unwrap_or_default();
        let first = condition(zone)?;
        let has_zone =
            |text: &&str| dates::Written::parse(text).is_ok_and(dates::Written::has_zone);
        if self.zones.len() < 2 || texts.iter().all(has_zone) {
            self.all.push(first);
            return Ok(());
        }
        if self.by_zone.is_empty() {
            let none = |zone: &Tz| ZoneConditions {
                zone: zone.name().to_owned(),
                conditions: Vec::new(),
            };
            self.by_zone = self.zones.iter().map(none).collect();
        }
        for (zone, group) in self.zones.iter().zip(&mut self.by_zone) {
            group.conditions.push(condition(*zone)?);
        }
        Ok(())
    }
}

/// Refuses more members than accounts can be selected by.
///
/// # Errors
/// A message for the caller.
pub(super) fn check_member_count(metadata: &Metadata) -> Result<(), String> {
    let count = metadata.0.len();
    if count > MAX_METADATA_CONDITIONS {
        return Err(format!(
            "accounts can be selected by at most {MAX_METADATA_CONDITIONS} members of their \
             metadata at a time, not {count}"
        ));
    }
    Ok(())
}

fn wanted_metadata(metadata: Metadata) -> Result<Metadata, Error> {
    check_member_count(&metadata).map_err(|problem| Error::invalid("metadata", problem))?;
    for (key, value) in &metadata.0 {
        check_metadata_key(key).map_err(|problem| Error::invalid("metadata", problem))?;
        if value.is_empty() || value.contains('\0') {
            let problem = format!("{key}: must have the value that the member has");
            return Err(Error::invalid("metadata", problem));
        }
    }
    Ok(metadata)
}

/// Reads a level.
///
/// # Errors
/// [`Error::InvalidField`] for `level` with the accepted words.
pub(super) fn level(word: &str) -> Result<Level, Error> {
    Level::parse(word).ok_or_else(|| Error::must_be("level", "block, limit or warn", word))
}

fn authority(word: &str) -> Result<Authority, Error> {
    Authority::parse(word)
        .ok_or_else(|| Error::must_be("held_by", "operator, reseller or system", word))
}

fn search_text(text: &str) -> Result<String, Error> {
    let length = text.chars().count();
    // Bulk jobs store it and answer with it, also in XML.
    if text
        .chars()
        .any(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'))
    {
        Err(Error::invalid("q", "must not contain control characters"))
    } else if length > MAX_TEXT {
        // No field that it is searched in is longer, and bulk jobs store it.
        let problem = format!("must be at most {MAX_TEXT} characters, not {length}");
        Err(Error::invalid("q", problem))
    } else {
        Ok(text.to_owned())
    }
}
