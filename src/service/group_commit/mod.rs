//! Group commit: what queued while the previous transaction was under way is committed together.

mod batch;
mod lane;
mod placement;
mod reader;
mod request;
mod writer;

pub(super) use lane::Lane;
pub(super) use placement::Lanes;
pub(super) use reader::{Reader, find_each};
pub(super) use request::{ChangeKind, Request};
pub(super) use writer::Writer;
