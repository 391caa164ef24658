//! The `steward` program. Everything is in the library; see `src/lib.rs` for the map.

use std::process::ExitCode;

/// A request makes some two hundred small allocations; with the system's allocator they are a fifth of its cost.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    steward::cli::run()
}
