//! CPU and memory use of processes, and the machine's hardware, from `/proc`.

use std::collections::HashMap;
use std::fs;

/// Clock ticks per second in `/proc` on Linux.
const TICKS: f64 = 100.0;

/// CPU seconds used by a process and its descendants, including those that have ended.
pub fn cpu_of_tree(root: u32) -> f64 {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut used: HashMap<u32, f64> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Some((parent, seconds)) = stat(pid) else {
            continue;
        };
        children.entry(parent).or_default().push(pid);
        used.insert(pid, seconds);
    }
    let (mut waiting, mut total) = (vec![root], 0.0);
    while let Some(pid) = waiting.pop() {
        total += used.get(&pid).copied().unwrap_or_default();
        waiting.extend(children.get(&pid).into_iter().flatten());
    }
    total
}

/// The parent of a process, and the CPU seconds used by it and by its ended children.
fn stat(pid: u32) -> Option<(u32, f64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may contain anything, even parentheses.
    let mut fields = text.get(text.rfind(')')? + 2..)?.split(' ');
    let parent = fields.nth(1)?.parse().ok()?;
    let ticks: f64 = fields
        .skip(9)
        .take(4)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    Some((parent, ticks / TICKS))
}

/// The resident memory of a process in MiB: now and at its peak.
pub fn memory(pid: u32) -> (f64, f64) {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    (
        value("VmRSS:").unwrap_or_default() / 1024.0,
        value("VmHWM:").unwrap_or_default() / 1024.0,
    )
}

/// The machine's CPU and memory, for the heading of the report.
pub fn shape() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: f64 = info
        .lines()
        .next()
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|field| field.parse().ok())
        .unwrap_or_default();
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown CPU", |(_, name)| name);
    format!("{cores} cores ({name}), {:.0} GiB", kib / 1_048_576.0)
}
