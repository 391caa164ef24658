//! What every target holds the code to: no panic, no more than 50 ms of processor time, no more
//! than 16 MiB.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Once;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The most that one input may take of the processor.
const MOST_TIME: Duration = Duration::from_millis(50);
/// The most memory that one input may hold at a time, in bytes.
const MOST_MEMORY: isize = 16 * 1024 * 1024;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

fn count(bytes: isize) {
    // Where a thread ends there is nothing left to count with.
    let _ended = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        MOST.with(|most| most.set(most.get().max(held.get())));
    });
}

fn size(layout: Layout) -> isize {
    isize::try_from(layout.size()).unwrap_or(isize::MAX)
}

// SAFETY: every call is handed on as it is to the system's allocator.
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

/// Runs one input within the limits. What is made once and kept, such as tables, is made before the
/// first is measured.
pub fn bounded(input: impl Fn()) {
    static WARM: Once = Once::new();
    WARM.call_once(&input);
    let (held, started) = (HELD.get(), processor_time());
    MOST.set(held);
    input();
    let (took, most) = (processor_time() - started, MOST.get() - held);
    assert!(took <= MOST_TIME, "it took {took:?}");
    assert!(most <= MOST_MEMORY, "it held {most} bytes");
}

/// The input as text, which is what headers and members are by then.
pub fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}
