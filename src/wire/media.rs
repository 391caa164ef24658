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

/// The media type of a `Content-Type` header and its parameters, without quotes.
///
/// # Errors
/// [`Error::UnsupportedMediaType`] if the header is missing or names a character set other than
/// UTF-8.
pub fn media_type(content_type: Option<&str>) -> Result<(&str, Parameters<'_>), Error> {
    let mut parts = content_type.unwrap_or_default().split(';').map(str::trim);
    let media_type = parts
        .next()
        .filter(|it| !it.is_empty())
        .ok_or(Error::UnsupportedMediaType)?;
    let parameters: Parameters<'_> = parts
        .filter_map(|it| it.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
        .collect();
    let is_utf8 =
        |value: &str| value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8");
    let mut charsets = parameters
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("charset"));
    if charsets.all(|(_, value)| is_utf8(value)) {
        Ok((media_type, parameters))
    } else {
        Err(Error::UnsupportedMediaType)
    }
}

/// The codec of a `Content-Type` header.
///
/// # Errors
/// [`Error::UnsupportedMediaType`] if the header is missing, or names another media type or a
/// character set other than UTF-8.
pub fn codec_of(content_type: Option<&str>) -> Result<Codec, Error> {
    let (media_type, _) = media_type(content_type)?;
    Codec::of_media_type(media_type).ok_or(Error::UnsupportedMediaType)
}

/// The codec that an `Accept` header names. `None` if it names both or neither.
#[must_use]
pub fn accepted(accept: &str) -> Option<Codec> {
    let mut named = accept.split(',').filter_map(|range| {
        Codec::of_media_type(range.split(';').next().unwrap_or_default().trim())
    });
    let first = named.next()?;
    named.all(|other| other == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_is_compared_without_case_and_only_utf8_is_read() {
        for (content_type, codec) in [
            ("application/json", Codec::Json),
            ("Application/JSON; Charset=UTF-8", Codec::Json),
            ("application/xml;charset=\"utf-8\"", Codec::Xml),
            ("text/xml ; charset=utf8", Codec::Xml),
        ] {
            assert_eq!(codec_of(Some(content_type)), Ok(codec), "{content_type}");
        }
        for content_type in [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "application/json; charset=latin1",
            "json",
        ] {
            assert_eq!(
                codec_of(Some(content_type)),
                Err(Error::UnsupportedMediaType),
                "{content_type}"
            );
        }
        assert_eq!(codec_of(None), Err(Error::UnsupportedMediaType));
    }

    #[test]
    fn accept_decides_only_when_it_names_exactly_one() {
        assert_eq!(accepted("application/xml"), Some(Codec::Xml));
        assert_eq!(
            accepted("text/html, text/xml;q=0.9, application/xml, */*;q=0.1"),
            Some(Codec::Xml)
        );
        assert_eq!(accepted("application/json;q=1"), Some(Codec::Json));
        assert_eq!(accepted("application/json, application/xml"), None);
        assert_eq!(accepted("*/*"), None);
    }
}
