//! What a message repeats of a value that is refused.

/// How much of a refused value a message repeats, in characters.
const MAX_QUOTED: usize = 40;

/// A refused value as a message repeats it: in quotes, control characters escaped, and cut after 40
/// characters.
pub(crate) fn quoted(given: &str) -> String {
    let shown: String = given.chars().take(MAX_QUOTED).collect();
    let rest = if shown.len() < given.len() { "..." } else { "" };
    format!("{shown:?}{rest}")
}
