//! Steward: a self-hosted, multi-tenant admin service for account lifecycles.
//!
//! # The map
//!
//! ```text
//! main.rs  cli/        start here: commands, help, output
//! app                  composition root: configuration -> database -> service -> router -> jobs; graceful stop
//! config  telemetry    the configuration with its defaults; the log
//!
//! domain/              WHAT IS TRUE          pure: facts, commands, decisions, the computed state
//! service/             WHAT HAPPENS          one use case = one transaction; the lanes
//! store/               WHAT IS KEPT          the only SQL; row level security; the embedded PostgreSQL
//! webhooks/            WHAT IS TOLD          the journal as signed HTTP requests
//! jobs/                WHAT TIME DOES        announcements, the purge as planned, what need not be kept for ever
//! jwt/                 HOW A TOKEN IS PROVED JSON Web Tokens: ours, and those of trusted issuers
//! wire/                HOW BYTES LOOK        media types, JSON and XML codecs, limits; no business words
//! dialects/            HOW EACH API SPEAKS   admin/ soap/ v3/ : requests, replies, code tables, routes; notice/ : the user's page
//! http/                HOW IT ARRIVES        the router and what frames every request; management listener
//! hash  metrics        SHA-256; what is counted, for Prometheus
//! ```
//!
//! # The one-way road
//!
//! ```text
//! bytes -> http -> wire (syntax, limits) -> dialects: request -> Command + credential
//!       -> service (authenticate, authorize, decide in domain, write in store) -> outcome | Error
//!       -> dialects: reply -> bytes
//! ```
//!
//! What each room may use, and what it must never mention, is held by a test (`tests/it/layers.rs`).
//!
//! # The decisions that everything follows
//!
//! - **Facts are stored, the state is computed.** An account keeps a switch, an expiry date, a deletion and holds;
//!   [`domain::Account::state`] is the one function from these and the time to the state. So unfreezing cannot lift
//!   a suspension, and no state waits for a job.
//! - **One pure decision.** [`domain::Account::decide`] says the new facts, the events and whether anything changed.
//!   That a repeat changes nothing falls out of comparing facts.
//! - **One door.** Every change of every dialect goes through [`service::Service::execute`] and a lane, which
//!   commits what is waiting together. Database work never runs inside a request's own future: a client that hangs
//!   up would leave its transaction open for the next one.
//! - **One journal.** What was asked of an account is one append-only row, written with its change: audit log,
//!   history and outbox at once. An account's version is the sequence of its latest event.
//! - **Tenancy in the database.** The reseller comes from the credential. A [`store::Tx`] is begun for somebody;
//!   row level security is forced on every tenant table, for a role that owns nothing.
//! - **One error enum**, [`domain::Error`], and one exhaustive table per dialect from it to the dialect's own words.

pub mod app;
pub mod cli;
pub mod config;
pub mod dialects;
pub mod domain;
pub mod hash;
pub mod http;
pub mod jobs;
pub mod jwt;
pub mod metrics;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod webhooks;
pub mod wire;
