//! Owners of holds: which part of an authority's staff or automation a hold belongs to.

use std::fmt;

use super::Error;

/// The longest name of an owner, in characters.
pub const MAX_OWNER: usize = 40;

/// The name of an owner, such as `billing` or `abuse-desk`: 1 to 40 lower-case letters, digits and
/// hyphens, with a letter or a digit at both ends.
///
/// Holds of one authority with different owners stand side by side, so that the billing robot
/// cannot lift what the abuse desk placed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(String);

impl Owner {
    /// # Errors
    /// [`Error::InvalidField`] for `field`, which is the name that the caller gave the value.
    pub fn parse(field: &'static str, written: &str) -> Result<Self, Error> {
        let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let is_owner = written.len() <= MAX_OWNER
            && written.chars().all(|c| is_letter(c) || c == '-')
            && written.starts_with(is_letter)
            && written.ends_with(is_letter);
        if is_owner {
            Ok(Self(written.to_owned()))
        } else {
            Err(Error::must_be(
                field,
                "1 to 40 lower-case letters, digits and hyphens, such as abuse-desk",
                written,
            ))
        }
    }

    /// Wraps a stored name without checking it.
    #[must_use]
    pub fn stored(accepted: String) -> Self {
        Self(accepted)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_a_short_slug() {
        let longest = "a".repeat(MAX_OWNER);
        for good in ["billing", "abuse-desk", "a", "2nd-level", &longest] {
            assert_eq!(
                Owner::parse("owner", good).map(|owner| owner.to_string()),
                Ok(good.to_owned())
            );
        }
        let too_long = "a".repeat(MAX_OWNER + 1);
        for bad in [
            "",
            "-",
            "Billing",
            "abuse desk",
            "-a",
            "a-",
            "a_b",
            "caf\u{e9}",
            "a:b",
            &too_long,
        ] {
            assert!(
                matches!(
                    Owner::parse("owner", bad),
                    Err(Error::InvalidField { field: "owner", .. })
                ),
                "{bad:?} was accepted"
            );
        }
    }
}
