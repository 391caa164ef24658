//! The documents and requests of plans, generated from the list of a plan's terms.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};
use uuid::Uuid;

use crate::dialects::dates;
use crate::dialects::patches::{plain, text_or_none};
use crate::domain::{Patch, Plan, PlanTerms, ResellerId, plan_members};
use crate::wire::Field;

/// When the plan `none` was made, in seconds since 1970: at the beginning of 2026, before the first
/// version.
const BUILT_IN: i64 = 1_767_225_600;

/// The type of each kind of member in a request. Every member may be absent.
macro_rules! request_type {
    (required) => { Field<String> };
    (text) => { Field<String> };
    (number) => { Option<i32> };
    (limit) => { Field<i32> };
    (flag) => { Option<bool> };
}

/// The type of each kind of member in an answer. None is nullable, because Cryptlex's clients cannot
/// read null: a text that is not set is empty, and a limit of 0 is no limit.
#[expect(non_camel_case_types, reason = "the names are the kinds of members")]
mod answer {
    pub(super) type required = String;
    pub(super) type text = String;
    pub(super) type number = i32;
    pub(super) type limit = i32;
    pub(super) type flag = bool;
}

/// The document, the requests and their schemas, with one field for each term of a plan.
macro_rules! members {
    ($($kind:ident $field:ident: $type:ty,)*) => {
        /// A plan: the 40 members of Cryptlex in their order. A text that is not set is empty, and
        /// a limit of 0 is no limit.
        #[derive(Debug, Clone, Serialize, ToSchema)]
        #[serde(rename_all = "camelCase")]
        #[schema(as = Plan)]
        pub(in crate::dialects::v3) struct PlanDocument {
            #[schema(format = Uuid)]
            id: String,
            $(#[schema(inline)] $field: answer::$kind,)*
            #[schema(format = DateTime)]
            created_at: String,
            #[schema(format = DateTime)]
            updated_at: String,
        }

        impl PlanDocument {
            pub(in crate::dialects::v3) fn of(plan: &Plan) -> Self {
                Self {
                    id: plan.id.to_string(),
                    $($field: write::$kind(&plan.terms.$field),)*
                    created_at: dates::write(plan.created_at),
                    updated_at: dates::write(plan.updated_at),
                }
            }
        }

        /// A change of a plan's terms. Absent members keep their values. An empty text is none, and a
        /// limit of 0 or null is no limit.
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub(in crate::dialects::v3) struct PlanPatch {
            $(#[serde(default)] $field: request_type!($kind),)*
        }

        impl PlanPatch {
            pub(super) fn apply(self, terms: &mut PlanTerms) {
                $(take::$kind(self.$field, &mut terms.$field);)*
            }
        }

        /// A new plan with its terms.
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub(in crate::dialects::v3) struct NewPlan {
            pub(super) reseller_id: Option<i64>,
            pub(super) number: Option<i32>,
            $(#[serde(default)] $field: request_type!($kind),)*
        }

        impl NewPlan {
            pub(super) fn terms(self) -> PlanTerms {
                let mut terms = PlanTerms::default();
                $(take::$kind(self.$field, &mut terms.$field);)*
                terms
            }
        }

        /// The schema of [`PlanPatch`]. It has plain types, because the request's own types
        /// distinguish absent from null, which a schema cannot express.
        #[derive(ToSchema)]
        #[expect(dead_code, reason = "only its schema is used")]
        #[schema(as = PlanTerms, rename_all = "camelCase")]
        struct TermsSchema {
            $(#[schema(required = false)] $field: $type,)*
        }

        /// The schema of [`NewPlan`].
        #[derive(ToSchema)]
        #[expect(dead_code, reason = "only its schema is used")]
        #[schema(as = NewPlan, rename_all = "camelCase")]
        struct NewPlanSchema {
            /// The reseller that will own the plan. Only with an operator's token.
            reseller_id: Option<i64>,
            /// The number among the reseller's plans, from 1. If absent, the next free number.
            #[schema(minimum = 1)]
            number: Option<i32>,
            $(#[schema(required = false)] $field: $type,)*
        }
    };
}

plan_members!(members);

impl PlanDocument {
    /// The plan of an account that has none.
    pub(in crate::dialects::v3) fn none() -> Self {
        Self::of(&none())
    }
}

/// The built-in plan `none`: the nil UUID, no number, and terms that grant nothing. No reseller has
/// it, and no list contains it.
pub(super) fn none() -> Plan {
    let built_in = chrono::DateTime::from_timestamp(BUILT_IN, 0).unwrap_or_default();
    Plan {
        id: Uuid::nil(),
        reseller_id: ResellerId::PLATFORM,
        number: 0,
        terms: PlanTerms {
            name: "none".to_owned(),
            ..PlanTerms::default()
        },
        created_at: built_in,
        updated_at: built_in,
    }
}

/// Writes a plan's term of each kind.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    clippy::ref_option,
    reason = "the macro passes every member by reference"
)]
mod write {
    pub(super) fn required(term: &str) -> String {
        term.to_owned()
    }

    pub(super) fn text(term: &Option<String>) -> String {
        term.clone().unwrap_or_default()
    }

    pub(super) fn number(term: &i32) -> i32 {
        *term
    }

    pub(super) fn limit(term: &Option<i32>) -> i32 {
        term.unwrap_or_default()
    }

    pub(super) fn flag(term: &bool) -> bool {
        *term
    }
}

/// Applies a request's member of each kind to the plan's term.
mod take {
    use super::{Field, Patch, plain, text_or_none};

    pub(super) fn required(given: Field<String>, member: &mut String) {
        if let Some(given) = given.value() {
            *member = given;
        }
    }

    pub(super) fn text(given: Field<String>, member: &mut Option<String>) {
        *member = text_or_none(given).over(member.as_ref());
    }

    pub(super) fn number(given: Option<i32>, member: &mut i32) {
        *member = given.unwrap_or(*member);
    }

    pub(super) fn limit(given: Field<i32>, member: &mut Option<i32>) {
        let given = plain(given);
        *member = if given == Patch::Set(0) {
            // No limit reads as 0. A stored 0 stays, so that sending it back changes nothing.
            member.filter(|limit| *limit == 0)
        } else {
            given.over(member.as_ref())
        };
    }

    pub(super) fn flag(given: Option<bool>, member: &mut bool) {
        *member = given.unwrap_or(*member);
    }
}

/// Uses the schema of one type for another.
macro_rules! described_by {
    ($request:ty, $schema:ty) => {
        impl utoipa::PartialSchema for $request {
            fn schema() -> RefOr<Schema> {
                <$schema>::schema()
            }
        }

        impl ToSchema for $request {
            fn name() -> Cow<'static, str> {
                <$schema>::name()
            }

            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                <$schema>::schemas(schemas);
            }
        }
    };
}

described_by!(PlanPatch, TermsSchema);
described_by!(NewPlan, NewPlanSchema);
