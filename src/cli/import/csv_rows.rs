//! Reads the records of a CSV file (RFC 4180) with their physical lines.

use std::io::BufRead;

use super::rows::{MAX_ROW, Malformed};

/// A record: the line on which it begins, and its fields as bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) line: u64,
    pub(super) fields: Vec<Vec<u8>>,
    /// Whether a line end follows. The last record of a file that was cut off has none.
    pub(super) is_ended: bool,
}

/// Where in a record the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Unquoted,
    Quoted,
    /// After a quotation mark inside a quoted field: it ends the field, or is the first of two.
    Quote,
}

/// Reads records. Lines end with LF, CR LF or CR; a quoted field may contain line ends.
#[derive(Debug)]
pub(super) struct Records<R> {
    input: R,
    /// The line of the next byte.
    line: u64,
    /// How many bytes were read.
    pub(super) bytes: u64,
    /// Whether the previous byte was a CR, so that a following LF belongs to it.
    after_cr: bool,
}

impl<R: BufRead> Records<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            line: 1,
            bytes: 0,
            after_cr: false,
        }
    }

    /// The next record; `None` at the end. Empty lines are left out.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Result<Record, Malformed>>> {
        loop {
            let Some(read) = self.read_record()? else {
                return Ok(None);
            };
            let is_blank = |record: &Record| record.fields == [Vec::<u8>::new()];
            if !read.as_ref().is_ok_and(is_blank) {
                return Ok(Some(read));
            }
        }
    }

    fn byte(&mut self) -> std::io::Result<Option<u8>> {
        loop {
            let next = match self.input.fill_buf()? {
                [] => None,
                [first, ..] => Some(*first),
            };
            let Some(next) = next else {
                return Ok(None);
            };
            self.input.consume(1);
            self.bytes += 1;
            let follows_cr = std::mem::replace(&mut self.after_cr, next == b'\r');
            if next == b'\n' && follows_cr {
                continue;
            }
            if matches!(next, b'\n' | b'\r') {
                self.line += 1;
            }
            return Ok(Some(next));
        }
    }

    fn read_record(&mut self) -> std::io::Result<Option<Result<Record, Malformed>>> {
        let line = self.line;
        let (mut fields, mut field, mut state) = (Vec::new(), Vec::new(), State::FieldStart);
        let (mut problem, mut size, mut is_empty) = (None, 0_usize, true);
        let mut opened_on = line;
        let is_ended = loop {
            let here = self.line;
            let Some(byte) = self.byte()? else {
                break false;
            };
            is_empty = false;
            size += 1;
            let is_line_end = matches!(byte, b'\n' | b'\r');
            if size > MAX_ROW {
                problem.get_or_insert_with(|| format!("the row has more than {MAX_ROW} bytes"));
                field.clear();
                fields.clear();
            }
            state = match (state, byte) {
                (State::Quoted, b'"') => State::Quote,
                (State::Quoted, _) => {
                    // A line end inside a field is one line feed, as on every other system.
                    field.push(if is_line_end { b'\n' } else { byte });
                    State::Quoted
                }
                (State::Quote, b'"') => {
                    field.push(b'"');
                    State::Quoted
                }
                (_, b',') => {
                    fields.push(std::mem::take(&mut field));
                    State::FieldStart
                }
                _ if is_line_end => break true,
                (State::FieldStart, b'"') => {
                    opened_on = here;
                    State::Quoted
                }
                (State::Quote, _) => {
                    problem.get_or_insert_with(|| {
                        "a comma or a line end must follow the quotation mark that ends a value; \
                         a quotation mark inside a value is written twice"
                            .to_owned()
                    });
                    State::Unquoted
                }
                (State::FieldStart | State::Unquoted, _) => {
                    field.push(byte);
                    State::Unquoted
                }
            };
        };
        if is_empty {
            return Ok(None);
        }
        if state == State::Quoted {
            problem = Some(format!(
                "the quotation mark that is opened on line {opened_on} is never closed, so nothing \
                 after it can be read"
            ));
        }
        fields.push(field);
        Ok(Some(match problem {
            Some(problem) => Err(Malformed { line, problem }),
            None => Ok(Record {
                line,
                fields,
                is_ended,
            }),
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8]) -> Vec<(u64, Result<Vec<String>, String>)> {
        let mut records = Records::new(text);
        let mut all = Vec::new();
        while let Some(record) = records.next().unwrap() {
            all.push(match record {
                Ok(record) => {
                    let fields = record.fields.into_iter();
                    let fields = fields.map(|field| String::from_utf8(field).unwrap());
                    (record.line, Ok(fields.collect()))
                }
                Err(malformed) => (malformed.line, Err(malformed.problem)),
            });
        }
        all
    }

    #[test]
    fn records_have_their_physical_lines() {
        let owned = |fields: &[&str]| fields.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        for end in ["\n", "\r\n", "\r"] {
            let text = "a,b\n\n1,\"x\ny\"\n\n2,\"say \"\"hi\"\"\"\n3,\n4,last".replace('\n', end);
            assert_eq!(
                read(text.as_bytes()),
                [
                    (1, Ok(owned(&["a", "b"]))),
                    (3, Ok(owned(&["1", "x\ny"]))),
                    (6, Ok(owned(&["2", "say \"hi\""]))),
                    (7, Ok(owned(&["3", ""]))),
                    (8, Ok(owned(&["4", "last"]))),
                ],
                "{end:?}"
            );
        }
        let broken = read(b"a\n\"x\" y\nb\n\"open\nc\nd");
        assert_eq!((broken[1].0, broken[1].1.is_err()), (2, true));
        assert_eq!(broken[2], (3, Ok(owned(&["b"]))));
        let unclosed = broken[3].1.as_ref().unwrap_err();
        assert!(unclosed.contains("opened on line 4"), "{unclosed}");
    }

    proptest! {
        #[test]
        fn what_the_csv_crate_writes_is_read(
            rows in proptest::collection::vec(
                proptest::collection::vec("[a-c\",\n ä]{0,6}", 2..5), 1..8
            )
        ) {
            let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let text = writer.into_inner().unwrap();
            let read: Vec<Vec<String>> =
                read(&text).into_iter().map(|(_, row)| row.unwrap()).collect();
            prop_assert_eq!(read, rows);
        }
    }
}
