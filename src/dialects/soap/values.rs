//! The children of a request's element, read by their types. A missing child is accepted; a value
//! that does not fit its type is a fault.

use chrono_tz::Tz;

use super::codes::Fault;
use crate::dialects::dates::{self, Role};
use crate::domain::Time;

pub(super) const TOKEN: &str = "authToken";
pub(super) const ACCOUNT_ID: &str = "accountID";
pub(super) const EMAIL: &str = "email";
pub(super) const EXPIRY_DATE: &str = "expiryDate";
pub(super) const NAME: &str = "name";
pub(super) const PASSWORD: &str = "password";
pub(super) const PLAN_ID: &str = "planID";
pub(super) const SEND_EMAIL: &str = "sendEmail";
pub(super) const PAYMENT_URL: &str = "paymentUrl";
pub(super) const STATUS: &str = "status";
pub(super) const COMPANY_NAME: &str = "companyName";
pub(super) const LANGUAGE: &str = "Language";
pub(super) const NETWORK_DRIVE: &str = "enableNetworkDrive";
pub(super) const COMPUTERS_LIMIT: &str = "computersLimit";
pub(super) const IS_ENABLED: &str = "isEnabled";
pub(super) const PLAN_NAME: &str = "planName";
pub(super) const INSTANT_STORAGE: &str = "instantStorageGB";
pub(super) const COLD_STORAGE: &str = "coldStorageGB";
pub(super) const USERS: &str = "users";
pub(super) const SERVERS: &str = "servers";
pub(super) const PLAN_TYPE: &str = "type";
pub(super) const FREQUENCY: &str = "frequency";

/// The type of a child element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int,
    Boolean,
    DateTime,
    /// An int that the WSDL lets callers leave out: `PHP`'s client refuses to send a request
    /// without a member that the WSDL requires.
    OptionalInt,
    /// A boolean that the WSDL lets callers leave out.
    OptionalBoolean,
}

impl Kind {
    /// The type's name in XML Schema, and the element's `minOccurs`.
    pub(super) fn schema(self) -> (&'static str, u8) {
        match self {
            Self::Text => ("string", 0),
            Self::Int => ("int", 1),
            Self::Boolean => ("boolean", 1),
            Self::DateTime => ("dateTime", 1),
            Self::OptionalInt => ("int", 0),
            Self::OptionalBoolean => ("boolean", 0),
        }
    }
}

/// The values of one request.
#[derive(Debug)]
pub(super) struct Values {
    texts: Vec<(&'static str, String)>,
    numbers: Vec<(&'static str, i32)>,
    flags: Vec<(&'static str, bool)>,
    expiry: Expiry,
}

/// An expiry date, before the caller's time zone is known.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expiry {
    Missing,
    /// A valid xsd:dateTime whose year cannot be stored.
    OutOfRange,
    Written(String),
}

impl Values {
    /// Reads the children that an operation knows. Of repeated children the first counts. Unknown
    /// ones are ignored.
    pub(super) fn read(
        known: &'static [(&'static str, Kind)],
        children: &[(String, String)],
    ) -> Result<Self, Fault> {
        let mut values = Self {
            texts: Vec::new(),
            numbers: Vec::new(),
            flags: Vec::new(),
            expiry: Expiry::Missing,
        };
        for (name, kind) in known {
            let Some((_, text)) = children.iter().find(|(child, _)| child == name) else {
                continue;
            };
            let text = if *kind == Kind::Text {
                text.as_str()
            } else {
                text.trim()
            };
            let refuse = |what: &str| {
                Fault::Request(format!(
                    "{name} must be {what}, not '{}'",
                    text.chars().take(40).collect::<String>()
                ))
            };
            match kind {
                Kind::Int | Kind::OptionalInt => {
                    let number = text.parse().map_err(|_| refuse("an int"))?;
                    values.numbers.push((name, number));
                }
                Kind::Boolean | Kind::OptionalBoolean => {
                    let flag = match text {
                        "true" | "1" => true,
                        "false" | "0" => false,
                        _ => return Err(refuse("a boolean")),
                    };
                    values.flags.push((name, flag));
                }
                Kind::DateTime => {
                    values.expiry = expiry(text).ok_or_else(|| refuse("a dateTime"))?;
                }
                Kind::Text => values.texts.push((name, text.to_owned())),
            }
        }
        Ok(values)
    }

    /// A text. Empty if missing.
    pub(super) fn text(&self, name: &str) -> &str {
        self.texts
            .iter()
            .find(|(known, _)| *known == name)
            .map_or("", |(_, text)| text)
    }

    /// An int. `None` if missing.
    pub(super) fn given_number(&self, name: &str) -> Option<i32> {
        let found = self.numbers.iter().find(|(known, _)| *known == name);
        found.map(|(_, number)| *number)
    }

    /// An int. 0 if missing.
    pub(super) fn number(&self, name: &str) -> i32 {
        self.given_number(name).unwrap_or_default()
    }

    /// A boolean. False if missing.
    pub(super) fn flag(&self, name: &str) -> bool {
        let found = self.flags.iter().find(|(known, _)| *known == name);
        found.is_some_and(|(_, flag)| *flag)
    }

    /// The expiry date; a date without a zone is in `zone`. `None` if it is missing.
    ///
    /// # Errors
    /// `()` if the year cannot be stored.
    pub(super) fn expiry(&self, zone: Tz) -> Result<Option<Time>, ()> {
        match &self.expiry {
            Expiry::Missing => Ok(None),
            Expiry::OutOfRange => Err(()),
            Expiry::Written(text) => dates::parse(text, Role::End, zone)
                .map(Some)
                .map_err(|_| ()),
        }
    }
}

/// `None` if the text is neither an xsd:dateTime nor a date.
fn expiry(text: &str) -> Option<Expiry> {
    if text.is_empty() {
        return Some(Expiry::Missing);
    }
    if dates::Written::parse(text).is_ok() {
        return Some(Expiry::Written(text.to_owned()));
    }
    let (sign, year) = text
        .strip_prefix('-')
        .map_or(("", text), |rest| ("-", rest));
    let digits = year.chars().take_while(char::is_ascii_digit).count();
    let rest = year.get(digits..)?;
    let is_beyond = (sign == "-" && digits == 4) || digits > 4;
    (is_beyond && dates::Written::parse(&format!("2000{rest}")).is_ok())
        .then_some(Expiry::OutOfRange)
}
