//! The rows of an import file, in CSV or JSON, as cells with their columns.

use std::io::{self, BufRead, BufReader, Read};

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::columns::{Column, METADATA, NoColumn, names};
use super::csv_rows::{Record, Records};

/// The largest row, in bytes.
pub(super) const MAX_ROW: usize = 1 << 20;

/// The format of an import file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// A row that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) line: u64,
    pub(super) problem: String,
}

/// A row: the line on which it begins, and the cells that it has. An empty text means none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) cells: Vec<(Column, String)>,
}

/// Why a row was not imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) line: u64,
    pub(super) column: Option<String>,
    /// The value in the file.
    pub(super) value: Option<String>,
    /// What is wrong.
    pub(super) problem: String,
    /// What is accepted.
    pub(super) accepted: String,
}

impl Refused {
    pub(super) fn row(line: u64, problem: impl Into<String>, accepted: impl Into<String>) -> Self {
        Self {
            line,
            column: None,
            value: None,
            problem: problem.into(),
            accepted: accepted.into(),
        }
    }
}

/// Reads rows from a file. An error ends the reading: the file cannot be read, or its header cannot.
pub(super) struct Rows<R> {
    source: Source<R>,
    ignore_unknown: bool,
    /// The columns that are left out because they are unknown.
    pub(super) ignored: Vec<String>,
}

enum Source<R> {
    Csv {
        records: Records<R>,
        header: Vec<Option<Column>>,
    },
    Jsonl {
        input: R,
        line: u64,
        bytes: u64,
    },
}

impl<R: Read> Rows<BufReader<R>> {
    /// Reads the header, if the format has one.
    pub(super) fn open(input: R, format: Format, ignore_unknown: bool) -> Result<Self, String> {
        let mut input = BufReader::with_capacity(1 << 16, input);
        let begin = input.fill_buf().map_err(|error| error.to_string())?;
        if begin.starts_with(&[0xff, 0xfe]) || begin.starts_with(&[0xfe, 0xff]) {
            return Err("the file is UTF-16; save it as UTF-8".to_owned());
        }
        if begin.starts_with(&[0xef, 0xbb, 0xbf]) {
            input.consume(3);
        }
        let source = match format {
            Format::Jsonl => Source::Jsonl {
                input,
                line: 0,
                bytes: 0,
            },
            Format::Csv => Source::Csv {
                records: Records::new(input),
                header: Vec::new(),
            },
        };
        let mut rows = Self {
            source,
            ignore_unknown,
            ignored: Vec::new(),
        };
        rows.read_header()?;
        Ok(rows)
    }

    fn read_header(&mut self) -> Result<(), String> {
        let Source::Csv { records, .. } = &mut self.source else {
            return Ok(());
        };
        let record = records.next().map_err(|error| error.to_string())?;
        let record = match record {
            None => {
                return Err(format!(
                    "the file is empty; its first line names the columns: {}",
                    names()
                ));
            }
            Some(Err(malformed)) => {
                return Err(format!("line {}: {}", malformed.line, malformed.problem));
            }
            Some(Ok(record)) => record,
        };
        let mut columns: Vec<Option<Column>> = Vec::new();
        for field in &record.fields {
            let name = std::str::from_utf8(field)
                .map_err(|_| format!("line {}: the header is not UTF-8", record.line))?
                .trim();
            let column = match Column::parse(name) {
                Ok(column) => Some(column),
                Err(NoColumn::Unknown(_)) if self.ignore_unknown => {
                    self.ignored.push(name.to_owned());
                    None
                }
                Err(NoColumn::Unknown(problem) | NoColumn::Refused(problem)) => {
                    let hint = if record.fields.len() == 1 && name.contains([';', '\t']) {
                        ". Columns are separated by commas"
                    } else {
                        ""
                    };
                    return Err(format!(
                        "line {}: {name:?} {problem}{hint}. The columns are {}",
                        record.line,
                        names()
                    ));
                }
            };
            if column.is_some() && columns.contains(&column) {
                return Err(format!(
                    "line {}: the column {name} stands there twice",
                    record.line
                ));
            }
            columns.push(column);
        }
        let keys = [Column::Number, Column::Uid, Column::Email];
        if !keys.iter().any(|key| columns.contains(&Some(key.clone()))) {
            return Err(format!(
                "line {}: the header has none of number, uid and email. One of them is needed, so \
                 that an account is found when the file is imported again",
                record.line
            ));
        }
        if let Source::Csv { header, .. } = &mut self.source {
            *header = columns;
        }
        Ok(())
    }

    /// How many bytes of the file were read.
    pub(super) fn bytes(&self) -> u64 {
        match &self.source {
            Source::Csv { records, .. } => records.bytes,
            Source::Jsonl { bytes, .. } => *bytes,
        }
    }

    /// The next row; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Result<Row, Refused>>> {
        match &mut self.source {
            Source::Csv { records, header } => {
                Ok(records.next()?.map(|record| csv_row(record, header)))
            }
            Source::Jsonl { input, line, bytes } => loop {
                let mut text = Vec::new();
                let mut limited = input
                    .by_ref()
                    .take(u64::try_from(MAX_ROW).unwrap_or(u64::MAX) + 1);
                let read = limited.read_until(b'\n', &mut text)?;
                if read == 0 {
                    return Ok(None);
                }
                *line += 1;
                *bytes += u64::try_from(read).unwrap_or_default();
                let is_ended = text.ends_with(b"\n");
                if !is_ended && read > MAX_ROW {
                    *bytes += skip_line(input)?;
                    let problem = format!("the row has more than {MAX_ROW} bytes");
                    return Ok(Some(Err(Refused::row(*line, problem, "one object a line"))));
                }
                if text.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                let row = json_row(
                    *line,
                    &text,
                    is_ended,
                    self.ignore_unknown,
                    &mut self.ignored,
                );
                return Ok(Some(row));
            },
        }
    }
}

/// Reads over the rest of a line. Returns how many bytes that were.
fn skip_line(input: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let (used, is_end) = {
            let buffer = input.fill_buf()?;
            match buffer.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            }
        };
        input.consume(used);
        skipped += u64::try_from(used).unwrap_or_default();
        if is_end {
            return Ok(skipped);
        }
    }
}

fn csv_row(record: Result<Record, Malformed>, header: &[Option<Column>]) -> Result<Row, Refused> {
    let record = record.map_err(|malformed| {
        Refused::row(malformed.line, malformed.problem, "CSV as in RFC 4180")
    })?;
    let line = record.line;
    if record.fields.len() != header.len() {
        let cut = if record.is_ended {
            ""
        } else {
            "; the file ends in the middle of the line, so it may be cut off"
        };
        return Err(Refused::row(
            line,
            format!(
                "the row has {} values, and the header has {}{cut}",
                record.fields.len(),
                header.len()
            ),
            "one value for each column of the header",
        ));
    }
    let mut cells = Vec::new();
    for (column, field) in header.iter().zip(record.fields) {
        let Some(column) = column else {
            continue;
        };
        let text = String::from_utf8(field).map_err(|error| Refused {
            line,
            column: Some(column.name()),
            value: Some(String::from_utf8_lossy(error.as_bytes()).into_owned()),
            problem: "the value is not UTF-8".to_owned(),
            accepted: "text in UTF-8".to_owned(),
        })?;
        cells.push((column.clone(), text.trim().to_owned()));
    }
    Ok(Row { line, cells })
}

/// The members of an object in their order, repeated ones included.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

fn json_row(
    line: u64,
    text: &[u8],
    is_ended: bool,
    ignore_unknown: bool,
    ignored: &mut Vec<String>,
) -> Result<Row, Refused> {
    let text = std::str::from_utf8(text)
        .map_err(|_| Refused::row(line, "the line is not UTF-8", "text in UTF-8"))?;
    let Members(members) = serde_json::from_str(text).map_err(|error| {
        let cut = if is_ended {
            ""
        } else {
            "; the file ends in the middle of the line, so it may be cut off"
        };
        let problem = format!("the line is not one JSON object: {error}{cut}");
        Refused::row(
            line,
            problem,
            "one JSON object a line, with texts as members",
        )
    })?;
    let mut cells: Vec<(Column, String)> = Vec::new();
    for (name, value) in members {
        match (name.as_str(), value) {
            ("metadata", Value::Object(members)) => {
                for (key, value) in members {
                    let name = format!("{METADATA}{key}");
                    cell(line, &name, value, false, ignored, &mut cells)?;
                }
            }
            (_, value) => cell(line, &name, value, ignore_unknown, ignored, &mut cells)?,
        }
    }
    Ok(Row { line, cells })
}

/// A value as people read it: a text without quotation marks.
fn shown(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn cell(
    line: u64,
    name: &str,
    value: Value,
    ignore_unknown: bool,
    ignored: &mut Vec<String>,
    cells: &mut Vec<(Column, String)>,
) -> Result<(), Refused> {
    let refuse = |value: &Value, problem: String, accepted: String| Refused {
        line,
        column: Some(name.to_owned()),
        value: Some(shown(value)),
        problem,
        accepted,
    };
    let column = match Column::parse(name) {
        Ok(column) => column,
        Err(NoColumn::Unknown(_)) if ignore_unknown => {
            if !ignored.iter().any(|known| known == name) {
                ignored.push(name.to_owned());
            }
            return Ok(());
        }
        Err(NoColumn::Unknown(problem) | NoColumn::Refused(problem)) => {
            return Err(refuse(&value, problem, names()));
        }
    };
    if cells.iter().any(|(known, _)| *known == column) {
        let problem = "the member stands there twice".to_owned();
        return Err(refuse(&value, problem, "each member once".to_owned()));
    }
    let takes_numbers = matches!(column, Column::Number | Column::Plan | Column::Count(_));
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) if takes_numbers => number.to_string(),
        Value::Bool(flag) if matches!(column, Column::Flag(_)) => flag.to_string(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            let problem = "the value is not a text".to_owned();
            return Err(refuse(&other, problem, column.accepts().to_owned()));
        }
    };
    cells.push((column, text));
    Ok(())
}
