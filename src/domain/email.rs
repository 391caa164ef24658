//! E-mail addresses, and when two of them are the same.

use std::fmt;
use std::hash::{Hash, Hasher};

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizer;
use idna::AsciiDenyList;

use super::text;
use super::{Error, Fact};

/// The maximum length of an address, in characters (RFC 5321, 4.5.3.1.3, without the brackets).
const MAX_EMAIL: usize = 254;

/// An e-mail address of at most 254 characters in Unicode normalization form C: text, one `@`,
/// text, without white space. Nothing checks whether mail arrives.
///
/// Equality compares the texts. Two addresses name the same mailbox if their keys are equal.
#[derive(Clone)]
pub struct Email {
    text: String,
    key: String,
}

impl Email {
    /// Reads an address that a caller wrote.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `email`.
    pub fn parse(written: &str) -> Result<Self, Error> {
        // Checked first as well, because normalizing takes time in proportion to the length.
        text::check_length("email", written, MAX_EMAIL)?;
        let email = Self::stored(written, None);
        text::check_length("email", &email.text, MAX_EMAIL)?;
        if is_well_formed(&email.text) && is_well_formed(&email.key) {
            Ok(email)
        } else {
            Err(Error::invalid(
                "email",
                "must be an e-mail address such as jo@example.com: text, one @, text, no white \
                 space",
            ))
        }
    }

    /// Wraps a stored address without checking it: it was accepted by the rules of its time. `key`
    /// is the key that is stored with it. `None` computes the key.
    #[must_use]
    pub fn stored(accepted: &str, key: Option<String>) -> Self {
        let text = ComposingNormalizer::new_nfc()
            .normalize(accepted)
            .into_owned();
        let key = key.unwrap_or_else(|| email_key(&text));
        Self { text, key }
    }

    /// Refuses invisible characters, and a dot at the end: the domain is the same without it.
    /// Separate from [`Email::parse`], so that an account can be found by an address, and keep one,
    /// that an earlier version accepted.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `email`, naming the character.
    pub(super) fn check_new(&self) -> Result<(), Error> {
        if self.text.ends_with('.') {
            return Err(Error::invalid("email", "must not end with a dot"));
        }
        match self.text.chars().find(|c| text::is_invisible(*c)) {
            Some(c) => Err(text::invisible("email", c)),
            None => Ok(()),
        }
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The key that the address is compared and stored by.
    #[must_use]
    pub fn key(&self) -> String {
        self.key.clone()
    }

    /// The keys by which an account with this address may be stored, the first one preferred.
    /// Earlier versions stored the address in lower case, at first without normalizing it, and such
    /// a key stays if the present one is another account's already.
    #[must_use]
    pub fn possible_keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for key in [
            self.text.to_lowercase(),
            nfkc(&nfkc(&self.text).to_lowercase()),
            email_key(&self.text),
            self.key(),
        ] {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }
}

/// The key of an address.
///
/// Of the part before the @ it is the normalization form KC with its case folded, in this form
/// again. Full width letters, ligatures and composed letters have the keys of the plain ones, and so
/// have a sharp s (ss) and a final sigma. Of the domain it is the form in ASCII that UTS 46 gives
/// it, because that is the name that mail is sent to: `b\u{fc}cher.example` is
/// `xn--bcher-kva.example`. A domain that has no such form is in lower case.
///
/// The key of an address in ASCII is its lower case.
#[must_use]
pub fn email_key(address: &str) -> String {
    let address = nfkc(address);
    let Some((local, domain)) = address.rsplit_once('@') else {
        return nfkc(&folded(&address));
    };
    format!("{}@{}", nfkc(&folded(local)), domain_key(domain))
}

fn folded(text: &str) -> String {
    CaseMapper::new().fold_string(text).into_owned()
}

fn nfkc(text: &str) -> String {
    ComposingNormalizer::new_nfkc().normalize(text).into_owned()
}

fn domain_key(domain: &str) -> String {
    if domain.is_ascii() {
        return domain.to_ascii_lowercase();
    }
    match idna::domain_to_ascii_cow(domain.as_bytes(), AsciiDenyList::EMPTY) {
        Ok(ascii) => ascii.into_owned(),
        Err(_) => nfkc(&domain.to_lowercase()),
    }
}

fn is_well_formed(address: &str) -> bool {
    let has_parts = address.rsplit_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !local.contains('@')
    });
    has_parts && !address.chars().any(char::is_whitespace)
}

impl PartialEq for Email {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Email {}

impl Hash for Email {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<&Email> for Fact {
    fn from(email: &Email) -> Self {
        Self::Text(email.as_str().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_kept_in_nfc_and_compared_by_their_nfkc_lower_case() {
        for (one, other) in [
            ("Jo@Example.com", "jo@example.COM"),
            ("Jose\u{301}@example.com", "JOS\u{c9}@example.com"),
            ("\u{fb01}n@example.com", "fin@example.com"),
            ("\u{ff4a}\u{ff4f}@example.com", "jo@example.com"),
            ("\u{210b}@example.com", "h@example.com"),
            ("jo@b\u{fc}cher.example", "jo@bu\u{308}cher.example"),
            ("\u{130}@example.com", "i\u{307}@example.com"),
            ("x\u{391}\u{3a3}@x.gr", "x\u{3b1}\u{3c3}@x.gr"),
            ("x\u{3b1}\u{3c2}@x.gr", "X\u{391}\u{3a3}@x.gr"),
            ("stra\u{df}e@example.com", "STRASSE@example.com"),
            ("stra\u{1e9e}e@example.com", "stra\u{df}e@example.com"),
            ("jo@b\u{fc}cher.example", "jo@xn--bcher-kva.example"),
            ("jo@B\u{dc}CHER.example", "jo@XN--BCHER-KVA.example"),
            (
                "jo@\u{ff42}\u{fc}cher\u{3002}example",
                "jo@b\u{fc}cher.example",
            ),
            ("jo@stra\u{df}e.example", "jo@xn--strae-oqa.example"),
        ] {
            let (one, other) = (Email::parse(one).unwrap(), Email::parse(other).unwrap());
            assert_eq!(one.key(), other.key());
            assert_eq!(
                email_key(&one.key()),
                one.key(),
                "keys of keys are the same"
            );
        }
        let decomposed = Email::parse("Jose\u{301}@example.com").unwrap();
        assert_eq!(decomposed.as_str(), "Jos\u{e9}@example.com");
        for (one, other) in [
            ("jos\u{e9}@example.com", "jose@example.com"),
            // Two domains, which may belong to two people.
            ("jo@stra\u{df}e.example", "jo@strasse.example"),
        ] {
            assert_ne!(email_key(one), email_key(other));
        }
    }

    #[test]
    fn every_character_has_a_key_that_is_its_own_key_and_ascii_keeps_its_lower_case() {
        for c in '\u{1}'..=char::MAX {
            for address in [
                format!("{c}@example.com"),
                format!("a{c}\u{345}\u{301}@example.com"),
            ] {
                let key = email_key(&address);
                assert_eq!(email_key(&key), key, "{address:?}");
                if address.is_ascii() {
                    assert_eq!(key, address.to_ascii_lowercase());
                }
            }
        }
        for ascii in [
            "Jo@Example.com",
            "jo@XN--BCHER-KVA.example",
            "jo@xn--999999999.example",
            "jo@xn--a.-b_c%",
            "jo@[IPv6:2001:DB8::1]",
            "jo@1.2.3",
        ] {
            assert_eq!(email_key(ascii), ascii.to_ascii_lowercase());
        }
        // No domain, but some version may have accepted it.
        assert_eq!(
            email_key("jo@\u{301}\u{dc}.example"),
            "jo@\u{301}\u{fc}.example"
        );
    }

    #[test]
    fn addresses_without_one_at_sign_or_with_white_space_are_refused() {
        for bad in [
            "",
            "jo",
            "@example.com",
            "jo@",
            "jo@jo@example.com",
            "jo\u{ff20}jo@example.com",
            "jo hn@example.com",
            "jo\u{a0}hn@example.com",
            "\u{a8}@example.com",
            "jo\u{7}@example.com",
            "jo\u{ffff}@example.com",
        ] {
            assert!(Email::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn an_address_with_an_invisible_character_is_not_taken_but_names_what_is_stored() {
        for c in [
            '\u{200b}',
            '\u{200d}',
            '\u{ad}',
            '\u{202e}',
            '\u{feff}',
            '\u{3164}',
            '\u{e0020}',
        ] {
            let email = Email::parse(&format!("j{c}o@example.com")).unwrap();
            assert_eq!(email.check_new(), Err(text::invisible("email", c)));
        }
        let dotted = Email::parse("jo@example.com.").unwrap().check_new();
        assert_eq!(
            dotted,
            Err(Error::invalid("email", "must not end with a dot"))
        );
        assert_eq!(Email::parse("jo@example.com").unwrap().check_new(), Ok(()));
    }
}
