//! Webhook endpoints: which events go to which URL, and how the requests are signed.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use url::Url;
use uuid::Uuid;

use super::text::{self, MAX_LONG_TEXT, MAX_TEXT};
use super::{Error, Patch, ResellerId, Time, is_public};

/// The event that every change has. Endpoints that name no events subscribe to it.
pub const UPDATED: &str = "account.updated";
/// The event name of test deliveries.
pub const TEST: &str = "webhook.test";
/// Every event that an endpoint can subscribe to. Each change is `account.updated`, and may have
/// specific events besides.
pub const EVENTS: [&str; 16] = [
    UPDATED,
    "account.created",
    "account.deleted",
    "account.restored",
    "account.frozen",
    "account.unfrozen",
    "account.suspended",
    "account.unsuspended",
    "account.hold_scheduled",
    "account.activated",
    "account.deactivated",
    "account.expiry_changed",
    "account.expiring",
    "account.expired",
    "account.purging",
    "account.purged",
];
/// The maximum number of endpoints of one reseller.
pub const MAX_ENDPOINTS: i64 = 50;

/// How deliveries are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureStyle {
    /// Headers as in the Standard Webhooks specification.
    Standard,
    /// `Webhook-Signature` over the body alone, as in the `v3` original.
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

    /// Parses a word of [`SignatureStyle::as_str`]. `None` for any other word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Standard, Self::Plain]
            .into_iter()
            .find(|it| it.as_str() == word)
    }
}

/// Why an endpoint gets no deliveries at the moment. It keeps its position in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuspendedBy {
    /// Its owner switched it off.
    Owner,
    /// Every attempt has failed for days.
    Failures,
    /// The receiver answered 410 (Gone).
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

    /// Parses a word of [`SuspendedBy::as_str`]. `None` for any other word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Owner, Self::Failures, Self::Gone]
            .into_iter()
            .find(|it| it.as_str() == word)
    }
}

/// A webhook endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its identity.
    pub id: Uuid,
    /// The reseller that owns it.
    pub reseller_id: ResellerId,
    /// The name that its owner gave it.
    pub name: Option<String>,
    /// The URL that deliveries are sent to.
    pub url: String,
    /// A description for people.
    pub description: Option<String>,
    /// The events that it subscribes to, in the order of [`EVENTS`].
    pub events: Vec<String>,
    /// How deliveries are signed.
    pub style: SignatureStyle,
    /// Why it gets no deliveries. `None` if it gets them.
    pub suspended_by: Option<SuspendedBy>,
    /// Increased by 1 with every change by its owner.
    pub revision: i64,
    /// The journal entry up to which everything is delivered or stored as pending.
    pub position: i64,
    /// Since when every attempt has failed. `None` if the latest attempt succeeded.
    pub failing_since: Option<Time>,
    /// When a delivery last succeeded. `None` if none has.
    pub last_success_at: Option<Time>,
    /// When it was created.
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

    /// The subscribed events among those of one journal entry, given the entry's specific events.
    #[must_use]
    pub fn wants(&self, specific: &[String]) -> Vec<String> {
        self.events
            .iter()
            .filter(|name| *name == UPDATED || specific.contains(name))
            .cloned()
            .collect()
    }
}

/// A change of an endpoint. Fields that it omits stay as they are.
#[derive(Debug, Clone, Default)]
pub struct EndpointPatch {
    /// The name that its owner gives it.
    pub name: Patch<String>,
    /// The URL that deliveries are sent to.
    pub url: Option<String>,
    /// A description for people.
    pub description: Patch<String>,
    /// The events that it subscribes to.
    pub events: Option<Vec<String>>,
    /// How deliveries are signed.
    pub style: Option<SignatureStyle>,
    /// Whether it gets deliveries. `true` also ends a suspension by failures or by a 410.
    pub enabled: Option<bool>,
    /// The same under the name that Cryptlex gives it. If the two differ, the one that changes
    /// something counts: a client that changes one of them may send the other one as it was read.
    pub active: Option<bool>,
}

/// Where webhook endpoints may be.
#[derive(Debug, Clone, Default)]
pub struct WebhookTargets {
    /// Whether they may have `http:` URLs, wherever they are. Without it, only those on this machine
    /// may, if it is in `networks`: such a request does not leave the machine.
    pub allow_http: bool,
    /// The private and local networks that they may be in.
    pub networks: Vec<IpNet>,
}

impl WebhookTargets {
    /// Checks the scheme and the host. A host name is looked up only when a delivery is made, so an
    /// address behind it that is not allowed is found then.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `url`.
    fn check(&self, url: &Url) -> Result<(), Error> {
        let refuse = |problem: String| Err(Error::invalid("url", problem));
        let host = url.host_str().unwrap_or_default();
        let is_web = matches!(url.scheme(), "https" | "http");
        if !is_web || host.is_empty() {
            let schemes = if self.allow_http {
                "https or http"
            } else {
                "https"
            };
            return refuse(format!("must be an absolute {schemes} URL"));
        }
        let address = address(host);
        if let Some(address) = address
            && !is_public(address)
            && !self
                .networks
                .iter()
                .any(|network| network.contains(&address))
        {
            return refuse(format!(
                "{host} is not a public address; the operator's key webhooks.allowed_networks \
                 allows others"
            ));
        }
        let is_local = address.is_some_and(|address| address.is_loopback());
        if url.scheme() == "http" && !self.allow_http && !is_local {
            return refuse(
                "must be an absolute https URL; the operator's key webhooks.allow_http allows http"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// The address that a host is, without a lookup: one written into the URL, or that of this machine.
fn address(host: &str) -> Option<IpAddr> {
    let name = host.trim_end_matches('.');
    if name == "localhost" || name.ends_with(".localhost") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    let literal = host.trim_matches(['[', ']']).parse::<IpAddr>().ok()?;
    Some(literal.to_canonical())
}

impl EndpointPatch {
    /// Applies the change to an endpoint. Returns whether anything changed.
    ///
    /// # Errors
    /// [`Error::InvalidField`].
    pub fn over(&self, endpoint: &mut Endpoint, targets: &WebhookTargets) -> Result<bool, Error> {
        let before = endpoint.clone();
        // Present values are not checked: other settings, or an earlier version, may have let them
        // in. An endpoint that is being made has an empty URL.
        let is_new = |url: &&String| url.is_empty() || **url != endpoint.url;
        if let Some(url) = self.url.as_ref().filter(is_new) {
            endpoint.url = Self::target(url, targets)?;
        }
        let name = self.name.unless_present(endpoint.name.as_ref());
        if let Some(name) = name.value() {
            text::check("name", name, MAX_TEXT)?;
        }
        endpoint.name = self.name.over(endpoint.name.as_ref());
        let description = self
            .description
            .unless_present(endpoint.description.as_ref());
        if let Some(description) = description.value() {
            text::check("description", description, MAX_TEXT)?;
        }
        endpoint.description = self.description.over(endpoint.description.as_ref());
        if let Some(events) = &self.events {
            if let Some(unknown) = events.iter().find(|name| !EVENTS.contains(&name.as_str())) {
                let events = EVENTS.join(", ");
                let problem = format!("{unknown:?} is not an event; the events are {events}");
                return Err(Error::invalid("events", problem));
            }
            endpoint.events = EVENTS
                .iter()
                .filter(|name| events.iter().any(|subscribed| subscribed == *name))
                .map(|name| (*name).to_owned())
                .collect();
            if endpoint.events.is_empty() {
                return Err(Error::invalid("events", "must name at least one event"));
            }
        }
        endpoint.style = self.style.unwrap_or(endpoint.style);
        let enabled = match (self.enabled, self.active) {
            (Some(enabled), Some(active)) if enabled != active => {
                Some(endpoint.suspended_by.is_some())
            }
            (enabled, active) => enabled.or(active),
        };
        match enabled {
            // Its failures start to count anew.
            Some(true) if endpoint.suspended_by.take().is_some() => endpoint.failing_since = None,
            Some(false) => {
                endpoint.suspended_by = endpoint.suspended_by.or(Some(SuspendedBy::Owner));
            }
            Some(true) | None => {}
        }
        Ok(*endpoint != before)
    }

    /// Checks a URL and returns it as it is stored. It must be absolute, to a target that the
    /// settings allow, without user info, and have at most 2,048 characters before and after
    /// encoding.
    ///
    /// # Errors
    /// [`Error::InvalidField`].
    pub fn target(written: &str, targets: &WebhookTargets) -> Result<String, Error> {
        text::check("url", written, MAX_LONG_TEXT)?;
        let refuse = |problem: &str| Error::invalid("url", problem);
        let url = text::read_url("url", written, "must be an absolute URL")?;
        targets.check(&url)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("must not have user info"));
        }
        // Characters that are not ASCII get longer in the stored form.
        text::check("url", url.as_str(), MAX_LONG_TEXT)?;
        Ok(url.into())
    }
}

/// A secret that the caller chose, under the name that it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChosenSecret {
    /// `secret`.
    Secret(String),
    /// `token`, as Cryptlex calls it. Receivers have it already, so it may be short.
    Token(String),
}

impl ChosenSecret {
    /// Checks the secret. The standard style needs `whsec_` and the base64 of 24 to 64 bytes, the
    /// plain style 16 to 255 visible characters, or for a token 1 to 255.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `secret` or `token`.
    pub fn check(&self, style: SignatureStyle) -> Result<(), Error> {
        let (field, text, least) = match self {
            Self::Secret(text) => ("secret", text, 16),
            Self::Token(text) => ("token", text, 1),
        };
        match style {
            SignatureStyle::Standard => {
                let decoded = text
                    .strip_prefix("whsec_")
                    .and_then(|encoded| data_encoding::BASE64.decode(encoded.as_bytes()).ok());
                if decoded.is_some_and(|bytes| (24..=64).contains(&bytes.len())) {
                    return Ok(());
                }
                let problem = "must be whsec_ and the base64 of 24 to 64 bytes, because \
                               signatureStyle is standard; with plain any text";
                Err(Error::invalid(field, problem))
            }
            SignatureStyle::Plain => {
                let is_valid = (least..=255).contains(&text.len())
                    && text.bytes().all(|byte| byte.is_ascii_graphic());
                if is_valid {
                    Ok(())
                } else {
                    let problem = format!("must be {least} to 255 visible characters");
                    Err(Error::invalid(field, problem))
                }
            }
        }
    }

    /// The secret itself.
    #[must_use]
    pub fn into_text(self) -> String {
        match self {
            Self::Secret(text) | Self::Token(text) => text,
        }
    }
}

/// The identity of the message about one event under one of its names. It is the same for every
/// delivery attempt, and when the event is read through the API.
#[must_use]
pub fn message_id(event_id: i64, event: &str) -> String {
    format!(
        "evt_{event_id}_{}",
        event.rsplit('.').next().unwrap_or(event)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_https_and_public_unless_the_settings_allow_more() {
        let service = WebhookTargets::default();
        let loopback = ["127.0.0.0/8", "::1/128"].map(|it| it.parse().unwrap());
        let demo = WebhookTargets {
            networks: loopback.to_vec(),
            ..WebhookTargets::default()
        };
        let lan = WebhookTargets {
            allow_http: true,
            networks: vec!["192.168.0.0/16".parse().unwrap()],
        };
        for (url, accepted) in [
            ("https://example.com/hook", [true, true, true]),
            ("http://example.com/hook", [false, false, true]),
            ("https://192.168.1.4/", [false, false, true]),
            ("http://192.168.1.4/", [false, false, true]),
            ("http://127.0.0.1:3000/", [false, true, false]),
            ("http://localhost:3000/", [false, true, false]),
            ("http://a.localhost:3000/", [false, true, false]),
            ("http://[::1]:3000/", [false, true, false]),
            ("https://[::ffff:10.0.0.1]/", [false, false, false]),
            ("https://2130706433/", [false, true, false]),
            ("ftp://example.com/", [false, false, false]),
            ("https://8.8.8.8/", [true, true, true]),
        ] {
            let is_accepted =
                [&service, &demo, &lan].map(|targets| EndpointPatch::target(url, targets).is_ok());
            assert_eq!(is_accepted, accepted, "{url}");
        }
        let refused = |url| EndpointPatch::target(url, &demo).unwrap_err().to_string();
        assert!(refused("https://192.168.1.4/").contains("webhooks.allowed_networks"));
        assert!(refused("http://example.com/").contains("webhooks.allow_http"));
    }
}
