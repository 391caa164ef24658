//! Character sets: bodies in any that the Encoding Standard knows become UTF-8.
//!
//! The byte order mark decides, else the `charset` of the `Content-Type` header, else the encoding
//! in an XML declaration, else it is UTF-8 (RFC 7303, section 3). `ISO-8859-1` means Windows-1252,
//! as in every browser.

use encoding_rs::{Encoding, REPLACEMENT, UTF_8};

use super::{Codec, Error, media_type};

/// An XML declaration ends within this many bytes, or it is not looked at.
const DECLARATION: usize = 256;

/// The character set that the header names, if it is not UTF-8.
#[must_use]
pub fn other_charset(content_type: Option<&str>) -> Option<String> {
    let is_other = |name: &&str| Encoding::for_label(name.as_bytes()) != Some(UTF_8);
    charsets(content_type).find(is_other).map(shortened)
}

/// The body in UTF-8. `None` if it is in UTF-8 already. An XML declaration names UTF-8 afterwards.
///
/// # Errors
/// [`Error::UnknownCharset`]; [`Error::Malformed`] if the body is not text in its character set.
pub fn to_utf8(
    codec: Codec,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Option<Vec<u8>>, Error> {
    let declared = match codec {
        Codec::Json => None,
        Codec::Xml => declared_encoding(body),
    };
    let named = charsets(content_type).next().or(declared.map(|it| it.name));
    let marked = Encoding::for_bom(body).map(|(encoding, _)| encoding);
    let encoding = match (marked, named) {
        (Some(marked), _) => marked,
        (None, None) => UTF_8,
        (None, Some(name)) => known(name)?,
    };
    if encoding == UTF_8 {
        let is_declared = declared.is_none_or(|it| it.name.eq_ignore_ascii_case("utf-8"));
        return Ok((!is_declared)
            .then(|| declaring_utf8(String::from_utf8(body.to_vec()).ok()?))
            .flatten()
            .map(String::into_bytes));
    }
    let (text, had_errors) = encoding.decode_with_bom_removal(body);
    if had_errors {
        let problem = format!("not valid {}", encoding.name());
        return Err(Error::document(problem));
    }
    let text = text.into_owned();
    let text = match codec {
        Codec::Json => text,
        Codec::Xml => declaring_utf8(text.clone()).unwrap_or(text),
    };
    Ok(Some(text.into_bytes()))
}

/// The encoding with this label.
fn known(name: &str) -> Result<&'static Encoding, Error> {
    Encoding::for_label(name.as_bytes())
        // The Encoding Standard's stand-in for encodings that are unsafe to decode.
        .filter(|encoding| *encoding != REPLACEMENT)
        .ok_or_else(|| Error::UnknownCharset(shortened(name)))
}

/// The beginning of a name, for a message.
fn shortened(name: &str) -> String {
    name.chars().take(40).collect()
}

/// The values of the `charset` parameters.
fn charsets(content_type: Option<&str>) -> impl Iterator<Item = &str> {
    let parameters = media_type(content_type).map(|(_, parameters)| parameters);
    parameters
        .unwrap_or_default()
        .into_iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("charset"))
        .map(|(_, value)| value)
}

/// The encoding in an XML declaration.
#[derive(Debug, Clone, Copy)]
struct Declared<'a> {
    name: &'a str,
    /// The position of the name in the document, in bytes.
    at: usize,
}

/// Finds the encoding in an XML declaration that is written in ASCII characters. `None` if there is
/// no declaration, or if it names no encoding.
fn declared_encoding(document: &[u8]) -> Option<Declared<'_>> {
    let head = document.get(..document.len().min(DECLARATION))?;
    let end = head.windows(2).position(|pair| pair == b"?>")?;
    let head = head.get(..end)?;
    let ascii = head.iter().take_while(|byte| byte.is_ascii()).count();
    let head = std::str::from_utf8(head.get(..ascii)?).ok()?;
    let start = head.find("<?xml")?;
    if !head.get(..start)?.trim().is_empty() {
        return None;
    }
    let name = start + head.get(start..)?.find("encoding")? + "encoding".len();
    let rest = head.get(name..)?;
    let quote = rest.find(['"', '\''])?;
    if rest.get(..quote)?.trim() != "=" {
        return None;
    }
    let mark = rest.get(quote..)?.chars().next()?;
    let at = name + quote + 1;
    let value = head.get(at..)?;
    Some(Declared {
        name: value.get(..value.find(mark)?)?,
        at,
    })
}

/// The document with UTF-8 in its declaration. `None` if its declaration names no encoding.
fn declaring_utf8(mut document: String) -> Option<String> {
    let declared = declared_encoding(document.as_bytes())?;
    let range = declared.at..declared.at + declared.name.len();
    document.replace_range(range, "utf-8");
    Some(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(codec: Codec, content_type: &str, body: &[u8]) -> Result<String, String> {
        to_utf8(codec, Some(content_type), body)
            .map(|text| String::from_utf8(text.unwrap_or_else(|| body.to_vec())).unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_mark_decides_then_the_header_then_the_declaration() {
        let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><xml><name>J\xf6rg</name></xml>";
        let expected = "<?xml version='1.0' encoding='utf-8'?><xml><name>J\u{f6}rg</name></xml>";
        assert_eq!(read(Codec::Xml, "text/xml", latin), Ok(expected.to_owned()));
        let header = "text/xml; charset=\"ISO-8859-1\"";
        assert_eq!(read(Codec::Xml, header, latin), Ok(expected.to_owned()));
        // The header says UTF-8, whatever the declaration says.
        let utf8 = "<?xml version='1.0' encoding='ISO-8859-1'?><xml><name>J\u{f6}rg</name></xml>";
        let header = "text/xml; charset=utf-8";
        let read_utf8 = read(Codec::Xml, header, utf8.as_bytes());
        assert_eq!(read_utf8, Ok(expected.to_owned()));
        // UTF-16 with a byte order mark, which wins over the header.
        let utf16: Vec<u8> = "\u{feff}{\"name\":\"J\u{f6}rg\"}"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let json = Ok("{\"name\":\"J\u{f6}rg\"}".to_owned());
        assert_eq!(read(Codec::Json, "application/json", &utf16), json);
        let header = "application/json; charset=iso-8859-1";
        assert_eq!(read(Codec::Json, header, &utf16), json);
        let latin = b"{\"name\":\"J\xf6rg\"}";
        assert_eq!(read(Codec::Json, header, latin), json);
        // Only XML has declarations.
        let odd = "{\"a\":\"<?xml encoding='x'?>\"}";
        let read_odd = read(Codec::Json, "application/json", odd.as_bytes());
        assert_eq!(read_odd, Ok(odd.to_owned()));
    }

    #[test]
    fn unknown_character_sets_and_malformed_bytes_are_refused() {
        for (header, body, expected) in [
            (
                "text/xml; charset=utf-7",
                b"<xml/>".as_slice(),
                "unknown character set utf-7",
            ),
            (
                "text/xml; charset=iso-2022-kr",
                b"<xml/>",
                "unknown character set iso-2022-kr",
            ),
            (
                "text/xml",
                b"<?xml version='1.0' encoding='klingon'?><xml/>",
                "unknown character set klingon",
            ),
            (
                "text/xml; charset=shift_jis",
                b"<xml>\xff</xml>",
                "not valid Shift_JIS",
            ),
        ] {
            assert_eq!(read(Codec::Xml, header, body), Err(expected.to_owned()));
        }
        let other = |content_type| other_charset(Some(content_type));
        assert_eq!(other("text/xml; charset=UTF8"), None);
        assert_eq!(other("text/xml"), None);
        assert_eq!(other("text/xml; charset=latin1"), Some("latin1".to_owned()));
        assert_eq!(other("a/b; charset=x"), Some("x".to_owned()));
    }
}
