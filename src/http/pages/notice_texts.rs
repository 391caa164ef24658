//! What the page says, in the languages it speaks.

use chrono::Datelike as _;

use crate::domain::{Block, Time};

/// A language of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    English,
    German,
}

impl Language {
    /// The language that a reader prefers, as `Accept-Language` says it; English if none of ours is named.
    pub(super) fn preferred(accepted: Option<&str>) -> Self {
        let weighed = accepted.unwrap_or_default().split(',').filter_map(|part| {
            let mut parameters = part.split(';');
            let tag = parameters.next()?.trim().to_ascii_lowercase();
            let quality = parameters
                .find_map(|parameter| {
                    parameter
                        .trim()
                        .strip_prefix("q=")?
                        .trim()
                        .parse::<f32>()
                        .ok()
                })
                .unwrap_or(1.0);
            let language = match tag.split('-').next()? {
                "de" => Self::German,
                "en" | "*" => Self::English,
                _ => return None,
            };
            (quality > 0.0).then_some((language, quality))
        });
        // Of two that are wanted as much, the first.
        weighed
            .fold(None, |best: Option<(Self, f32)>, one| {
                best.filter(|best| best.1 >= one.1).or(Some(one))
            })
            .map_or(Self::English, |best| best.0)
    }

    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// What stands above everything.
    pub(super) fn heading(self, block: Option<Block>) -> &'static str {
        match (self, block) {
            (Self::English, None) => "This account is active",
            (Self::English, Some(Block::Deleted)) => "This account has been closed",
            (
                Self::English,
                Some(
                    Block::SuspendedByOperator
                    | Block::ResellerSuspended
                    | Block::SuspendedByReseller,
                ),
            ) => "This account is suspended",
            (Self::English, Some(Block::Inactive)) => "This account is switched off",
            (Self::English, Some(Block::Frozen)) => "A payment is due for this account",
            (Self::English, Some(Block::Expired)) => "This account has expired",
            (Self::German, None) => "Dieses Konto ist aktiv",
            (Self::German, Some(Block::Deleted)) => "Dieses Konto wurde geschlossen",
            (
                Self::German,
                Some(
                    Block::SuspendedByOperator
                    | Block::ResellerSuspended
                    | Block::SuspendedByReseller,
                ),
            ) => "Dieses Konto ist gesperrt",
            (Self::German, Some(Block::Inactive)) => "Dieses Konto ist abgeschaltet",
            (Self::German, Some(Block::Frozen)) => "Für dieses Konto ist eine Zahlung offen",
            (Self::German, Some(Block::Expired)) => "Dieses Konto ist abgelaufen",
        }
    }

    /// What its user can do.
    pub(super) fn advice(self, advice: Advice) -> &'static str {
        match (self, advice) {
            (Self::English, Advice::Nothing) => "Nothing keeps you from using it.",
            (Self::English, Advice::Pay) => "It can be used again once the payment has arrived.",
            (Self::English, Advice::Ask) => "Please contact your provider.",
            (Self::English, Advice::Renew) => "To go on using it, renew it with your provider.",
            (Self::English, Advice::Unknown) => {
                "There is no account at this address. Please check the link."
            }
            (Self::English, Advice::Later) => {
                "We cannot tell at the moment. Please try again in a minute."
            }
            (Self::German, Advice::Nothing) => "Sie können es ohne Einschränkung benutzen.",
            (Self::German, Advice::Pay) => {
                "Sobald die Zahlung eingegangen ist, können Sie es wieder benutzen."
            }
            (Self::German, Advice::Ask) => "Bitte wenden Sie sich an Ihren Anbieter.",
            (Self::German, Advice::Renew) => {
                "Um es weiter zu benutzen, verlängern Sie es bei Ihrem Anbieter."
            }
            (Self::German, Advice::Unknown) => {
                "Unter dieser Adresse gibt es kein Konto. Bitte prüfen Sie den Link."
            }
            (Self::German, Advice::Later) => {
                "Das lässt sich gerade nicht sagen. Bitte versuchen Sie es in einer Minute noch einmal."
            }
        }
    }

    pub(super) fn pay(self) -> &'static str {
        match self {
            Self::English => "Go to payment",
            Self::German => "Zur Zahlung",
        }
    }

    pub(super) fn nothing_found(self) -> &'static str {
        match self {
            Self::English => "Not found",
            Self::German => "Nicht gefunden",
        }
    }

    pub(super) fn unavailable(self) -> &'static str {
        match self {
            Self::English => "Please try again",
            Self::German => "Bitte noch einmal versuchen",
        }
    }

    /// Until when it is blocked, if it ends by itself.
    pub(super) fn until(self, at: Time) -> String {
        let month = usize::try_from(at.month0()).unwrap_or_default();
        let clock = at.format("%H:%M UTC");
        match self {
            Self::English => format!(
                "Until {} {} {}, {clock}",
                at.day(),
                MONTHS.get(month).unwrap_or(&""),
                at.year()
            ),
            Self::German => format!(
                "Bis {}. {} {}, {clock}",
                at.day(),
                MONATE.get(month).unwrap_or(&""),
                at.year()
            ),
        }
    }
}

/// What its user can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advice {
    Nothing,
    Pay,
    Ask,
    Renew,
    Unknown,
    Later,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const MONATE: [&str; 12] = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_readers() {
        let cases = [
            (None, "en"),
            (Some(""), "en"),
            (Some("de"), "de"),
            (Some("de-AT, en;q=0.8"), "de"),
            (Some("fr, en;q=0.3, de;q=0.5"), "de"),
            (Some("fr;q=1, *;q=0.1"), "en"),
            (Some("de;q=0, en;q=0.1"), "en"),
            (Some("de;q=0.5, en;q=0.5"), "de"),
            (Some("de;q=x;;,,"), "de"),
        ];
        for (accepted, tag) in cases {
            assert_eq!(Language::preferred(accepted).tag(), tag, "{accepted:?}");
        }
    }

    #[test]
    fn dates_are_written_out() {
        let at = "2026-03-05T07:08:09Z".parse().unwrap_or_default();
        assert_eq!(Language::English.until(at), "Until 5 March 2026, 07:08 UTC");
        assert_eq!(Language::German.until(at), "Bis 5. März 2026, 07:08 UTC");
    }
}
