//! The rows that a transaction may touch.

use std::collections::BTreeSet;

use crate::domain::ResellerId;

/// The rows that a transaction may touch. The policies of row level security read it from settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenancy {
    /// The rows of these resellers.
    Resellers(BTreeSet<ResellerId>),
    /// The rows of every reseller, for reads by the operator and for background jobs.
    Platform,
    /// Only the credentials with these SHA-256 hashes, to find out who makes a request.
    Credentials(Vec<[u8; 32]>),
}

impl Tenancy {
    /// The rows of one reseller.
    #[must_use]
    pub fn of(reseller: ResellerId) -> Self {
        Self::Resellers(BTreeSet::from([reseller]))
    }

    /// The values of the settings `steward.resellers` and `steward.scope`. `None` for credentials.
    pub(super) fn settings(&self) -> Option<(String, &'static str)> {
        match self {
            Self::Resellers(ids) => Some((list_of(ids), "")),
            Self::Platform => Some((String::new(), "platform")),
            Self::Credentials(_) => None,
        }
    }

    /// The statement that writes the settings. Its text consists of digits and constants only.
    pub(super) fn statement(&self) -> String {
        match self {
            Self::Resellers(ids) => format!(
                "select set_config('steward.resellers', '{}', true)",
                list_of(ids)
            ),
            Self::Platform => "select set_config('steward.scope', 'platform', true)".to_owned(),
            Self::Credentials(hashes) => {
                let hashes: Vec<_> = hashes
                    .iter()
                    .map(|hash| data_encoding::HEXLOWER.encode(hash))
                    .collect();
                // A look-up may have used the connection before; it leaves its resellers in the
                // setting.
                format!(
                    "select set_config('steward.resellers', '', true),
                       set_config('steward.token_hash', '{}', true)",
                    hashes.join(",")
                )
            }
        }
    }
}

/// The resellers in the form that the policies read.
pub(super) fn list_of(resellers: &BTreeSet<ResellerId>) -> String {
    let ids: Vec<_> = resellers.iter().map(ToString::to_string).collect();
    ids.join(",")
}
