//! The rows of the tables in docs/migrating.md.

use serde_json::Value;

/// The headers of the tables whose rows are walked.
const HEADER: [&str; 3] = ["original", "here", "how"];

/// The system that a section of the document is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Original {
    Altcraft,
    Zoolz,
    Cryptlex,
}

/// What a row is about, besides its operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    /// The operation itself, with an example of the body: JSON with placeholders. Empty if there is
    /// none.
    Operation(String),
    /// A member of the request, and its value as JSON with placeholders.
    Member(String, String),
    /// A parameter of the query.
    Query(String, String),
    /// A header of the request.
    Header(String, String),
    /// A member of the answer, and a value of its type.
    Answer(String, Value),
    /// A header of the answer.
    AnswerHeader(String),
}

/// What becomes of the subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    Same,
    Mapped,
    Ignored,
    Refused(String),
}

#[derive(Debug, Clone)]
pub struct Row {
    pub original: Original,
    /// The number of the row's line, from 1.
    pub line: usize,
    pub operation: String,
    pub subject: Subject,
    /// The texts between backticks in the second column.
    pub here: Vec<String>,
    pub how: How,
}

impl Row {
    /// Where the row stands and what it says, for messages.
    pub fn place(&self) -> String {
        let Self {
            line, operation, ..
        } = self;
        format!("docs/migrating.md:{line}: {operation} {:?}", self.subject)
    }

    /// Whether the document says that the value cannot be read back.
    pub fn is_write_only(&self) -> bool {
        self.here.iter().any(|span| span == "-")
    }

    /// The member that shows the value here, and the value if it is another one.
    pub fn target(&self) -> Option<(&str, Option<&str>)> {
        let span = self.here.iter().find(|span| *span != "-")?;
        let target = span.split_once(" = ");
        Some(target.map_or((span.as_str(), None), |(member, value)| {
            (member, Some(value))
        }))
    }
}

/// All rows of the document's tables.
///
/// # Errors
/// The first row that cannot be read.
pub fn rows(document: &str) -> Result<Vec<Row>, String> {
    let (mut original, mut is_walked, mut found) = (None, false, Vec::new());
    for (index, line) in document.lines().enumerate() {
        if line.starts_with("## ") {
            original = section(line);
        }
        if !line.starts_with('|') {
            is_walked = false;
            continue;
        }
        let cells = cells(line);
        let is_rule = cells.iter().all(|cell| cell.trim_matches('-').is_empty());
        match original {
            Some(_) if cells == HEADER => is_walked = true,
            Some(original) if is_walked && !is_rule => {
                let row = row(original, index + 1, &cells);
                found.push(row.map_err(|problem| {
                    format!("docs/migrating.md:{}: {problem}: {line}", index + 1)
                })?);
            }
            _ => {}
        }
    }
    Ok(found)
}

fn section(heading: &str) -> Option<Original> {
    let begins = |name: &str| heading.starts_with(&format!("## From {name}"));
    [
        ("Altcraft", Original::Altcraft),
        ("Zoolz", Original::Zoolz),
        ("Cryptlex", Original::Cryptlex),
    ]
    .into_iter()
    .find_map(|(name, original)| begins(name).then_some(original))
}

/// The cells of a line, where `\|` is a bar.
fn cells(line: &str) -> Vec<String> {
    let line = line.trim().trim_start_matches('|');
    let line = line.strip_suffix('|').unwrap_or(line);
    let cells = line.replace("\\|", "\0");
    let cells = cells.split('|');
    cells.map(|cell| cell.trim().replace('\0', "|")).collect()
}

/// The texts between backticks.
fn spans(cell: &str) -> Vec<String> {
    let odd = cell
        .split('`')
        .enumerate()
        .filter(|(place, _)| place % 2 == 1);
    odd.map(|(_, span)| span.to_owned()).collect()
}

fn row(original: Original, line: usize, cells: &[String]) -> Result<Row, String> {
    let [first, here, how] = cells else {
        return Err(format!("{} cells instead of 3", cells.len()));
    };
    let spans_of_first = spans(first);
    let (operation, subject) = match spans_of_first.as_slice() {
        [operation] => (operation, Subject::Operation(String::new())),
        [operation, subject, ..] => (operation, read_subject(subject)?),
        [] => return Err("no operation in backticks".to_owned()),
    };
    Ok(Row {
        original,
        line,
        operation: operation.clone(),
        subject,
        here: spans(here),
        how: read_how(&how.replace('`', ""))?,
    })
}

fn read_subject(span: &str) -> Result<Subject, String> {
    if span.starts_with('{') {
        return Ok(Subject::Operation(span.to_owned()));
    }
    if let Some(name) = span.strip_prefix("answer header ") {
        return Ok(Subject::AnswerHeader(name.to_owned()));
    }
    if let Some(header) = span.strip_prefix("header ") {
        let header = header.split_once(": ");
        let (name, value) = header.ok_or("a header is written `header Name: value`")?;
        return Ok(Subject::Header(name.to_owned(), value.to_owned()));
    }
    let (name, value) = span
        .split_once(" = ")
        .ok_or("a member is written `name = value`")?;
    if let Some(name) = name.strip_prefix('?') {
        return Ok(Subject::Query(name.to_owned(), value.to_owned()));
    }
    if let Some(name) = name.strip_prefix("answer ") {
        let value = serde_json::from_str(value).map_err(|error| error.to_string())?;
        return Ok(Subject::Answer(name.to_owned(), value));
    }
    Ok(Subject::Member(name.to_owned(), value.to_owned()))
}

fn read_how(how: &str) -> Result<How, String> {
    match how.trim() {
        "same" => Ok(How::Same),
        "mapped" => Ok(How::Mapped),
        "ignored" => Ok(How::Ignored),
        other => {
            let code = other.strip_prefix("refused ");
            let code = code.filter(|code| !code.is_empty() && !code.contains(' '));
            let code = code.ok_or("the last cell must be same, mapped, ignored or refused CODE")?;
            Ok(How::Refused(code.to_owned()))
        }
    }
}

#[test]
fn rows_that_cannot_be_read_are_refused() {
    let table = |row: &str| {
        format!(
            "## From Zoolz's service\n\n| original | here | how |\n| --- | --- | --- |\n{row}\n"
        )
    };
    for (row, problem) in [
        ("| `A` | same |", "2 cells"),
        ("| A | | same |", "no operation"),
        ("| `A` | | kept |", "the last cell"),
        ("| `A` | | refused |", "the last cell"),
        ("| `A` `member` | | same |", "a member is written"),
        ("| `A` `header X` | | same |", "a header is written"),
        ("| `A` `answer x = ?` | | same |", "expected value"),
    ] {
        let refused = rows(&table(row)).unwrap_err();
        assert!(refused.contains(problem), "{row}: {refused}");
    }
    let read = rows(&table(
        "| `A` `x = \"a\\|b\"` text | `y` and `-` | `refused B` |",
    ))
    .unwrap();
    let [row] = read.as_slice() else {
        panic!("{read:?}")
    };
    assert_eq!(
        row.subject,
        Subject::Member("x".to_owned(), "\"a|b\"".to_owned())
    );
    assert_eq!(
        (row.target(), row.is_write_only()),
        (Some(("y", None)), true)
    );
    assert_eq!(row.how, How::Refused("B".to_owned()));
    let other = "## From Zoolz's service\n\n| Zoolz | Steward |\n| --- | --- |\n| a | b |\n";
    assert!(rows(other).unwrap().is_empty());
}
