//! Plans.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::dialects::dates;
use crate::dialects::patches::{Reading, plain, text};
use crate::domain::{Patch, Plan, PlanTerms, plan_members};
use crate::wire::Field;

/// The type of a member in a request, where every one may be left out.
macro_rules! asked_type {
    (required) => { Option<String> };
    (text) => { Field<String> };
    (number) => { Option<i32> };
    (limit) => { Field<i32> };
    (flag) => { Option<bool> };
}

/// How a member's kind is shown in the description.
macro_rules! members {
    ($($kind:ident $field:ident: $type:ty,)*) => {
        /// A plan: the 40 members of the original, in its order, then ours.
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

        /// What a plan grants and limits; a member that is left out stays as it is, a limit that is null is no limit.
        #[derive(Debug, Default, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub(super) struct Terms {
            $(#[serde(default)] $field: asked_type!($kind),)*
        }

        impl Terms {
            pub(super) fn over(self, terms: &mut PlanTerms, read: Reading) {
                $(take::$kind(self.$field, &mut terms.$field, read);)*
            }
        }

        /// What a plan grants and limits, as a description: the types above tell absent from null, which a schema cannot.
        #[derive(ToSchema)]
        #[expect(dead_code, reason = "describes; is never made")]
        #[schema(as = PlanTerms, rename_all = "camelCase")]
        pub(in crate::dialects::v3) struct TermsSchema {
            $(#[schema(required = false)] $field: $type,)*
        }
    };
}

plan_members!(members);

/// How a member of each kind takes over what a request says.
mod take {
    use super::{Field, Patch, Reading, plain, text as text_of};

    pub(in crate::dialects::v3) fn required(
        asked: Option<String>,
        member: &mut String,
        _: Reading,
    ) {
        if let Some(asked) = asked {
            *member = asked;
        }
    }

    pub(in crate::dialects::v3) fn text(
        asked: Field<String>,
        member: &mut Option<String>,
        read: Reading,
    ) {
        *member = text_of(asked, read).over(member.as_ref());
    }

    pub(in crate::dialects::v3) fn number(asked: Option<i32>, member: &mut i32, _: Reading) {
        *member = asked.unwrap_or(*member);
    }

    pub(in crate::dialects::v3) fn limit(asked: Field<i32>, member: &mut Option<i32>, _: Reading) {
        let asked: Patch<i32> = plain(asked);
        *member = asked.over(member.as_ref());
    }

    pub(in crate::dialects::v3) fn flag(asked: Option<bool>, member: &mut bool, _: Reading) {
        *member = asked.unwrap_or(*member);
    }
}
