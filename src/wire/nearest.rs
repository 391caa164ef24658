//! The name that a caller may have meant by a wrong one.

/// The name among `known` that is nearest to `given`. `None` if none is near enough to be what the
/// caller meant. Names that differ only in case, hyphens and underscores are the nearest, so
/// `expires_at` finds `expiresAt`.
#[must_use]
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = plain(given);
    // A long name costs time quadratic in its length, and is no misspelling.
    if given.len() > MAX_NAME {
        return None;
    }
    let distance = |name: &str| strsim::damerau_levenshtein(&given, &plain(name));
    let longest = |name: &str| given.chars().count().max(name.chars().count());
    known
        .into_iter()
        .map(|name| (distance(name), name))
        .filter(|(distance, name)| distance * 3 <= longest(name))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
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
            ("company", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, known), expected, "{given}");
        }
        assert_eq!(nearest(&"state".repeat(1_000), known), None);
    }
}
