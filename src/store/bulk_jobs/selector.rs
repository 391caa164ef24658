//! The stored form of the selector of a bulk job.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{AccountFilter, Authority, Error, Level, Metadata, Owner, StateFilter, Time};
use crate::store::errors::internal;

/// The stored form of a filter. An absent member is no condition.
#[derive(Serialize, Deserialize)]
struct StoredFilter {
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held_by_owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_before: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_after: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

/// A filter as JSON.
pub(super) fn to_json(filter: &AccountFilter) -> Option<String> {
    let stored = StoredFilter {
        state: filter.state.map(|state| state.as_str().to_owned()),
        held_by: filter
            .held_by
            .map(|authority| authority.as_str().to_owned()),
        held_by_owner: filter.held_by_owner.as_ref().map(Owner::to_string),
        held_at: filter.held_at.map(|level| level.as_str().to_owned()),
        expires_before: filter.expires_before,
        expires_after: filter.expires_after,
        text: filter.text.clone(),
        metadata: filter.metadata.0.clone(),
    };
    serde_json::to_string(&stored).ok()
}

/// The filter of a stored job.
pub(super) fn from_json(json: &str) -> Result<AccountFilter, Error> {
    let filter = || {
        let stored: StoredFilter = serde_json::from_str(json).ok()?;
        let state = match stored.state {
            None => None,
            Some(word) => Some(StateFilter::parse(&word).ok()?),
        };
        let held_by = match stored.held_by {
            None => None,
            Some(word) => Some(Authority::parse(&word)?),
        };
        let held_at = match stored.held_at {
            None => None,
            Some(word) => Some(Level::parse(&word)?),
        };
        Some(AccountFilter {
            state,
            held_by,
            held_by_owner: stored.held_by_owner.map(Owner::stored),
            held_at,
            expires_before: stored.expires_before,
            expires_after: stored.expires_after,
            text: stored.text,
            metadata: Metadata(stored.metadata),
        })
    };
    filter().ok_or_else(|| internal("bulk_job has an unreadable filter"))
}
