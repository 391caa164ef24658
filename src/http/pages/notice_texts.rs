//! The texts of the notice page in English and German.

use chrono::Datelike as _;

use crate::domain::{Block, Level, Time};

/// A language that the page is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    English,
    German,
}

impl Language {
    /// The best language for an `Accept-Language` header; English if the header names no language
    /// here.
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
        // The first of several with the same quality.
        weighed
            .fold(None, |best: Option<(Self, f32)>, next| {
                best.filter(|best| best.1 >= next.1).or(Some(next))
            })
            .map_or(Self::English, |best| best.0)
    }

    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// The heading for the most important block. `None` means that nothing blocks the account.
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

    /// The sentence that tells the user what to do.
    /// The heading for an account that nothing blocks, and that is limited, or whose user is warned.
    pub(super) fn milder_heading(self, level: Level) -> &'static str {
        match (self, level) {
            (Self::English, Level::Limit) => "This account is read-only for now",
            (Self::English, Level::Warn | Level::Block) => "This account needs your attention",
            (Self::German, Level::Limit) => "Dieses Konto kann vorerst nur gelesen werden",
            (Self::German, Level::Warn | Level::Block) => {
                "Dieses Konto braucht Ihre Aufmerksamkeit"
            }
        }
    }

    pub(super) fn advice(self, advice: Advice) -> &'static str {
        match (self, advice) {
            (Self::English, Advice::NotBlocked) => "Nothing keeps you from using it.",
            (Self::English, Advice::PayInTime) => {
                "A payment is due. Until it is late, you can use the account."
            }
            (Self::English, Advice::PayToWrite) => {
                "You can read what is there. Everything else is possible again once the payment has arrived."
            }
            (Self::English, Advice::Pay) => "It can be used again once the payment has arrived.",
            (Self::English, Advice::ContactProvider) => "Please contact your provider.",
            (Self::English, Advice::Renew) => "To go on using it, renew it with your provider.",
            (Self::English, Advice::CheckLink) => {
                "There is no account at this address. Please check the link."
            }
            (Self::English, Advice::TryLater) => {
                "We cannot check this account right now. Please try again in a minute."
            }
            (Self::German, Advice::NotBlocked) => "Sie können es ohne Einschränkung benutzen.",
            (Self::German, Advice::PayInTime) => {
                "Eine Zahlung ist fällig. Vorerst können Sie das Konto weiter benutzen."
            }
            (Self::German, Advice::PayToWrite) => {
                "Sie können lesen, was da ist. Sobald die Zahlung eingegangen ist, geht auch alles andere wieder."
            }
            (Self::German, Advice::Pay) => {
                "Sobald die Zahlung eingegangen ist, können Sie es wieder benutzen."
            }
            (Self::German, Advice::ContactProvider) => "Bitte wenden Sie sich an Ihren Anbieter.",
            (Self::German, Advice::Renew) => {
                "Um es weiter zu benutzen, verlängern Sie es bei Ihrem Anbieter."
            }
            (Self::German, Advice::CheckLink) => {
                "Unter dieser Adresse gibt es kein Konto. Bitte prüfen Sie den Link."
            }
            (Self::German, Advice::TryLater) => {
                "Wir können dieses Konto gerade nicht prüfen. Bitte versuchen Sie es in einer Minute noch einmal."
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

    /// The time at which the block ends.
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

/// What the user can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advice {
    NotBlocked,
    /// Warned by a freeze: paying in time keeps the account usable.
    PayInTime,
    /// Limited by a freeze: paying ends that.
    PayToWrite,
    Pay,
    ContactProvider,
    Renew,
    CheckLink,
    TryLater,
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
    fn the_language_follows_the_accept_language_header() {
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
    fn dates_have_the_name_of_the_month() {
        let at = "2026-03-05T07:08:09Z".parse().unwrap_or_default();
        assert_eq!(Language::English.until(at), "Until 5 March 2026, 07:08 UTC");
        assert_eq!(Language::German.until(at), "Bis 5. März 2026, 07:08 UTC");
    }
}
