//! The environment variables of the configuration: `STEWARD_<SECTION>__<KEY>`,
//! `STEWARD_ENVIRONMENT`, `DATABASE_URL` and `OTEL_EXPORTER_OTLP_ENDPOINT`.

use std::env;

use figment::Figment;
use figment::providers::Env;
use figment::value::Value;

use super::keys::leaves;
use crate::wire::nearest;

/// The prefix of environment variables.
const PREFIX: &str = "STEWARD_";
/// Variables with the prefix that are not keys of the configuration: the file, and what
/// `steward demo --print-env` sets.
const OTHERS: [&str; 2] = ["STEWARD_CONFIG", "STEWARD_URL"];
/// The key that is in no section.
const TOP_LEVEL: &str = "STEWARD_ENVIRONMENT";

/// Merges the variables into the configuration.
///
/// A name with the prefix but without `__` is nobody's key. It is left out here, and
/// [`warning`] names it: Kubernetes sets `STEWARD_PORT=tcp://...` and six more beside a Service
/// that is named steward.
pub(super) fn merge(figment: Figment) -> Figment {
    let database_url = Env::raw()
        .only(&["DATABASE_URL"])
        .map(|_| "database.url".into())
        .filter(|_| env::var_os("DATABASE_URL").is_some_and(|url| !url.is_empty()));
    // The standard variable of OpenTelemetry.
    let collector = Env::raw()
        .only(&["OTEL_EXPORTER_OTLP_ENDPOINT"])
        .map(|_| "traces.endpoint".into());
    let own = Env::prefixed(PREFIX)
        .filter(|name| is_key(name.as_str()))
        .split("__");
    figment
        .merge(database_url.lowercase(false))
        .merge(collector.lowercase(false))
        .merge(own)
}

/// Whether the rest of a name behind the prefix is a key: a section and a key, or the one key that
/// is in no section.
fn is_key(rest: &str) -> bool {
    rest.contains("__") || is(rest, TOP_LEVEL.strip_prefix(PREFIX).unwrap_or_default())
}

fn is(name: &str, other: &str) -> bool {
    name.eq_ignore_ascii_case(other)
}

/// A warning that names the variables with the prefix that are not read. `None` means that there
/// are none.
pub(super) fn warning(defaults: &Value) -> Option<String> {
    let known: Vec<String> = leaves(defaults).iter().map(|key| variable(key)).collect();
    let mut unread: Vec<String> = env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| {
            let rest = name
                .get(..PREFIX.len())
                .filter(|start| is(start, PREFIX))
                .and_then(|_| name.get(PREFIX.len()..));
            rest.is_some_and(|rest| !is_key(rest)) && !OTHERS.iter().any(|other| is(name, other))
        })
        .collect();
    unread.sort();
    let named: Vec<String> = unread
        .iter()
        .map(|name| match meant(name, &known) {
            Some(meant) => format!("{name} (did you mean {meant}?)"),
            None => name.clone(),
        })
        .collect();
    (!named.is_empty()).then(|| {
        format!(
            "environment variables that are not read: {}. A key of the configuration is \
             {PREFIX}<SECTION>__<KEY>, with two underscores, such as {PREFIX}SERVER__LISTEN",
            named.join(", ")
        )
    })
}

/// The key that a name without `__` may stand for: the same with two underscores, or one that is
/// spelled nearly the same.
fn meant<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    // The prefix is the same in all names, and would make any two of them similar.
    let folded = |name: &str| {
        let upper = name.to_ascii_uppercase().replace("__", "_");
        upper.strip_prefix(PREFIX).map(str::to_owned)
    };
    let wanted = folded(name)?;
    let keys = || known.iter().filter_map(|key| Some((folded(key)?, key)));
    if let Some((_, same)) = keys().find(|(key, _)| *key == wanted) {
        return Some(same);
    }
    if is_of_kubernetes(&wanted) {
        return None;
    }
    let folded: Vec<_> = keys().collect();
    let near = nearest(&wanted, folded.iter().map(|(key, _)| key.as_str()))?;
    let (_, key) = folded.iter().find(|(key, _)| key == near)?;
    Some(key)
}

/// Whether a name is one that Kubernetes sets beside a Service whose name begins with `steward`:
/// `<SERVICE>_SERVICE_HOST`, `<SERVICE>_SERVICE_PORT` and `<SERVICE>_PORT`, and more for each port.
/// No key of the configuration has such a name.
fn is_of_kubernetes(rest: &str) -> bool {
    let name = format!("_{rest}_");
    name.contains("_PORT_") || name.ends_with("_SERVICE_HOST_")
}

/// The environment variable of a key.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

/// The value of the variable that sets a key, as it was written. `None` means that none does.
pub(super) fn written(key: &str) -> Option<String> {
    let name = source_of(key)?;
    let mut set = env::vars_os();
    let (_, value) = set.find(|(set, _)| set.to_str().is_some_and(|it| is(it, &name)))?;
    value.into_string().ok()
}

/// The variable that sets a key. `None` means that none does.
pub(super) fn source_of(key: &str) -> Option<String> {
    let own = variable(key);
    let set =
        |name: &str| env::vars_os().any(|(set, _)| set.to_str().is_some_and(|it| is(it, name)));
    if set(&own) {
        return Some(own);
    }
    match key {
        "database.url" => Some("DATABASE_URL".to_owned()),
        "traces.endpoint" => Some("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned()),
        // An unknown section: the path ends there, and the variable goes on.
        _ => env::vars_os()
            .filter_map(|(name, _)| name.into_string().ok())
            .find(|name| name.to_ascii_uppercase().starts_with(&format!("{own}__"))),
    }
}
