//! The documents and requests of plans, generated from the list of a plan's terms.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::dialects::dates;
use crate::dialects::patches::plain;
use crate::domain::{Patch, Plan, PlanTerms, plan_members};
use crate::wire::Field;

/// The type of each kind of member in a request. Every member may be absent.
macro_rules! request_type {
    (required) => { Field<String> };
    (text) => { Field<String> };
    (number) => { Option<i32> };
    (limit) => { Field<i32> };
    (flag) => { Option<bool> };
}

/// The document, the requests and their schemas, with one field for each term of a plan.
macro_rules! members {
    ($($kind:ident $field:ident: $type:ty,)*) => {
        /// A plan: the 40 members of Cryptlex in their order, then ours.
        #[derive(Debug, Clone, Serialize, ToSchema)]
        #[serde(rename_all = "camelCase")]
        #[schema(as = Plan)]
        pub(in crate::dialects::v3) struct PlanDocument {
            #[schema(format = Uuid)]
            id: String,
            $($field: $type,)*
            #[schema(format = DateTime)]
            created_at: String,
            #[schema(format = DateTime)]
            updated_at: String,
        }

        impl PlanDocument {
            pub(in crate::dialects::v3) fn of(plan: &Plan) -> Self {
                Self {
                    id: plan.id.to_string(),
                    $($field: plan.terms.$field.clone(),)*
                    created_at: dates::write(plan.created_at),
                    updated_at: dates::write(plan.updated_at),
                }
            }
        }

        /// A change of a plan's terms. Absent members keep their values. A limit of null means no
        /// limit.
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

/// Applies a request's member of each kind to the plan's term.
mod take {
    use super::{Field, Patch, plain};

    pub(super) fn required(given: Field<String>, member: &mut String) {
        if let Some(given) = given.value() {
            *member = given;
        }
    }

    pub(super) fn text(given: Field<String>, member: &mut Option<String>) {
        *member = plain(given).over(member.as_ref());
    }

    pub(super) fn number(given: Option<i32>, member: &mut i32) {
        *member = given.unwrap_or(*member);
    }

    pub(super) fn limit(given: Field<i32>, member: &mut Option<i32>) {
        let given: Patch<i32> = plain(given);
        *member = given.over(member.as_ref());
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
