//! The row of an account, and how it becomes an [`Account`].

use std::sync::Arc;

use uuid::Uuid;

use super::holds::holds_of;
use super::profile::profile_of;
use crate::domain::{Account, Error, ResellerId, Status, Time};
use crate::store::columns::account_id;
use crate::store::errors::internal;
use crate::store::plans::plan_from_json;

pub(super) struct AccountRow {
    pub(super) reseller_id: i64,
    pub(super) id: i32,
    pub(super) uid: Uuid,
    pub(super) reseller_suspended_at: Option<Time>,
    pub(super) status: String,
    pub(super) status_set_at: Time,
    pub(super) expires_at: Option<Time>,
    pub(super) expiry_set_at: Option<Time>,
    pub(super) exempt_until: Option<Time>,
    pub(super) announce_at: Option<Time>,
    pub(super) deleted_at: Option<Time>,
    pub(super) purge_at: Option<Time>,
    pub(super) purge_due_at: Option<Time>,
    pub(super) warn_at: Option<Time>,
    pub(super) operator_released_at: Option<Time>,
    pub(super) version: i64,
    pub(super) created_at: Time,
    pub(super) updated_at: Time,
    pub(super) email_key: Option<String>,
    pub(super) plan_id: Option<Uuid>,
    /// The profile as a JSON object.
    pub(super) profile: String,
    /// The open holds as a JSON array; `None` if the account has none.
    pub(super) holds: Option<String>,
    /// The plan as a JSON object; `None` if the account has none, or plans are not read.
    pub(super) plan: Option<String>,
}

impl TryFrom<AccountRow> for Account {
    type Error = Error;

    fn try_from(row: AccountRow) -> Result<Self, Error> {
        Ok(Self {
            id: account_id(row.id)?,
            uid: row.uid,
            reseller_id: ResellerId(row.reseller_id),
            reseller_suspended_at: row.reseller_suspended_at,
            profile: Arc::new(profile_of(&row.profile, row.email_key, row.plan_id)?),
            plan: row.plan.map(|json| plan_from_json(&json)).transpose()?,
            status: Status::parse(&row.status)
                .ok_or_else(|| internal("account has an unknown status"))?,
            status_set_at: row.status_set_at,
            expires_at: row.expires_at,
            expiry_set_at: row.expiry_set_at,
            exempt_until: row.exempt_until,
            announce_at: row.announce_at,
            deleted_at: row.deleted_at,
            purge_at: row.purge_at,
            purge_due_at: row.purge_due_at,
            warn_at: row.warn_at,
            operator_released_at: row.operator_released_at,
            holds: row
                .holds
                .map_or_else(|| Ok(Vec::new()), |json| holds_of(&json))?,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}
