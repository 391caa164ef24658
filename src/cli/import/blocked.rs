//! Accounts that are blocked here and not in the file. An import lifts nothing by itself, so it names
//! them; with `--lift` it lifts these blocks once all rows are in. The blocks of owners, such as the
//! reseller's abuse desk, are left alone: nobody but their owner lifts them.

use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use super::columns::Column;
use super::rows::Row;
use crate::domain::{AccountId, Command, Error, HoldKind, Outcome};
use crate::service::{Context, ImportOutcome, OwnBlocks, Service};

/// How many lines are named.
const NAMED: usize = 20;
/// How many blocks are lifted at once: enough to fill batches.
const IN_FLIGHT: usize = 256;

/// The reseller's freezes and suspensions that accounts have and their rows do not.
#[derive(Default)]
pub(super) struct Blocked {
    freezes: Found,
    suspensions: Found,
}

#[derive(Default)]
struct Found {
    /// Whether a row has such a column. If none has, the file says nothing about these blocks.
    is_in_file: bool,
    /// The line and the account.
    places: Vec<(u64, AccountId)>,
}

impl Found {
    fn places(&self) -> &[(u64, AccountId)] {
        if self.is_in_file { &self.places } else { &[] }
    }

    fn text(&self, are: &str) -> Option<String> {
        let places = self.places();
        let named = places.iter().take(NAMED);
        let named = named.map(|(line, id)| format!("account {id} of line {line}"));
        let named: Vec<String> = named.collect();
        let more = if places.len() > NAMED { ", ..." } else { "" };
        (!places.is_empty()).then(|| {
            format!(
                "{are} here and not in the file: {} ({}{more})",
                places.len(),
                named.join(", ")
            )
        })
    }

    fn document(&self) -> Value {
        let one = |(line, id): &(u64, AccountId)| json!({"line": line, "account": id.as_i32()});
        let first: Vec<Value> = self.places().iter().take(NAMED).map(one).collect();
        json!({"count": self.places().len(), "first": first})
    }
}

impl Blocked {
    pub(super) fn see(&mut self, row: &Row, outcome: ImportOutcome) {
        let (id, blocks) = match outcome {
            ImportOutcome::Created(id) => (id, OwnBlocks::default()),
            ImportOutcome::Updated(id, blocks)
            | ImportOutcome::AlreadyThere(id, blocks)
            | ImportOutcome::Skipped(id, blocks) => (id, blocks),
        };
        let has = |is_of: fn(&Column) -> bool| row.cells.iter().any(|(column, _)| is_of(column));
        let place = |is_blocked: bool| is_blocked.then_some((row.line, id));
        self.freezes.is_in_file |= has(Column::is_of_freeze);
        self.freezes.places.extend(place(blocks.freeze));
        self.suspensions.is_in_file |= has(Column::is_of_suspension);
        self.suspensions.places.extend(place(blocks.suspension));
    }

    /// What to tell people about blocks that stay, a line each.
    pub(super) fn texts(&self) -> Vec<String> {
        let freezes = self.freezes.text("frozen");
        let suspensions = self.suspensions.text("suspended");
        let with_way = |text: String| {
            format!("{text}. An import lifts no block, except with --on-existing update --lift")
        };
        let texts = freezes.into_iter().chain(suspensions);
        texts.map(with_way).collect()
    }

    pub(super) fn document(&self) -> Value {
        json!({
            "frozen": self.freezes.document(),
            "suspended": self.suspensions.document(),
        })
    }

    /// How many blocks there are.
    pub(super) fn count(&self) -> usize {
        self.freezes.places().len() + self.suspensions.places().len()
    }

    /// Lifts the blocks. Returns how many it lifted. It is safe to do it again.
    ///
    /// # Errors
    /// The first one, with the account.
    pub(super) async fn lift(&self, service: &Service, context: &Context) -> Result<u64, String> {
        let of = |kind, found: &Found| {
            let ids: Vec<AccountId> = found.places().iter().map(|(_, id)| *id).collect();
            ids.into_iter().map(move |id| (kind, id))
        };
        let freezes = of(HoldKind::Freeze, &self.freezes);
        let all = freezes.chain(of(HoldKind::Suspend, &self.suspensions));
        let lift = async |(kind, id)| {
            let command = Command::Lift {
                kind,
                owner: None,
                only: None,
            };
            let done = service.execute(context, id, command, None).await?.done()?;
            Ok::<_, Error>(done.outcome == Outcome::Applied)
        };
        let mut lifted = 0;
        let mut answers = stream::iter(all)
            .map(|(kind, id)| async move { (id, lift((kind, id)).await) })
            .buffer_unordered(IN_FLIGHT);
        while let Some((id, answer)) = answers.next().await {
            let answer = answer.map_err(|error| format!("account {id}: {error}"));
            lifted += u64::from(answer?);
        }
        Ok(lifted)
    }
}
