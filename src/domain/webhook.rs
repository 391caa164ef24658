//! Webhook endpoints: what a reseller wants to be told, where, and how it is signed.

use uuid::Uuid;

use super::text::{self, MAX_LONG_TEXT, MAX_TEXT};
use super::{Error, Patch, ResellerId, Time};

/// What an endpoint gets unless it names events.
pub const UPDATED: &str = "account.updated";
/// What a test delivery is called.
pub const TEST: &str = "webhook.test";
/// Every event that can be subscribed to. Each change is `account.updated`; the others are finer.
pub const EVENTS: [&str; 15] = [
    UPDATED,
    "account.created",
    "account.deleted",
    "account.restored",
    "account.frozen",
    "account.unfrozen",
    "account.suspended",
    "account.unsuspended",
    "account.activated",
    "account.deactivated",
    "account.expiry_changed",
    "account.expiring",
    "account.expired",
    "account.purging",
    "account.purged",
];
/// The most endpoints of one reseller.
pub const MAX_ENDPOINTS: i64 = 50;

/// How deliveries are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureStyle {
    /// The headers of Standard Webhooks.
    Standard,
    /// `Webhook-Signature` over the body alone.
    Plain,
}

impl SignatureStyle {
    /// The word on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Plain => "plain",
        }
    }

    /// The style of a word, if it is one.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Standard, Self::Plain]
            .into_iter()
            .find(|it| it.as_str() == word)
    }
}

/// Why an endpoint gets nothing at the moment. It keeps its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuspendedBy {
    /// Its owner switched it off.
    Owner,
    /// It failed for days.
    Failures,
    /// It answered 410.
    Gone,
}

impl SuspendedBy {
    /// The word on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Failures => "failures",
            Self::Gone => "gone",
        }
    }

    /// The cause of a word, if it is one.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Owner, Self::Failures, Self::Gone]
            .into_iter()
            .find(|it| it.as_str() == word)
    }
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its identity.
    pub id: Uuid,
    /// Whose it is.
    pub reseller_id: ResellerId,
    /// Where deliveries go.
    pub url: String,
    /// For people.
    pub description: Option<String>,
    /// What it wants to be told, in the order of [`EVENTS`].
    pub events: Vec<String>,
    /// How deliveries are signed.
    pub style: SignatureStyle,
    /// Why it gets nothing, if so.
    pub suspended_by: Option<SuspendedBy>,
    /// One more with every change by its owner.
    pub revision: i64,
    /// The journal is delivered, or pending, up to this entry.
    pub position: i64,
    /// Since when nothing has succeeded, if the latest attempt failed.
    pub failing_since: Option<Time>,
    /// When a delivery last succeeded.
    pub last_success_at: Option<Time>,
    /// When it was made.
    pub created_at: Time,
    /// When its owner last changed it.
    pub updated_at: Time,
}

impl Endpoint {
    /// `Healthy`, `Unhealthy` while the latest attempt failed, or `Suspended`.
    #[must_use]
    pub fn health(&self) -> &'static str {
        match (self.suspended_by, self.failing_since) {
            (Some(_), _) => "Suspended",
            (None, Some(_)) => "Unhealthy",
            (None, None) => "Healthy",
        }
    }

    /// The names by which it wants to be told of an entry of the journal, given the entry's finer events.
    #[must_use]
    pub fn wants(&self, finer: &[String]) -> Vec<String> {
        self.events
            .iter()
            .filter(|name| *name == UPDATED || finer.contains(name))
            .cloned()
            .collect()
    }
}

/// A change of an endpoint; what is not mentioned stays.
#[derive(Debug, Clone, Default)]
pub struct EndpointPatch {
    /// Where deliveries go.
    pub url: Option<String>,
    /// For people.
    pub description: Patch<String>,
    /// What it wants to be told.
    pub events: Option<Vec<String>>,
    /// How deliveries are signed.
    pub style: Option<SignatureStyle>,
    /// Whether it gets deliveries; true also lifts what failures or 410 brought about.
    pub enabled: Option<bool>,
}

impl EndpointPatch {
    /// Edits an endpoint; says whether anything changed.
    ///
    /// # Errors
    /// [`Error::InvalidField`].
    pub fn over(&self, endpoint: &mut Endpoint, allow_http: bool) -> Result<bool, Error> {
        let before = endpoint.clone();
        if let Some(url) = &self.url {
            endpoint.url = Self::target(url, allow_http)?;
        }
        if let Some(description) = self.description.value() {
            text::check("description", description, MAX_TEXT)?;
        }
        endpoint.description = self.description.over(endpoint.description.as_ref());
        if let Some(events) = &self.events {
            if let Some(unknown) = events.iter().find(|name| !EVENTS.contains(&name.as_str())) {
                return Err(Error::invalid("events", format!("{unknown:?} is no event")));
            }
            endpoint.events = EVENTS
                .iter()
                .filter(|name| events.iter().any(|wanted| wanted == *name))
                .map(|name| (*name).to_owned())
                .collect();
            if endpoint.events.is_empty() {
                return Err(Error::invalid("events", "must name at least one event"));
            }
        }
        endpoint.style = self.style.unwrap_or(endpoint.style);
        match self.enabled {
            // A new start.
            Some(true) if endpoint.suspended_by.take().is_some() => endpoint.failing_since = None,
            Some(false) => {
                endpoint.suspended_by = endpoint.suspended_by.or(Some(SuspendedBy::Owner));
            }
            Some(true) | None => {}
        }
        Ok(*endpoint != before)
    }

    /// An absolute https URL (http where that is allowed), without user info, of at most 2048 characters, also as it is kept.
    ///
    /// # Errors
    /// [`Error::InvalidField`].
    pub fn target(written: &str, allow_http: bool) -> Result<String, Error> {
        text::check("url", written, MAX_LONG_TEXT)?;
        let refuse = |problem: &str| Error::invalid("url", problem);
        let url = text::read_url("url", written, "must be an absolute URL")?;
        let is_allowed = url.scheme() == "https" || (allow_http && url.scheme() == "http");
        if !is_allowed || url.host_str().is_none_or(str::is_empty) {
            return Err(refuse(if allow_http {
                "must be an absolute https or http URL"
            } else {
                "must be an absolute https URL"
            }));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("must not have user info"));
        }
        // As it is kept: what is not ASCII takes more room there.
        text::check("url", url.as_str(), MAX_LONG_TEXT)?;
        Ok(url.into())
    }
}

/// Accepts a secret that a caller brings along: for the standard style `whsec_` and the base64 of 24 to 64 bytes, for the
/// plain style 16 to 255 visible characters.
///
/// # Errors
/// [`Error::InvalidField`] for `secret`.
pub fn check_secret(style: SignatureStyle, secret: &str) -> Result<(), Error> {
    match style {
        SignatureStyle::Standard => {
            let decoded = secret
                .strip_prefix("whsec_")
                .and_then(|encoded| data_encoding::BASE64.decode(encoded.as_bytes()).ok());
            if decoded.is_some_and(|bytes| (24..=64).contains(&bytes.len())) {
                return Ok(());
            }
            Err(Error::invalid(
                "secret",
                "must be whsec_ and the base64 of 24 to 64 bytes",
            ))
        }
        SignatureStyle::Plain => {
            let is_fit = (16..=255).contains(&secret.len())
                && secret.bytes().all(|byte| byte.is_ascii_graphic());
            if is_fit {
                Ok(())
            } else {
                Err(Error::invalid(
                    "secret",
                    "must be 16 to 255 visible characters",
                ))
            }
        }
    }
}

/// The identity of a message: of one event by one of its names. The same for every attempt at it, and for whoever pulls it.
#[must_use]
pub fn message_id(event_id: i64, event: &str) -> String {
    format!(
        "evt_{event_id}_{}",
        event.rsplit('.').next().unwrap_or(event)
    )
}
