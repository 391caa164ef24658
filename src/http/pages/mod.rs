//! The pages for people: the notice that a blocked user sees, and the documentation of the API.

pub(super) mod api_docs;
pub mod notice;
mod notice_texts;
