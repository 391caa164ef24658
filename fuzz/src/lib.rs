//! The limits of every target: no panic, at most 50 ms of processor time and 16 MiB of memory for
//! one input.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Once;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The processor time that one input may take.
const MAX_TIME: Duration = Duration::from_millis(50);
/// The memory that one input may hold at a time, in bytes.
const MAX_MEMORY: isize = 16 * 1024 * 1024;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MAX: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

fn count(bytes: isize) {
    // A thread that ends has dropped its counters.
    let _ended = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        MAX.with(|max| max.set(max.get().max(held.get())));
    });
}

fn size(layout: Layout) -> isize {
    isize::try_from(layout.size()).unwrap_or(isize::MAX)
}

// SAFETY: every call goes to the system's allocator with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(size(layout));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-size(layout));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .expect("every system has this clock")
        .into()
}

/// Runs one input within the limits. The first input runs once before it is measured, so that lazy
/// statics do not count.
pub fn bounded(input: impl Fn()) {
    static WARM: Once = Once::new();
    WARM.call_once(&input);
    let (held, started) = (HELD.get(), processor_time());
    MAX.set(held);
    input();
    let (took, max) = (processor_time() - started, MAX.get() - held);
    assert!(took <= MAX_TIME, "it took {took:?}");
    assert!(max <= MAX_MEMORY, "it held {max} bytes");
}

/// The input as text, since headers and members are texts.
pub fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}
