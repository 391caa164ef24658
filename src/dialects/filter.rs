//! The members of a request that filter accounts, in `admin`'s list and in `v3`'s bulk jobs.

use chrono_tz::Tz;

use super::dates;
use crate::domain::{
    AccountFilter, Authority, Error, MAX_TEXT, Metadata, StateFilter, Time, check_metadata_key,
};

/// The conditions as the caller wrote them. `None` leaves a condition out.
#[derive(Debug, Clone)]
pub(super) struct FilterMembers<'a> {
    /// `active`, `suspended` or a value of `blocked_by`.
    pub(super) state: Option<&'a str>,
    /// `operator`, `reseller` or `system`.
    pub(super) held_by: Option<&'a str>,
    /// A date, or a date and time.
    pub(super) expires_before: Option<&'a str>,
    /// A date, or a date and time.
    pub(super) expires_after: Option<&'a str>,
    /// The text to search for.
    pub(super) text: Option<&'a str>,
    /// Members that the metadata must have.
    pub(super) metadata: Metadata,
}

impl FilterMembers<'_> {
    /// Reads the conditions. Dates without a zone are in `zone`.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for the first condition that is malformed.
    pub(super) fn filter(self, zone: Tz) -> Result<AccountFilter, Error> {
        Ok(AccountFilter {
            state: self.state.map(StateFilter::parse).transpose()?,
            held_by: self.held_by.map(authority).transpose()?,
            expires_before: date("expires_before", self.expires_before, zone)?,
            expires_after: date("expires_after", self.expires_after, zone)?,
            text: self.text.map(search_text).transpose()?,
            metadata: wanted_metadata(self.metadata)?,
        })
    }
}

fn wanted_metadata(metadata: Metadata) -> Result<Metadata, Error> {
    for (key, value) in &metadata.0 {
        check_metadata_key(key).map_err(|problem| Error::invalid("metadata", problem))?;
        if value.is_empty() || value.contains('\0') {
            let problem = format!("{key}: must have the value that the member has");
            return Err(Error::invalid("metadata", problem));
        }
    }
    Ok(metadata)
}

fn authority(word: &str) -> Result<Authority, Error> {
    Authority::parse(word)
        .ok_or_else(|| Error::invalid("held_by", "must be operator, reseller or system"))
}

fn date(name: &'static str, text: Option<&str>, zone: Tz) -> Result<Option<Time>, Error> {
    text.map(|text| dates::parse(text, zone))
        .transpose()
        .map_err(|problem| Error::invalid(name, problem))
}

fn search_text(text: &str) -> Result<String, Error> {
    let length = text.chars().count();
    if text.contains('\0') {
        Err(Error::invalid("q", "must not contain control characters"))
    } else if length > MAX_TEXT {
        // No field that it is searched in is longer, and bulk jobs store it.
        let problem = format!("must be at most {MAX_TEXT} characters, not {length}");
        Err(Error::invalid("q", problem))
    } else {
        Ok(text.to_owned())
    }
}
