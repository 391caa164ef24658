//! The spelling of paths.

use std::borrow::Cow;

/// The path in the form that the routes have: slashes merged, and escapes of unreserved characters
/// (RFC 3986, section 2.3) decoded.
pub(crate) fn plain(path: &str) -> Cow<'_, str> {
    if path.contains("//") {
        Cow::Owned(respelled(path, true))
    } else {
        decoded(path)
    }
}

/// The path with escapes of unreserved characters decoded, and its slashes as they are.
pub(crate) fn decoded(path: &str) -> Cow<'_, str> {
    if path.contains('%') {
        Cow::Owned(respelled(path, false))
    } else {
        Cow::Borrowed(path)
    }
}

fn respelled(path: &str, merges_slashes: bool) -> String {
    let is_hex = |digits: &&str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(c) = rest.chars().next() {
        let escaped = rest.get(1..3).filter(|_| c == '%').filter(is_hex);
        let escaped = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let unreserved = escaped
            .map(char::from)
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~'));
        let (c, length) = unreserved.map_or((c, c.len_utf8()), |c| (c, 3));
        if !(merges_slashes && c == '/' && plain.ends_with('/')) {
            plain.push(c);
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_are_merged_and_unreserved_characters_decoded() {
        for (path, expected) in [
            (
                "/api/v1.1/admin/accounts/get",
                "/api/v1.1/admin/accounts/get",
            ),
            (
                "/api/v1.1//admin///accounts/get/",
                "/api/v1.1/admin/accounts/get/",
            ),
            ("//api/v1%2E1/%61dmin/%7e", "/api/v1.1/admin/~"),
            // Reserved and other characters stay escaped, as do escapes that are none.
            ("/a%2Fb%2f/%3F%25%20%zz%4", "/a%2Fb%2f/%3F%25%20%zz%4"),
            ("/%+41", "/%+41"),
            ("/\u{e9}%\u{e9}", "/\u{e9}%\u{e9}"),
            ("", ""),
        ] {
            assert_eq!(plain(path), expected, "{path}");
        }
        assert_eq!(decoded("/v3//%61ccounts/%2F"), "/v3//accounts/%2F");
    }
}
