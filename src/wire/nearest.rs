//! The name that a caller may have meant by a wrong one.

/// The name among `known` that is nearest to `given`. `None` if none is near enough to be what the
/// caller meant. Names that differ only in case, hyphens and underscores are the nearest, so
/// `expires_at` finds `expiresAt`. If none is near, the only name that begins with `given` is it, so
/// `op` finds `operation`.
#[must_use]
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = plain(given);
    // A long name costs time quadratic in its length, and is no misspelling.
    if given.len() > MAX_NAME {
        return None;
    }
    let distance = |name: &str| strsim::damerau_levenshtein(&given, &plain(name));
    let longest = |name: &str| given.chars().count().max(name.chars().count());
    let known: Vec<&str> = known.into_iter().collect();
    let near = known
        .iter()
        .map(|name| (distance(name), *name))
        .filter(|(distance, name)| distance * 3 <= longest(name))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name);
    near.or_else(|| begun(&given, &known))
}

/// The only name that begins with a text of at least two letters.
fn begun<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let mut longer = known.iter().filter(|name| plain(name).starts_with(given));
    let only = longer.next().filter(|_| given.chars().count() > 1);
    only.filter(|_| longer.next().is_none()).copied()
}

/// The longest name for which the nearest is sought, in bytes.
const MAX_NAME: usize = 64;

fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| !matches!(c, '_' | '-'));
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelling_finds_its_name_and_another_word_none() {
        let known = [
            "state",
            "heldBy",
            "expiresBefore",
            "expiresAfter",
            "q",
            "all",
        ];
        for (given, expected) in [
            ("stat", Some("state")),
            ("held_by", Some("heldBy")),
            ("expires-before", Some("expiresBefore")),
            ("EXPIRESAFTER", Some("expiresAfter")),
            ("al", Some("all")),
            ("exp", None),
            ("hel", Some("heldBy")),
            ("company", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, known), expected, "{given}");
        }
        assert_eq!(nearest(&"state".repeat(1_000), known), None);
    }
}
