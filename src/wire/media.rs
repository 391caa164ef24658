//! Media types: the codec of a request's body, and the codec that the caller wants in the response.

use super::Error;

/// The format of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// `application/json`
    Json,
    /// `application/xml`, `text/xml`
    Xml,
}

impl Codec {
    /// The content type of a response.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=utf-8",
            Self::Xml => "application/xml; charset=utf-8",
        }
    }

    /// Parses `json` or `xml`, the words in requests. `None` for any other word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "json" => Some(Self::Json),
            "xml" => Some(Self::Xml),
            _ => None,
        }
    }

    fn of_media_type(media_type: &str) -> Option<Self> {
        let is = |name: &str| media_type.eq_ignore_ascii_case(name);
        match () {
            () if is("application/json") => Some(Self::Json),
            () if is("application/xml") || is("text/xml") => Some(Self::Xml),
            () => None,
        }
    }
}

/// The parameters of a media type, as pairs of name and value.
pub type Parameters<'a> = Vec<(&'a str, &'a str)>;

/// The media type of a `Content-Type` header and its parameters, without quotes. `None` if the
/// header is missing or empty.
#[must_use]
pub fn media_type(content_type: Option<&str>) -> Option<(&str, Parameters<'_>)> {
    let mut parts = content_type.unwrap_or_default().split(';').map(str::trim);
    let media_type = parts.next().filter(|it| !it.is_empty())?;
    let parameters = parts
        .filter_map(|it| it.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
        .collect();
    Some((media_type, parameters))
}

/// The codec of a `Content-Type` header. Its character set is not looked at.
///
/// # Errors
/// [`Error::UnsupportedMediaType`] if the header is missing or names another media type.
pub fn codec_of(content_type: Option<&str>) -> Result<Codec, Error> {
    media_type(content_type)
        .and_then(|(media_type, _)| Codec::of_media_type(media_type))
        .ok_or_else(|| {
            let given = content_type.unwrap_or_default();
            Error::UnsupportedMediaType(given.chars().take(80).collect())
        })
}

/// The codec that an `Accept` header prefers: of `application/json` and `application/xml` (or
/// `text/xml`) the one with the higher quality. If the header only refuses one of them, with
/// `q=0`, it is the other one. `None` if the header prefers neither.
#[must_use]
pub fn accepted(accept: &str) -> Option<Codec> {
    let quality_of = |codec: Codec| {
        let ranges = accept.split(',').filter_map(range);
        ranges
            .filter(|(named, _)| *named == codec)
            .map(|(_, quality)| quality)
            .max()
    };
    match (quality_of(Codec::Json), quality_of(Codec::Xml)) {
        (Some(json), Some(xml)) if json == xml => None,
        (Some(json), xml) if json > xml.unwrap_or(0) => Some(Codec::Json),
        (json, Some(xml)) if xml > json.unwrap_or(0) => Some(Codec::Xml),
        (Some(_), None) => Some(Codec::Xml),
        (None, Some(_)) => Some(Codec::Json),
        (None | Some(_), None | Some(_)) => None,
    }
}

/// The quality, in thousandths, of an item in a header such as `Accept` or `Accept-Encoding`: the
/// highest of those that `is_named` accepts by name. `None` if there is no such item, or if its
/// quality is not 0 to 1 with at most three decimals.
pub fn quality(list: &str, is_named: impl Fn(&str) -> bool) -> Option<u16> {
    let items = list.split(',').filter_map(|item| media_type(Some(item)));
    let named = items.filter(|(name, _)| is_named(name));
    named.filter_map(|(_, parameters)| q(&parameters)).max()
}

/// The codec and the quality in thousandths of one range of an `Accept` header. `None` if the
/// range names neither codec, or if its quality is not 0 to 1 with at most three decimals.
fn range(range: &str) -> Option<(Codec, u16)> {
    let (media_type, parameters) = media_type(Some(range))?;
    let codec = Codec::of_media_type(media_type)?;
    Some((codec, q(&parameters)?))
}

/// The quality, in thousandths, among the parameters of an item.
fn q(parameters: &Parameters<'_>) -> Option<u16> {
    let written = parameters
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("q"));
    match written {
        None => Some(1000),
        Some((_, text)) => thousandths(text),
    }
}

/// Reads a `qvalue` (RFC 9110, section 12.4.2) as thousandths.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_number = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let decimals: u16 = format!("{decimals:0<3}").parse().ok()?;
    match (whole, decimals) {
        ("0", _) if is_number => Some(decimals),
        ("1", 0) if is_number => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_is_compared_without_case() {
        for (content_type, codec) in [
            ("application/json", Codec::Json),
            ("Application/JSON; Charset=UTF-8", Codec::Json),
            ("application/xml;charset=\"utf-8\"", Codec::Xml),
            ("text/xml ; charset=iso-8859-1", Codec::Xml),
        ] {
            assert_eq!(codec_of(Some(content_type)), Ok(codec), "{content_type}");
        }
        for content_type in [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "json",
        ] {
            assert_eq!(
                codec_of(Some(content_type)),
                Err(Error::UnsupportedMediaType(content_type.to_owned())),
                "{content_type}"
            );
        }
        assert_eq!(
            codec_of(None),
            Err(Error::UnsupportedMediaType(String::new()))
        );
    }

    #[test]
    fn accept_prefers_the_higher_quality_and_q_0_refuses() {
        for (accept, expected) in [
            ("application/xml", Some(Codec::Xml)),
            ("APPLICATION/XML ; Q=0.1", Some(Codec::Xml)),
            (
                "text/html, text/xml;q=0.9, application/xml, */*;q=0.1",
                Some(Codec::Xml),
            ),
            ("application/json;q=1", Some(Codec::Json)),
            ("application/json;q=1.000", Some(Codec::Json)),
            ("application/json, application/xml", None),
            (
                "application/json;q=0.500, application/xml;q=0.501",
                Some(Codec::Xml),
            ),
            ("application/xml;q=0, application/json", Some(Codec::Json)),
            ("application/xml;q=0, */*", Some(Codec::Json)),
            ("application/json;q=0.000, */*", Some(Codec::Xml)),
            ("application/xml;q=0, application/json;q=0", None),
            // Neither is a quality, so neither range counts.
            ("application/xml;q=2, application/xml;q=0.1234", None),
            ("application/xml;q=, application/xml;q=1.001", None),
            ("*/*", None),
            ("text/*", None),
            ("", None),
        ] {
            assert_eq!(accepted(accept), expected, "{accept}");
        }
    }
}
