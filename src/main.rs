//! The `steward` program. All code is in the library; `src/lib.rs` has the map.

use std::process::ExitCode;

/// A request makes about two hundred small allocations. With the system allocator they cost a fifth
/// of the request's CPU time.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    steward::cli::run()
}
