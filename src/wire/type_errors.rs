//! The type errors of serde in plain words. Callers do not know Rust's types.

/// Rewrites `invalid type: string "x", expected i64` and its kind to `must be a whole number, not
/// the text "x"`. Other messages stay as they are.
pub(super) fn in_plain_words(message: &str) -> String {
    let rest = ["invalid type: ", "invalid value: "]
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix));
    // The found value may contain the word, so the last one is serde's.
    let parts = rest.and_then(|rest| rest.rsplit_once(", expected "));
    parts.map_or_else(
        || message.to_owned(),
        |(found, expected)| format!("must be {}, not {}", wanted(expected), given(found)),
    )
}

/// A type that serde expected.
fn wanted(expected: &str) -> String {
    let number = |least: &dyn ToString, greatest: &dyn ToString| {
        let (least, greatest) = (least.to_string(), greatest.to_string());
        format!("a whole number between {least} and {greatest}")
    };
    match expected {
        "i64" | "isize" | "i128" => "a whole number".to_owned(),
        "u64" | "usize" | "u128" => "a whole number, 0 or greater".to_owned(),
        "i8" => number(&i8::MIN, &i8::MAX),
        "i16" => number(&i16::MIN, &i16::MAX),
        "i32" => number(&i32::MIN, &i32::MAX),
        "u8" => number(&u8::MIN, &u8::MAX),
        "u16" => number(&u16::MIN, &u16::MAX),
        "u32" => number(&u32::MIN, &u32::MAX),
        "f32" | "f64" => "a number".to_owned(),
        "a string" => "a text".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "an object".to_owned(),
        other if other.starts_with("struct ") => "an object".to_owned(),
        other => other.to_owned(),
    }
}

/// A value that serde found.
fn given(found: &str) -> String {
    let unquoted = |rest: &str| rest.trim_matches('`').to_owned();
    let number = found
        .strip_prefix("integer ")
        .or_else(|| found.strip_prefix("floating point "));
    if let Some(text) = found.strip_prefix("string ") {
        return format!("the text {text}");
    }
    if let Some(number) = number {
        return format!("the number {}", unquoted(number));
    }
    if let Some(word) = found.strip_prefix("boolean ") {
        return unquoted(word);
    }
    match found {
        "null" | "unit value" => "null".to_owned(),
        "sequence" => "a list".to_owned(),
        "map" => "an object".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use crate::wire::{Codec, decode};

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its errors are read")]
    struct Document {
        id: Option<i64>,
        page: Option<u32>,
        name: Option<String>,
        verbose: Option<bool>,
        list: Option<Vec<i64>>,
        part: Option<Box<Document>>,
    }

    #[test]
    fn type_errors_name_the_field_and_no_type_of_rust() {
        let refused = |codec, body: &str| {
            let document: Result<Document, _> = decode(codec, body.as_bytes());
            document.unwrap_err().to_string()
        };
        for (body, expected) in [
            (
                r#"{"id": "seven"}"#,
                r#"id: must be a whole number, not the text "seven""#,
            ),
            (
                r#"{"id": 7.5}"#,
                "id: must be a whole number, not the number 7.5",
            ),
            (r#"{"id": true}"#, "id: must be a whole number, not true"),
            (r#"{"id": {}}"#, "id: must be a whole number, not an object"),
            (
                r#"{"page": -1}"#,
                "page: must be a whole number between 0 and 4294967295, not the number -1",
            ),
            (r#"{"name": 7}"#, "name: must be a text, not the number 7"),
            (r#"{"name": []}"#, "name: must be a text, not a list"),
            (
                r#"{"verbose": ", expected x"}"#,
                r#"verbose: must be true or false, not the text ", expected x""#,
            ),
            (r#"{"list": 7}"#, "list: must be a list, not the number 7"),
            (
                r#"{"list": [1, null]}"#,
                "list[1]: must be a whole number, not null",
            ),
            (
                r#"{"part": "x"}"#,
                r#"part: must be an object, not the text "x""#,
            ),
        ] {
            assert_eq!(refused(Codec::Json, body), expected);
        }
        let xml = refused(Codec::Xml, "<xml><id>seven</id></xml>");
        assert_eq!(xml, r#"id: must be a whole number, not the text "seven""#);
    }
}
