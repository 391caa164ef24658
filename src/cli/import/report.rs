//! The report of an import: a line for each row that was refused.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use serde_json::json;

use super::rows::Refused;

/// A file of refused rows, in CSV or JSON lines.
pub(super) enum Report {
    Csv(Box<csv::Writer<File>>),
    Jsonl(BufWriter<File>),
}

impl Report {
    /// Creates the file, or replaces it.
    pub(super) fn create(path: &Path, input: &Path) -> Result<Self, String> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let is_csv = match extension {
            Some("csv") => true,
            Some("jsonl") => false,
            _ => {
                return Err(format!(
                    "--report {}: the name must end in .csv or .jsonl",
                    path.display()
                ));
            }
        };
        let real = |path: &Path| path.canonicalize().ok();
        if real(path).is_some() && real(path) == real(input) {
            return Err(format!(
                "--report {}: that is the file to import",
                path.display()
            ));
        }
        let fail = |error: &dyn std::fmt::Display| format!("--report {}: {error}", path.display());
        let file = File::create(path).map_err(|error| fail(&error))?;
        if !is_csv {
            return Ok(Self::Jsonl(BufWriter::new(file)));
        }
        let mut writer = csv::Writer::from_writer(file);
        writer
            .write_record(["line", "column", "value", "problem", "accepted"])
            .map_err(|error| fail(&error))?;
        Ok(Self::Csv(Box::new(writer)))
    }

    pub(super) fn add(&mut self, refused: &Refused) -> Result<(), String> {
        let fail = |error: &dyn std::fmt::Display| format!("the report cannot be written: {error}");
        match self {
            Self::Csv(writer) => writer
                .write_record([
                    refused.line.to_string().as_str(),
                    refused.column.as_deref().unwrap_or_default(),
                    refused.value.as_deref().unwrap_or_default(),
                    &refused.problem,
                    &refused.accepted,
                ])
                .map_err(|error| fail(&error)),
            Self::Jsonl(writer) => {
                writeln!(writer, "{}", document(refused)).map_err(|error| fail(&error))
            }
        }
    }

    pub(super) fn finish(&mut self) -> Result<(), String> {
        let flushed = match self {
            Self::Csv(writer) => writer.flush(),
            Self::Jsonl(writer) => writer.flush(),
        };
        flushed.map_err(|error| format!("the report cannot be written: {error}"))
    }
}

/// A refused row as JSON.
pub(super) fn document(refused: &Refused) -> serde_json::Value {
    json!({
        "line": refused.line,
        "column": refused.column,
        "value": refused.value,
        "problem": refused.problem,
        "accepted": refused.accepted,
    })
}

/// A refused row on one line, for people.
pub(super) fn text(refused: &Refused) -> String {
    let mut text = format!("line {}: ", refused.line);
    if let Some(column) = &refused.column {
        text.push_str(column);
        if let Some(value) = refused.value.as_deref().filter(|value| !value.is_empty()) {
            let short: String = value.chars().take(60).collect();
            let dots = if short.len() < value.len() { "..." } else { "" };
            text = format!("{text} {short:?}{dots}");
        }
        text.push_str(": ");
    }
    text.push_str(&refused.problem);
    if !refused.accepted.is_empty() {
        text = format!("{text} (accepted: {})", refused.accepted);
    }
    text
}
