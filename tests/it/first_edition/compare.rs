//! Compares an answer with the recorded one, byte for byte. Members that are new are left out.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

type Object = BTreeMap<String, Box<RawValue>>;

/// Where `after` differs from `before`: every member of `before` must be there with the same
/// bytes, and arrays must have the same elements in the same order. A line for each difference.
pub(super) fn differences(before: &str, after: &str) -> Vec<String> {
    if before == after {
        return Vec::new();
    }
    let mut found = Vec::new();
    match (
        serde_json::from_str::<&RawValue>(before),
        serde_json::from_str::<&RawValue>(after),
    ) {
        (Ok(before), Ok(after)) => values("", before, after, &mut found),
        // XML and other texts are compared as they are.
        _ => found.push(line("", before, Some(after))),
    }
    found
}

fn values(path: &str, before: &RawValue, after: &RawValue, found: &mut Vec<String>) {
    let (was, is) = (before.get(), after.get());
    if was == is {
        return;
    }
    if let (Ok(was), Ok(is)) = (
        serde_json::from_str::<Object>(was),
        serde_json::from_str::<Object>(is),
    ) {
        for (name, was) in &was {
            let path = format!("{path}/{name}");
            match is.get(name) {
                Some(is) => values(&path, was, is, found),
                None => found.push(line(&path, was.get(), None)),
            }
        }
        return;
    }
    if let (Ok(was), Ok(is)) = (
        serde_json::from_str::<Vec<Box<RawValue>>>(was),
        serde_json::from_str::<Vec<Box<RawValue>>>(is),
    ) {
        if was.len() != is.len() {
            let counts = format!("{} elements before, {} after", was.len(), is.len());
            found.push(format!("  {path}: {counts}"));
        }
        for (place, (was, is)) in was.iter().zip(&is).enumerate() {
            values(&format!("{path}/{place}"), was, is, found);
        }
        return;
    }
    found.push(line(path, was, Some(is)));
}

fn line(path: &str, before: &str, after: Option<&str>) -> String {
    let path = if path.is_empty() { "(whole)" } else { path };
    let after = after.unwrap_or("(missing)");
    format!("  {path}\n    before: {before}\n    after:  {after}")
}

#[test]
fn new_members_are_left_out_and_everything_else_is_compared_by_its_bytes() {
    let before = r#"{"a":[{"b":1.50,"c":null}],"d":"é"}"#;
    for (after, expected) in [
        (
            r#"{"new":0,"a":[{"c":null,"b":1.50,"x":{}}],"d":"é"}"#,
            &[][..],
        ),
        (r#"{"a":[{"b":1.5,"c":null}],"d":"é"}"#, &["/a/0/b"]),
        (r#"{"a":[{"b":1.50}],"d":"e"}"#, &["/a/0/c", "/d"]),
        (r#"{"a":[],"d":"é"}"#, &["/a: 1 elements before, 0 after"]),
        (r#"{"a":{},"d":"é"}"#, &["/a"]),
        ("<a/>", &["(whole)"]),
    ] {
        let found = differences(before, after);
        assert_eq!(found.len(), expected.len(), "{after}: {found:?}");
        for (line, path) in found.iter().zip(expected) {
            assert!(line.contains(path), "{after}: {line}");
        }
    }
    assert_eq!(differences("<a/>", "<a />").len(), 1);
}
