//! Plans: the terms under which an account was sold, with the members of the `v3` original
//! (Cryptlex). Plans are descriptive; no rule of the lifecycle reads them.

use uuid::Uuid;

use super::text::{self, MAX_TEXT};
use super::{Error, ResellerId, Time};

/// Passes every settable member to the named macro, in the original's order. Each has a kind: a
/// `required` text, an optional `text`, an optional `limit`, a `number` or a `flag`.
macro_rules! plan_members {
    ($with:ident) => {
        $with! {
            required name: String,
            text display_name: Option<String>,
            number version: i32,
            number tier: i32,
            text interval: Option<String>,
            text paddle_id: Option<String>,
            text paddle_price_id: Option<String>,
            limit allowed_users: Option<i32>,
            limit allowed_organizations: Option<i32>,
            limit allowed_admins: Option<i32>,
            limit allowed_products: Option<i32>,
            limit allowed_meter_attributes: Option<i32>,
            limit allowed_feature_flags: Option<i32>,
            limit allowed_features: Option<i32>,
            limit allowed_activations: Option<i32>,
            limit allowed_trial_activations: Option<i32>,
            limit allowed_releases: Option<i32>,
            limit allowed_product_space: Option<i32>,
            flag allow_sending_domain: bool,
            text amount: Option<String>,
            flag allow_customer_portal_access: bool,
            flag allow_organization_admins: bool,
            flag allow_offline_activations: bool,
            flag allow_hosted_floating_licenses: bool,
            flag allow_on_premise_floating_licenses: bool,
            flag allow_custom_domain: bool,
            flag allow_resellers: bool,
            flag allow_sso: bool,
            flag allow_custom_roles: bool,
            flag allow_legacy_custom_roles: bool,
            flag allow_event_logs: bool,
            flag allow_audit_logs: bool,
            flag allow_custom_email_templates: bool,
            flag allow_maintenance_policies: bool,
            flag allow_activation_logs: bool,
            text activation_logs_retention_period: Option<String>,
            flag deprecated: bool,
        }
    };
}

pub(crate) use plan_members;

macro_rules! terms {
    ($($kind:ident $field:ident: $type:ty,)*) => {
        /// What a plan grants and limits. A limit of `None` means unlimited.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct PlanTerms { $(#[doc = concat!("`", stringify!($field), "` of the `v3` original.")] pub $field: $type,)* }

        impl PlanTerms {
            /// Checks the values that are not those of `present`. An earlier version may have stored
            /// values that this one refuses, and a caller may send them back.
            ///
            /// # Errors
            /// [`Error::InvalidField`] naming the first value that is refused. Texts must have 1 to
            /// 255 characters; numbers must not be negative.
            pub fn check(&self, present: Option<&Self>) -> Result<(), Error> {
                $(if present.is_none_or(|present| present.$field != self.$field) {
                    check::$kind(stringify!($field), &self.$field)?;
                })*
                Ok(())
            }
        }
    };
}

plan_members!(terms);

/// The check for each kind of member.
mod check {
    use super::{Error, MAX_TEXT, text as check_text};

    pub(super) fn required(field: &'static str, value: &str) -> Result<(), Error> {
        check_text::check(field, value, MAX_TEXT)
    }

    #[expect(
        clippy::ref_option,
        reason = "the macro passes every member by reference"
    )]
    pub(super) fn text(field: &'static str, value: &Option<String>) -> Result<(), Error> {
        value
            .as_ref()
            .map_or(Ok(()), |value| required(field, value))
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the macro passes every member by reference"
    )]
    pub(super) fn number(field: &'static str, value: &i32) -> Result<(), Error> {
        if *value < 0 {
            Err(Error::invalid(field, "must not be negative"))
        } else {
            Ok(())
        }
    }

    #[expect(
        clippy::ref_option,
        clippy::trivially_copy_pass_by_ref,
        reason = "the macro passes every member by reference"
    )]
    pub(super) fn limit(field: &'static str, value: &Option<i32>) -> Result<(), Error> {
        value.as_ref().map_or(Ok(()), |value| number(field, value))
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        clippy::unnecessary_wraps,
        reason = "all checks have the same signature"
    )]
    pub(super) fn flag(_: &'static str, _: &bool) -> Result<(), Error> {
        Ok(())
    }
}

/// A plan of a reseller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its identity.
    pub id: Uuid,
    /// The reseller that owns it.
    pub reseller_id: ResellerId,
    /// Its number among its reseller's plans, from 1. The `admin` API calls it tariff, the `soap`
    /// API planID.
    pub number: i32,
    /// What it grants and limits.
    pub terms: PlanTerms,
    /// When it was created.
    pub created_at: Time,
    /// When it last changed.
    pub updated_at: Time,
}
