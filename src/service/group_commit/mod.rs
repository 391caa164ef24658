//! Group commit: requests that wait at the same time share a transaction.
//!
//! # Lanes
//!
//! A [`Lane`] is a bounded queue. The first request for an idle lane spawns a task that empties it.
//! The task takes all requests that are queued, up to the batch size, and carries them out together.
//! Then it sends each caller its own outcome and takes the requests that were queued meanwhile; when
//! there are none, it ends. Nothing waits for a batch to
//! fill: an idle lane carries out a single request at once. A busy lane carries out many together,
//! which is where the speed comes from: a transaction for a hundred changes costs little more than
//! one for a single change. When the queue is full, the lane refuses further requests as
//! overloaded.
//!
//! Changes of accounts have two lanes, so that one can decide while the database works for the
//! other (`placement.rs`). Look-ups of accounts, of credentials and of stored answers have a lane
//! each, which needs one statement for all keys (`reader.rs`).
//!
//! # How a batch of changes is carried out
//!
//! 1. `batch/load.rs` reads the accounts and the other data that the decisions need.
//! 2. `batch/decide.rs` decides the requests in memory, in the order of their arrival. Each sees
//!    the effect of those before it.
//! 3. `batch/write.rs` writes the results, with one statement for each kind of row.
//! 4. The transaction commits, and each caller gets its outcome. A refused request does not disturb
//!    the others: its refusal is an outcome, and is written to the journal.
//!
//! Accounts are read without a lock. Inside one process no two lanes ever work on the same
//! reseller, so only another replica can change an account between step 1 and step 3. Step 3
//! notices that by the accounts' versions, and the batch is rolled back. Then it is repeated in a
//! transaction, and if that fails too, with the accounts locked: there are up to three attempts.
//!
//! # What happens to a batch that fails
//!
//! - **It fails before its commit**, by a constraint, an error of the database or a panic. It is
//!   rolled back, and its requests are carried out again one by one (`writer.rs`). So only the
//!   request that caused the failure gets the error.
//! - **The database is unavailable.** All requests get [`Error::Unavailable`]. Trying them one by
//!   one would not help.
//! - **The commit is not answered**, or the batch takes longer than the transaction timeout.
//!   Whether it was committed is unknown, so it is never tried again here. All requests get
//!   [`Error::Unavailable`]. A client may repeat its request: with an idempotency key it gets the
//!   stored answer, and without one a command whose effect is there already changes nothing.
//!
//! [`Error::Unavailable`]: crate::domain::Error::Unavailable

mod batch;
mod import_batch;
mod lane;
mod placement;
mod reader;
mod request;
mod writer;

pub use batch::Rehearsed;
pub(super) use batch::{Rehearsal, import};
pub(super) use import_batch::ImportOutcomes;
pub use import_batch::{ImportBatch, ImportOutcome, ImportProblem, OnExisting, OwnBlocks};
pub(super) use lane::Lane;
pub(super) use placement::Lanes;
pub(super) use reader::{find_accounts, find_answers, find_each};
pub(super) use request::{ChangeKind, Request};
pub(super) use writer::Writer;
