//! Steward: a self-hosted, multi-tenant admin service for account lifecycles.
//!
//! # The map
//!
//! ```text
//! main.rs  cli/        start here: commands, help texts, output
//!   doctor/            checks of the configuration, the database, webhooks and tenant isolation
//! app                  builds the service from the configuration, serves, and stops gracefully
//! config/              configuration: defaults, file, environment; the settings of each room
//! telemetry            log and traces
//! metrics              counters and gauges for Prometheus
//! files                writes small files whole, without following links
//! hash                 SHA-256
//! shares               fair shares of what is scarce, among resellers and addresses
//!
//! domain/              Rules: facts, commands, decisions, the computed state; pure, no I/O
//! service/             Use cases; most run in one transaction
//!   group_commit/      queues changes, decides them in memory, commits them together
//!   credentials/       tokens, and the cache of checked credentials
//!   webhooks/          endpoints and the delivery log
//! store/               Database: the only SQL, with row level security
//!   accounts/          reads, writes, lists, search, past states, purge
//!   webhooks/          endpoints, pending deliveries, attempts
//!   backup/            all rows in one file, and a database made from it
//!   checks/            checks of the database at start-up and for `steward doctor`
//!   embedded/          finds or downloads PostgreSQL, and runs a private cluster
//! webhooks/            Webhooks: journal entries delivered as signed HTTP requests
//! jobs/                Background jobs: work that no request triggers
//! jwt/                 JSON Web Tokens: our own, and those of trusted issuers
//! wire/                Encodings: media types, JSON, XML and SOAP, size limits; no business terms
//! dialects/            APIs: requests, responses, routes and error codes of each API
//!   admin/             JSON and XML over POST, modelled on Altcraft
//!   soap/              SOAP 1.1 and 1.2, modelled on Zoolz
//!   v3/                REST, modelled on Cryptlex; accounts/ and plans/ are its largest resources
//! http/                Server: listener, router, middleware, management endpoints
//!   pages/             web pages: the notice for blocked users, the API documentation
//! ```
//!
//! # The one-way road
//!
//! ```text
//! bytes -> http -> wire (syntax, limits) -> dialects (request -> command + credential)
//!       -> service (authenticate, authorize, decide in domain, write in store) -> outcome or error
//!       -> dialects (response) -> bytes
//! later: journal -> webhooks -> receiver
//! ```
//!
//! Imports point one way: `http` -> `dialects` -> `service` -> `store` -> `domain`. The test
//! `tests/it/layers.rs` checks which rooms and which libraries each room may use.
//!
//! # The decisions that shape the code
//!
//! - **Facts are stored, the state is computed.** An account stores a switch, an expiry date, a
//!   deletion date and holds. [`domain::Account::state`] computes the state from them and the
//!   current time. So unfreezing cannot lift a suspension, and no change of state waits for a job.
//! - **Decisions are pure.** [`domain::Account::decide`] returns the new facts, the events and
//!   whether anything changed. It compares old and new facts, so repeating a command changes
//!   nothing.
//! - **One entry for writes.** Every change of an account goes through `Service::change` in
//!   `service/accounts/change.rs`. It queues the change in a lane, and the lane commits all queued
//!   changes in one transaction (group commit).
//! - **No database work inside a request's future.** When a client disconnects, that future is
//!   dropped. A transaction inside it would stay open on the pooled connection, and the next
//!   request would continue it. So database work runs in a lane or in a task of its own.
//! - **One journal.** Each command on an account adds one row, in the transaction of the change.
//!   The journal is the audit log, the account history and the webhook outbox. An account's version
//!   is the sequence number of its latest event.
//! - **Tenancy in the database.** The credential determines the reseller. A [`store::Tx`] is scoped
//!   to resellers, and row level security enforces the scope on every tenant table. The service's
//!   database role neither owns the tables nor has BYPASSRLS, so the policies always apply to it.
//! - **One error type.** [`domain::Error`] lists every failure that a client can distinguish. Each
//!   API maps it to its own codes in one exhaustive table (`codes.rs`), so the compiler finds every
//!   table that misses a new variant.

pub mod app;
pub mod cli;
pub mod config;
pub mod dialects;
pub mod domain;
pub mod files;
pub mod hash;
pub mod http;
pub mod jobs;
pub mod jwt;
pub mod metrics;
pub mod secret_url;
pub mod service;
pub mod shares;
pub mod store;
pub mod telemetry;
pub mod webhooks;
pub mod wire;
