//! What a file can look like, and how its faults are reported.

use serde_json::{Value, json};

use super::Place;

/// The lines and columns of a report in JSON lines.
fn lines(report: &str) -> Vec<(u64, String)> {
    report
        .lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            let column = row["column"].as_str().unwrap_or_default().to_owned();
            (row["line"].as_u64().unwrap(), column)
        })
        .collect()
}

#[tokio::test]
async fn every_refused_row_is_named_with_line_column_value_and_what_is_accepted() {
    let place = Place::new().await;
    let rows: [(&str, &str, &str); 17] = [
        ("1,ok@example.com,,,,,,", "", ""),
        ("0,,,,,,,", "number", "must be between 1 and 2147483647"),
        ("x,,,,,,,", "number", "is not a whole number"),
        (",no,,,,,,", "email", "must be an e-mail address"),
        (",,Name only,,,,,", "", "none of number, uid and email"),
        ("2,,,off,,,,", "status", "is neither active nor inactive"),
        ("3,,,,31.12.2030,,,", "expires_at", "is not a date"),
        (
            "4,,,,,2999-01-01,,",
            "created_at",
            "must not be in the future",
        ),
        ("5,,,,,,Gold,", "plan", "has no plans"),
        ("6,,,,,,-1,", "plan", "must not be negative"),
        ("7,,,,,,,javascript:x", "freeze_payment_url", "must be"),
        ("1,,,,,,,", "number", "line 2 of the file has it already"),
        (
            "8,OK@example.com,,,,,,",
            "email",
            "line 2 of the file has it already",
        ),
        ("9,,,,,,", "", "has 7 values, and the header has 8"),
        ("10,,\"two\nlines\",,,,,", "name", "control characters"),
        ("11,,after it,,,,,", "", ""),
        ("12,,", "", "may be cut off"),
    ];
    let header = "number,email,name,status,expires_at,created_at,plan,freeze_payment_url";
    let text: Vec<&str> = rows.iter().map(|(row, ..)| *row).collect();
    let text = format!("{header}\n{}", text.join("\n"));
    let (mut line, mut expected) = (2, Vec::new());
    for (row, column, problem) in rows {
        if !problem.is_empty() {
            expected.push((line, column.to_owned()));
        }
        line += 1 + u64::try_from(row.matches('\n').count()).unwrap();
    }
    for (name, text) in [
        ("lf.csv", text.clone()),
        ("crlf.csv", text.replace('\n', "\r\n")),
        ("bom.csv", format!("\u{feff}{text}")),
    ] {
        let (file, report) = (place.file(name, &text), place.path("report.jsonl"));
        let report_path = report.to_str().unwrap();
        let dry = place.import(&[&file, "--dry-run", "--report", report_path]);
        for (_, _, problem) in rows {
            let stderr = dry.stderr.replace('\n', " ");
            assert!(stderr.contains(problem), "{name}: {problem}: {dry:#?}");
        }
        let dry_report = std::fs::read_to_string(&report).unwrap();
        assert_eq!(lines(&dry_report), expected, "{name}");
        place.import(&[&file, "--report", report_path]).fails(&[
            "nothing was imported: 15 of 17 rows are refused",
            "--skip-invalid",
        ]);
        assert_eq!(place.accounts().await, 0);
        assert_eq!(std::fs::read_to_string(&report).unwrap(), dry_report);
    }
    let file = place.file("again.csv", &text);
    let csv_report = place.path("report.csv");
    let report_path = csv_report.to_str().unwrap();
    let done = place.import(&[&file, "--skip-invalid", "--json", "--report", report_path]);
    let summary = done.json();
    assert_eq!(
        json!([
            summary["complete"],
            summary["rows"],
            summary["created"],
            summary["refused"],
            summary["last_line"],
            summary["problems"][0],
        ]),
        json!([
            true, 17, 2, 15, 19,
            {
                "line": 3, "column": "number", "value": "0",
                "problem": "must be between 1 and 2147483647",
                "accepted": "a whole number from 1 to 2147483647 that no other account has",
            },
        ])
    );
    assert_eq!(place.accounts().await, 2);
    let mut reader = csv::Reader::from_path(&csv_report).unwrap();
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 15);
    assert_eq!(
        (&records[3][0], &records[3][1], &records[4][4]),
        ("6", "", "active or inactive")
    );
}

#[tokio::test]
async fn a_line_that_is_not_utf_8_is_refused_with_its_number() {
    let place = Place::new().await;
    let mut lines = b"{\"email\":\"a@example.com\"}\n\n".to_vec();
    lines.extend_from_slice(b"{\"email\":\"b@example.com\",\"name\":\"Gr\xfc\xdfe\"}\n");
    lines.extend_from_slice(b"{\"email\":\"c@example.com\",\"name\":\"c\"}\n");
    lines.extend_from_slice(b"{\"email\":\"d@example.com\",\"na");
    let file = place.file("in.jsonl", &lines);
    place.import(&[&file]).fails(&[
        "line 3: the line is not UTF-8",
        "line 5: the line is not one JSON object",
        "it may be cut off",
        "2 of 4 rows are refused",
    ]);
    assert_eq!(place.accounts().await, 0);
    place
        .import(&[&file, "--skip-invalid"])
        .ok("4 rows, 2 created, 2 refused");
    let mut table = b"email,name\nx@example.com,x\n".to_vec();
    table.extend_from_slice(b"y@example.com,Gr\xfc\xdfe\n");
    let file = place.file("in.csv", &table);
    place
        .import(&[&file])
        .fails(&["line 3: name \"Gr\u{fffd}\u{fffd}e\": the value is not UTF-8"]);
}

#[tokio::test]
async fn json_lines_have_the_same_members() {
    let place = Place::new().await;
    let file = place.file(
        "in.jsonl",
        concat!(
            "{\"number\":7,\"email\":\"a@example.com\",\"metadata\":{\"a\":\"1\",\"b\":null},\"metadata.c\":\"3\"}\r\n",
            "{\"number\":\"8\",\"plan\":5,\"name\":null}\n",
        ),
    );
    place.import(&[&file]).ok("2 rows, 2 created");
    assert_eq!(
        place.account(7).await["metadata"],
        json!({"a": "1", "c": "3"})
    );
    assert_eq!(place.client.get(8).await["tariff_id"], 5);
    for (line, expected) in [
        (
            "{\"number\":9,\"number\":10}",
            "number \"10\": the member stands there twice",
        ),
        (
            "{\"number\":9,\"name\":5}",
            "name \"5\": the value is not a text",
        ),
        ("{\"number\":9,\"e_mail\":\"x\"}", "did you mean email?"),
        (
            "{\"number\":9,\"suspend_owner\":\"Abuse Desk\"}",
            "lower-case letters, digits and hyphens",
        ),
        (
            "{\"number\":9,\"metadata\":{\"a b\":\"1\"}}",
            "\"a b\" is not accepted",
        ),
        ("[9]", "the line is not one JSON object"),
        (
            "{\"number\":9} {\"number\":10}",
            "the line is not one JSON object",
        ),
    ] {
        let file = place.file("bad.jsonl", line);
        place.import(&[&file]).fails(&["line 1: ", expected]);
    }
    let file = place.file("unknown.jsonl", "{\"number\":9,\"seats\":\"5\"}\n");
    let done = place.import(&[&file, "--ignore-unknown"]);
    assert!(
        done.stderr.contains("left out as unknown: seats"),
        "{done:#?}"
    );
    done.ok("1 created");
}

#[tokio::test]
async fn a_header_that_cannot_be_used_is_refused_with_the_nearest_column() {
    let place = Place::new().await;
    for (text, expected) in [
        (
            "",
            "the file is empty; its first line names the columns: number, uid",
        ),
        (
            "emial,name\n",
            "line 1: \"emial\" is not a column; did you mean email?",
        ),
        ("email;name\n", "Columns are separated by commas"),
        (
            "email,email\n",
            "line 1: the column email stands there twice",
        ),
        ("name,company\n", "none of number, uid and email"),
        ("email,metadata.\n", "a name has 1 to 40"),
        ("\"email\n", "opened on line 1 is never closed"),
    ] {
        let file = place.file("header.csv", text);
        place
            .import(&[&file])
            .fails(&[expected, "Nothing was imported"]);
    }
    let utf16: Vec<u8> = "\u{feff}email\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let file = place.file("utf16.csv", utf16);
    place.import(&[&file]).fails(&["UTF-16; save it as UTF-8"]);
    let file = place.file("in.csv", "email,seats\na@example.com,5\n");
    place.import(&[&file, "--ignore-unknown"]).ok("1 created");
    let file = place.file("accounts.txt", "email\n");
    place
        .import(&[&file])
        .fails(&["--format csv or --format jsonl"]);
    let file = place.file("in2.csv", "email\nb@example.com\n");
    place
        .import(&[&file, "--report", &file])
        .fails(&["that is the file to import"]);
    place
        .import(&[&file, "--report", "report.txt"])
        .fails(&["must end in .csv or .jsonl"]);
}

#[tokio::test]
async fn a_pipe_is_checked_as_a_whole_too() {
    let place = Place::new().await;
    let bad = b"email\na@example.com\nbad\n";
    for name in ["-", "/dev/stdin"] {
        place
            .import_piped(bad, &[name, "--format", "csv"])
            .fails(&["line 3: email \"bad\"", "nothing was imported"]);
        assert_eq!(place.accounts().await, 0);
    }
    place
        .import_piped(bad, &["-", "--format", "csv", "--skip-invalid"])
        .ok("2 rows, 1 created, 1 refused");
    place
        .import_piped(
            b"{\"email\":\"b@example.com\"}",
            &["/dev/stdin", "--format", "jsonl"],
        )
        .ok("1 rows, 1 created");
    assert_eq!(place.accounts().await, 2);
}

#[tokio::test]
async fn an_unclosed_quotation_mark_refuses_what_follows_it() {
    let place = Place::new().await;
    let file = place.file(
        "in.csv",
        "email,name\na@example.com,a\nb@example.com,\"b\nc@example.com,c\n",
    );
    place
        .import(&[&file, "--skip-invalid"])
        .ok("2 rows, 1 created, 1 refused");
    place
        .import(&[&file])
        .fails(&["line 3: the quotation mark that is opened on line 3 is never closed"]);
}

#[tokio::test]
async fn what_is_in_is_counted_also_if_the_report_cannot_be_written() {
    let place = Place::new().await;
    let report = place.path("report.csv");
    std::os::unix::fs::symlink("/dev/full", &report).unwrap();
    let file = place.file("in.csv", "number,email\n7,\n8,bad\n9,\n");
    let report = report.to_str().unwrap();
    let done = place.import(&[&file, "--skip-invalid", "--report", report]);
    let counts = "3 rows, 2 created, 1 refused";
    assert!(done.stdout.contains(counts), "{done:#?}");
    done.fails(&["the report cannot be written"]);
    assert_eq!(place.accounts().await, 2);
}

#[tokio::test]
async fn a_uid_that_names_nothing_is_refused() {
    let place = Place::new().await;
    let file = place.file(
        "uids.csv",
        "uid,email\n00000000-0000-0000-0000-000000000000,a@example.com\n\
         ffffffff-ffff-ffff-ffff-ffffffffffff,b@example.com\n",
    );
    place.import(&[&file]).fails(&[
        "2 of 2 rows are refused",
        "is a UUID that names nothing",
        "00000000-0000-0000-0000-000000000000",
    ]);
    assert_eq!(place.accounts().await, 0);
}

#[tokio::test]
async fn of_two_rows_with_one_identity_none_is_imported_if_the_first_is_refused() {
    let place = Place::new().await;
    let file = place.file(
        "twice.csv",
        "number,uid,email,status,plan\n\
         1,,,off,\n\
         01,,,active,\n\
         ,0B5F7A52-3C1E-4E8F-9A6B-7D2C4E1F8A01,,active,-1\n\
         ,0b5f7a52-3c1e-4e8f-9a6b-7d2c4e1f8a01,,active,\n\
         ,,a@example.com,off,\n\
         ,,A@example.com,active,\n\
         5,,b@example.com,active,\n\
         5,,c@example.com,active,\n\
         ,,c@example.com,active,\n",
    );
    let imported = place.import(&[&file, "--skip-invalid"]);
    for line in [
        "line 3: number",
        "line 5: uid",
        "line 7: email",
        "line 9: number",
    ] {
        assert!(imported.stderr.contains(line), "{line}: {imported:#?}");
    }
    assert!(imported.stderr.contains("line 10: email"), "{imported:#?}");
    let first = "line 2 of the file has it already";
    assert!(imported.stderr.contains(first), "{imported:#?}");
    imported.ok("9 rows, 1 created, 8 refused");
}
