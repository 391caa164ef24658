//! Parts of answers that several dialects share: who reads them, and how they show domain values.

use serde::Serialize;
use serde_json::Value;

use crate::domain::{Account, Authority, Block, BlockDetail, Error, Hold, State, Time};
use crate::service::{Context, JournalEntry, Slice};
use crate::wire::{self, Codec, MAX_PAGE};

/// The reader of a document, and the instant for which it is computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Viewer {
    /// The reader's authority. A hold's internal reason is shown only to the authority that placed
    /// it.
    pub(super) authority: Authority,
    /// The instant for which states are computed.
    pub(super) now: Time,
}

impl Viewer {
    /// The caller of a request as the reader.
    pub(super) fn of(context: &Context, now: Time) -> Self {
        Self {
            authority: context.principal.authority(),
            now,
        }
    }
}

/// The words for what blocks an account, the most severe first. Empty if nothing does.
pub(super) fn blocked_by(state: &State) -> Vec<&'static str> {
    words(state.blocked_by())
}

/// The names of an account's holds in force at an instant, in their order: kind, authority and owner.
pub(super) fn held_by(account: &Account, at: Time) -> Vec<String> {
    let in_force = account.holds.iter().filter(|hold| hold.in_force(at));
    let mut names: Vec<String> = in_force.map(Hold::name).collect();
    // A hold that was just placed stands last.
    names.sort_unstable();
    names
}

/// The words for blocks.
pub(super) fn words(blocks: &[Block]) -> Vec<&'static str> {
    blocks.iter().map(|block| block.as_str()).collect()
}

/// Who can lift a block instead of the caller, or what must come first. `message` is the dialect's
/// text for an error.
pub(super) fn needs(
    detail: &BlockDetail,
    obstacle: &Error,
    message: impl FnOnce(&Error) -> String,
) -> String {
    if *obstacle == Error::OperatorRequired {
        let who = match detail.lifted_by.as_slice() {
            [Authority::System] => "the platform's own automation, which placed it",
            [Authority::Reseller] => "a token of the reseller",
            _ => "an operator's token",
        };
        who.to_owned()
    } else if let Error::InsufficientScope(scope) = obstacle {
        format!("a token with the scope {scope}")
    } else if *obstacle == Error::ResellerSuspended {
        "the operator, who must lift the suspension of the reseller first".to_owned()
    } else if *obstacle == Error::AccountDeleted {
        "the account must be restored first".to_owned()
    } else {
        message(obstacle)
    }
}

/// The documents of journal entries that fit on a page inside a larger document, and the number of
/// the entry before which the next page begins. `None` if there is no next page.
pub(super) fn page_of_entries<D: Serialize>(
    entries: Slice<JournalEntry>,
    document: impl Fn(&JournalEntry) -> D,
    format: Codec,
) -> (Vec<D>, Option<i64>) {
    let (mut documents, mut last, mut size) = (Vec::new(), None, 0);
    for entry in entries.rows {
        let document = document(&entry);
        size += wire::encode_row(format, "past", &document).map_or(0, |row| row.len());
        if size > MAX_PAGE && last.is_some() {
            return (documents, last);
        }
        documents.push(document);
        last = Some(entry.id);
    }
    (documents, last.filter(|_| entries.has_more))
}

/// The facts of a journal entry, with names that fit the format. In XML the colon in the names of
/// holds (`freeze:reseller`) becomes a full stop, because a colon would separate a namespace.
pub(super) fn facts_in(format: Codec, facts: Value) -> Value {
    match (format, facts) {
        (Codec::Xml, Value::Object(members)) => {
            let renamed = members.into_iter();
            Value::Object(
                renamed
                    .map(|(name, value)| (name.replace(':', "."), value))
                    .collect(),
            )
        }
        (_, facts) => facts,
    }
}
