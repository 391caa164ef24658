# `just` lists the recipes. CONTRIBUTING.md describes the lanes.

_list:
  @just --list --unsorted

# Start the service with two resellers and twelve accounts to try things on
demo:
  cargo run --release --locked -- demo

# Format the code
fmt:
  cargo fmt

# Run all lanes, or those that are named: just ci lint test
ci *lanes:
  .ci/run {{lanes}}

# Check format, lints, documentation, queries, scripts and dependencies
lint:
  .ci/lint

# Run all Rust tests, or those whose names contain a text: just test webhooks
test *names:
  cargo test --locked {{names}}

# Run clients of other languages against the service
interop:
  .ci/interop

# Break the database, the service, the disk and the clock under load
faults:
  .ci/faults

# Break the source in one place after the other, and see that a test fails
mutants *names:
  tests/mutants/run {{names}}

# Run this build and the one before it on the same database
upgrade:
  .ci/upgrade

# Break a Patroni cluster under load
ha:
  .ci/ha

# Fuzz every target for so many seconds
fuzz seconds="20":
  .ci/fuzz {{seconds}}

# Check the documents and write docs/configuration.md anew from config/default.toml
docs:
  UPDATE_DOCS=1 cargo test --locked --test it documents

# Build the documentation of the source
rustdoc:
  RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --open

# Describe the SQL statements anew after a change of a statement or a migration
queries:
  .ci/prepare-queries

# Measure writes, reads and lists beside pgbench
bench *arguments="--rounds 3 --seconds 3":
  cargo bench --bench speed -- {{arguments}}

# Measure what one reseller can do to another
neighbours *arguments="--markdown":
  cargo bench --bench neighbours -- {{arguments}}

# Build what is released
release folder="dist":
  packaging/release {{folder}}
