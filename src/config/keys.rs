//! The names of the keys.

use figment::value::Value;

/// How alike a suggestion must be to what was written, from 0 to 1 by Jaro and Winkler. Less alike
/// words are no slips of the keyboard.
const ALIKE: f64 = 0.7;

/// Keys without a default, which `config/default.toml` has in comments.
const WITHOUT_DEFAULT: [&str; 11] = [
    "server.public_url",
    "database.url",
    "database.data_dir",
    "database.pg_bin_dir",
    "jwt.issuer",
    "jwt.audience",
    "jwt.secret",
    "jwt.public_key_file",
    "jwt.jwks_file",
    "jwt.jwks_url",
    "traces.endpoint",
];

/// The full name of every key.
pub(super) fn leaves(defaults: &Value) -> Vec<String> {
    let mut keys: Vec<String> = WITHOUT_DEFAULT.map(str::to_owned).to_vec();
    for (name, value) in defaults.as_dict().into_iter().flatten() {
        match value.as_dict() {
            None => keys.push(name.clone()),
            Some(section) => keys.extend(section.keys().map(|key| format!("{name}.{key}"))),
        }
    }
    keys
}

/// The candidate that is most like a word. `None` if none is alike.
pub(super) fn nearest<'a, T: AsRef<str>>(word: &str, candidates: &'a [T]) -> Option<&'a T> {
    let likeness = |candidate: &T| {
        let (word, candidate) = (word.to_lowercase(), candidate.as_ref().to_lowercase());
        strsim::jaro_winkler(&word, &candidate)
    };
    candidates
        .iter()
        .map(|candidate| (likeness(candidate), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}
