//! Reads the merged sources into [`Config`], and names every mistake, not only the first.

use figment::Figment;
use figment::error::{Actual, Kind};
use figment::value::{Dict, Value};

use super::keys::leaves;
use super::show::{is_masked, origin, shown};
use super::{Config, Problem, SECRET, URLS, environment};
use crate::wire::nearest;

/// More mistakes than this are not looked for.
const MOST: usize = 100;

/// The configuration, and the keys whose values are masks.
///
/// Each value that cannot be read is noted and replaced by its default, until the rest can be read.
/// Then the values are checked.
///
/// # Errors
/// [`Problem`] with a line for each mistake.
pub(super) fn read(figment: &Figment, defaults: &Value) -> Result<(Config, Vec<String>), Problem> {
    let mut root = figment
        .find_value("")
        .map_err(|error| Problem(without_quotes(&error.to_string())))?;
    let masked = masked(&root);
    let mut mistakes = Vec::new();
    while mistakes.len() < MOST {
        let error = match root.deserialize::<Config>() {
            Ok(config) => {
                let wrong = config.mistakes(&masked).into_iter();
                mistakes.extend(wrong.map(|mistake| with_source(&mistake, figment)));
                return match mistakes.as_slice() {
                    [] => Ok((config, masked)),
                    _ => Err(Problem(mistakes.join("\n"))),
                };
            }
            Err(error) => error,
        };
        let key = key_of(&error);
        mistakes.push(explain(&error, &key, figment, &root, defaults));
        let path: Vec<&str> = key.split('.').collect();
        if let Value::Dict(_, dict) = &mut root {
            put(dict, &path, defaults.find_ref(&key));
        }
    }
    Err(Problem(mistakes.join("\n")))
}

/// The keys whose values are masks.
fn masked(root: &Value) -> Vec<String> {
    let mut keys = Vec::new();
    for (section, values) in root.as_dict().into_iter().flatten() {
        for (key, value) in values.as_dict().into_iter().flatten() {
            if is_masked(value) {
                keys.push(format!("{section}.{key}"));
            }
        }
    }
    keys
}

/// Replaces the value at a path, or removes it.
fn put(dict: &mut Dict, path: &[&str], value: Option<&Value>) {
    match (path, value) {
        ([], _) => {}
        ([last], None) => drop(dict.remove(*last)),
        ([last], Some(value)) => drop(dict.insert((*last).to_owned(), value.clone())),
        ([first, rest @ ..], value) => {
            if let Some(Value::Dict(_, inner)) = dict.get_mut(*first) {
                put(inner, rest, value);
            }
        }
    }
}

/// The full name of the key that an error is about.
fn key_of(error: &figment::Error) -> String {
    let mut path = error.path.clone();
    if let Kind::UnknownField(key, _) = &error.kind
        && path.last() != Some(key)
    {
        path.push(key.clone());
    }
    // A list has one value for its key: the element's number is left out.
    let is_number = |part: &str| part.parse::<usize>().is_ok();
    let path: Vec<_> = path
        .into_iter()
        .take_while(|part| !is_number(part))
        .collect();
    path.join(".")
}

/// One mistake, in one line.
fn explain(
    error: &figment::Error,
    key: &str,
    figment: &Figment,
    root: &Value,
    defaults: &Value,
) -> String {
    let from = source(figment, key);
    if let Kind::UnknownField(field, known) = &error.kind {
        let section = key.strip_suffix(field.as_str()).unwrap_or_default();
        let near = nearest(field, known.iter().copied()).map(|near| format!("{section}{near}"));
        // The right key in the wrong section.
        let near = near.or_else(|| {
            let keys = leaves(defaults);
            let same = keys.iter().find(|known| {
                let (_, name) = known.split_once('.').unwrap_or_default();
                name == field
            });
            same.map(String::as_str)
                .or_else(|| nearest(key, keys.iter().map(String::as_str)))
                .map(str::to_owned)
        });
        let hint = near.map_or_else(
            || format!("; accepted are {}", known.join(", ")),
            |near| format!("; did you mean {near}?"),
        );
        return format!("unknown key {key}{from}{hint}");
    }
    let (is_secret, value) = (
        SECRET.contains(&key) || URLS.contains(&key),
        root.find_ref(key),
    );
    // The error of a value of the wrong type quotes the value.
    if is_secret {
        return format!(
            "{key}: must be a text{from}; a text that looks like a number or a list needs double \
             quotes, in the environment too"
        );
    }
    // The parser of variables reads numbers and lists, and would repeat them otherwise.
    let written = || {
        let metadata = figment.find_metadata(key)?;
        let is_variable = metadata.name.contains("environment");
        let text = is_variable.then(|| environment::written(key))??;
        Some(shown(&Value::from(text)))
    };
    let given = written().or_else(|| value.map(shown));
    let given = given.unwrap_or_else(|| "nothing".to_owned());
    match wanted(key, &error.kind) {
        Some(wanted) => format!("{key}: must be {wanted}, not {given}{from}"),
        None => format!("{key}: {}{from}", without_quotes(&error.kind.to_string())),
    }
}

/// Where the value of a key comes from, in parentheses. Empty if it is the default.
fn source(figment: &Figment, key: &str) -> String {
    figment
        .find_metadata(key)
        .map(|metadata| origin(metadata, key))
        .filter(|origin| origin != "default")
        .map_or_else(String::new, |origin| format!(" (from {origin})"))
}

/// A mistake that begins with its key, with the source of the value.
fn with_source(mistake: &str, figment: &Figment) -> String {
    let key = mistake.split(':').next().unwrap_or_default();
    format!("{mistake}{}", source(figment, key))
}

/// What a key accepts, with an example. `None` if the error alone does not show it.
fn wanted(key: &str, kind: &Kind) -> Option<String> {
    if let Kind::UnknownVariant(_, accepted) = kind {
        return Some(accepted.join(" or "));
    }
    let text = if let Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) = kind {
        expected.as_str()
    } else {
        ""
    };
    let wanted = match text {
        _ if key.ends_with("listen") => {
            "an IP address and a port such as \"127.0.0.1:8080\" or \"[::]:8080\""
        }
        _ if key == "server.trusted_proxies" || key == "webhooks.allowed_networks" => {
            "a list of networks such as [\"10.0.0.0/8\"]"
        }
        _ if key == "server.cors_origins" => {
            "a list of origins such as [\"https://panel.example.com\"]"
        }
        _ if key == "webhooks.retry_seconds" => "a list of numbers such as [5, 300]",
        _ if key == "environment" => "development or production",
        _ if key == "commit.scope" => "all or reseller",
        _ if key == "log.format" => "auto or pretty or json",
        "a boolean" => "true or false",
        "a string" | "path string" => "a text in double quotes",
        "f64" => "a number",
        "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        _ if text.starts_with("struct ") => "a section",
        _ if matches!(kind, Kind::InvalidType(Actual::Map, _)) => "a single value",
        _ => return None,
    };
    Some(wanted.to_owned())
}

/// The message of a parser without the lines of the file that it quotes, which may have a secret.
pub(super) fn without_quotes(message: &str) -> String {
    let is_quote = |line: &&str| {
        let text = line
            .trim_start()
            .trim_start_matches(|c: char| c.is_ascii_digit());
        text.trim_start().starts_with('|')
    };
    let lines: Vec<&str> = message
        .lines()
        .filter(|line| !is_quote(line) && !line.trim().is_empty())
        .collect();
    lines.join("; ")
}
