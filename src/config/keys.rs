//! The names of the keys.

use figment::value::Value;

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
