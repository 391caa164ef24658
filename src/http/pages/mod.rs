//! The web pages: the start page, the reference of the calls, and the notice for blocked users.

pub(super) mod api_docs;
pub(super) mod home;
mod html;
pub mod notice;
mod notice_texts;
mod reference;
