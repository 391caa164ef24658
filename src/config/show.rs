//! Writes the configuration as a file that can be read again.

use std::fmt::Write as _;

use figment::value::{Dict, Value};

use super::{Loaded, SECRET, environment};
use crate::secret_url::{MASK, mask};

impl Loaded {
    /// Formats every key with its value and the source of that value, as a configuration file.
    /// Secrets are masked. `config check` reads the file, and names the masks; a service refuses
    /// to start with one.
    #[must_use]
    pub fn show(&self) -> String {
        let mut text = String::new();
        let Ok(all) = self.figment.extract::<Dict>() else {
            return text;
        };
        let (tables, plain): (Vec<_>, Vec<_>) =
            all.iter().partition(|(_, value)| value.as_dict().is_some());
        for (key, value) in plain {
            self.show_key(&mut text, key, key, value);
        }
        for (section, values) in tables {
            // Writing to a String never fails.
            let _written = writeln!(text, "\n[{section}]");
            let mut lacks_folder = section == "database" && self.config.database.data_dir.is_none();
            for (key, value) in values.as_dict().into_iter().flatten() {
                if lacks_folder && key.as_str() > "data_dir" {
                    self.show_data_dir(&mut text);
                    lacks_folder = false;
                }
                self.show_key(&mut text, &format!("{section}.{key}"), key, value);
            }
        }
        text
    }

    /// The folder of the embedded database, if no key names it. Its default is not among the
    /// defaults, because it depends on the user.
    fn show_data_dir(&self, text: &mut String) {
        if let Ok(folder) = self.config.data_dir() {
            let folder = quoted(&folder.display().to_string());
            let _written = writeln!(text, "data_dir = {folder}  # default of this user");
        }
    }

    fn show_key(&self, text: &mut String, path: &str, key: &str, value: &Value) {
        let shown = if SECRET.contains(&path) {
            format!("\"{MASK}\"")
        } else {
            shown(value)
        };
        let origin = self
            .figment
            .find_metadata(path)
            .map_or_else(|| "default".to_owned(), |metadata| origin(metadata, path));
        let masked = if shown.contains(MASK) { ", masked" } else { "" };
        let origin = origin.replace(char::is_control, "?");
        let _written = writeln!(text, "{key} = {shown}  # {origin}{masked}");
    }
}

/// A value as in a configuration file. Every URL is masked, whatever its key is.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(_, text) if text.contains("://") => quoted(&mask(text)),
        Value::String(_, text) => quoted(text),
        Value::Char(_, char) => quoted(&char.to_string()),
        Value::Bool(_, value) => value.to_string(),
        Value::Num(_, value) => {
            let signed = value.to_i128().map(|value| value.to_string());
            let whole = signed.or_else(|| Some(value.to_u128()?.to_string()));
            whole.unwrap_or_else(|| format!("{:?}", value.to_f64().unwrap_or_default()))
        }
        Value::Array(_, values) => {
            let values: Vec<String> = values.iter().map(shown).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Dict(_, values) => {
            let pairs = values.iter();
            let pairs: Vec<String> = pairs
                .map(|(key, value)| format!("{} = {}", quoted(key), shown(value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Value::Empty(..) => "\"\"".to_owned(),
    }
}

/// A text in quotes, as TOML and JSON write it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if c.is_control() => {
                let _written = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Whether a value has the mask that [`Loaded::show`] puts in place of a secret.
pub(super) fn is_masked(value: &Value) -> bool {
    match value {
        Value::String(_, text) => text.contains(MASK),
        Value::Array(_, values) => values.iter().any(is_masked),
        Value::Char(..) | Value::Bool(..) | Value::Num(..) | Value::Empty(..) | Value::Dict(..) => {
            false
        }
    }
}

/// The source of the value of a key: a file's path, a variable of the environment, or `default`.
pub(super) fn origin(metadata: &figment::Metadata, key: &str) -> String {
    match &metadata.source {
        Some(figment::Source::File(path)) => path.display().to_string(),
        _ if metadata.name.contains("environment") => match environment::source_of(key) {
            Some(variable) => format!("environment variable {variable}"),
            None => "environment".to_owned(),
        },
        _ => "default".to_owned(),
    }
}
