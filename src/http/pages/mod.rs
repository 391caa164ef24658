//! The web pages: the notice for blocked users, and the API documentation.

pub(super) mod api_docs;
pub mod notice;
mod notice_texts;
