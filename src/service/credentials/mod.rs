//! Credentials: who stands behind a bearer token.
//!
//! Three kinds come here: keys (random text, kept as a hash), JSON Web Tokens of ours (signed, and kept as a hash too, so
//! that they can be revoked), and those of issuers that the configuration trusts. All become one [`Principal`].

mod cache;
mod tokens;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use futures_util::future::join_all;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::group_commit::find_each;
use super::{Principal, Service};
use crate::domain::{Error, ResellerId, Time, TokenId};
use crate::hash::sha256;
use crate::jwt;
use crate::store::{Credential, Notification, Preferences, Store, Tenancy};
pub(super) use cache::CredentialCache;
pub(super) use tokens::random;
pub use tokens::{IssuedToken, TokenRequest};

/// How long after a lost connection listening is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// The number of the platform's key that signs now.
const SIGNING_KEY: u32 = 1;
/// How often it is written down which credentials were used.
const WRITE_USE: Duration = Duration::from_mins(1);
/// How often those in use are asked about that were not for half a minute.
const RENEW: Duration = Duration::from_secs(10);

/// A credential that was found, valid or not.
pub(super) type Found = (Credential, Preferences);

impl Service {
    /// Whom a token stands for. A text that cannot be a token is refused without asking the database.
    ///
    /// # Errors
    /// [`Error::CredentialInvalid`], or that the database cannot be asked.
    pub async fn authenticate(&self, token: &SecretString) -> Result<Principal, Error> {
        let text = token.expose_secret();
        let is_jwt = jwt::is_well_formed(text);
        if !is_jwt && !tokens::is_well_formed(text) {
            return Err(Error::CredentialInvalid);
        }
        let (hash, now) = (sha256(text.as_bytes()), self.now());
        if let Some(principal) = self.memory.recall(&hash, now) {
            self.memory.note_use(&principal, now);
            return Ok(principal);
        }
        // Boxed, as every rare path of a request is: what is not walked should not make the request's own future large.
        Box::pin(self.find_out(text, is_jwt, hash, now)).await
    }

    /// Asks the database, and remembers what it says.
    async fn find_out(
        &self,
        text: &str,
        is_jwt: bool,
        hash: [u8; 32],
        now: Time,
    ) -> Result<Principal, Error> {
        let generation = self.memory.generation();
        let (principal, valid_until) = if is_jwt {
            self.prove(text, hash, now).await?
        } else {
            self.look_up(hash, now).await?
        };
        self.memory
            .keep(hash, &principal, valid_until, now, generation);
        self.memory.note_use(&principal, now);
        Ok(principal)
    }

    /// A credential that we keep. Those that are asked for meanwhile are looked up together.
    async fn look_up(&self, hash: [u8; 32], now: Time) -> Result<(Principal, Option<Time>), Error> {
        let found = self.credentials.submit(hash).await?;
        found
            .and_then(|found| stands_for(found, now))
            .ok_or(Error::CredentialInvalid)
    }

    /// Asks about the credentials that are in use before the minute is over for which they are remembered: so a request waits
    /// for the database only with a credential that was not used for a while.
    ///
    /// # Errors
    /// That the database cannot be asked; they are forgotten when their time has come.
    pub async fn renew_credentials(&self) -> Result<(), Error> {
        for hashes in self.memory.old(self.now()).chunks(self.settings.batch) {
            let (generation, now) = (self.memory.generation(), self.now());
            let found = join_all(hashes.iter().map(|hash| self.credentials.submit(*hash))).await;
            for (hash, found) in hashes.iter().zip(found) {
                match found?.and_then(|found| stands_for(found, now)) {
                    Some((principal, valid_until)) => {
                        self.memory
                            .keep(*hash, &principal, valid_until, now, generation);
                    }
                    None => self.memory.drop_invalid(hash),
                }
            }
        }
        Ok(())
    }

    /// A JSON Web Token: ours is looked up once its signature is proved, another issuer's stands on its own.
    async fn prove(
        &self,
        text: &str,
        hash: [u8; 32],
        now: Time,
    ) -> Result<(Principal, Option<Time>), Error> {
        if let Some(name) = jwt::own_key(text) {
            let secret = self
                .signing_key(&name)
                .await?
                .ok_or(Error::CredentialInvalid)?;
            return if jwt::is_ours(text, &secret, now) {
                self.look_up(hash, now).await
            } else {
                Err(Error::CredentialInvalid)
            };
        }
        let Some(verifier) = &self.verifier else {
            return Err(Error::CredentialInvalid);
        };
        let claims = verifier.verify(text, now).await?;
        let home = claims.reseller.unwrap_or(ResellerId::PLATFORM);
        let store = self.store.clone();
        let preferences = self.detached(async move {
            let mut tx = store.begin_reading(&Tenancy::of(home)).await?;
            let preferences = tx
                .fetch_preferences(&BTreeSet::from([home]))
                .await?
                .remove(&home);
            tx.commit().await?;
            preferences.ok_or(Error::CredentialInvalid)
        });
        let preferences = preferences.await?;
        let principal = Principal {
            reseller: claims.reseller,
            token: None,
            subject: Some(claims.subject),
            scopes: claims.scopes,
            timezone: zone(&preferences),
            soap_numbers: preferences.soap_numbers,
            agent: None,
        };
        Ok((principal, Some(claims.expires_at)))
    }

    /// The platform's key for JSON Web Tokens with this name; names that cannot be are not worth a look-up.
    async fn signing_key(&self, name: &str) -> Result<Option<Arc<[u8]>>, Error> {
        if name == jwt::own_key_name(SIGNING_KEY) {
            self.platform_key(name).await
        } else {
            Ok(None)
        }
    }

    /// The platform's key with this name, from memory after the first time.
    async fn platform_key(&self, name: &str) -> Result<Option<Arc<[u8]>>, Error> {
        if let Some(known) = self.memory.signing_key(name) {
            return Ok(Some(known));
        }
        let (store, wanted) = (self.store.clone(), name.to_owned());
        let found = self.detached(async move {
            let mut tx = store.begin_reading(&Tenancy::Platform).await?;
            let found = tx.fetch_signing_key(&wanted).await?;
            tx.commit().await?;
            Ok(found)
        });
        let found: Option<Arc<[u8]>> = found.await?.map(Into::into);
        if let Some(secret) = &found {
            self.memory.keep_signing_key(name, secret);
        }
        Ok(found)
    }

    /// Forgets what is remembered of a reseller's credentials: here at once, on other replicas when they hear of it.
    pub(super) fn forget_credentials(&self, reseller: ResellerId) {
        self.memory.forget(reseller);
    }

    /// Remembers credentials from now on, until the service stops: listens for what other replicas revoke, and writes down
    /// what was used. Without this every request asks the database.
    pub fn remember_credentials(self: &Arc<Self>) {
        self.tasks
            .spawn(Arc::clone(self).keep_listening(self.stopping.clone()));
    }

    async fn keep_listening(self: Arc<Self>, stop: CancellationToken) {
        let (mut write, mut renew) = (
            tokio::time::interval(WRITE_USE),
            tokio::time::interval(RENEW),
        );
        write.set_missed_tick_behavior(MissedTickBehavior::Delay);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let again = tokio::select! {
                () = self.listen() => true,
                () = stop.cancelled() => false,
                () = async { loop { write.tick().await; self.write_down_use().await; } } => true,
                () = async { loop { renew.tick().await; self.renew_in_time().await; } } => true,
            };
            self.memory.switch_off();
            if !again {
                self.write_down_use().await;
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(LISTEN_AGAIN) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn renew_in_time(&self) {
        if let Err(error) = self.renew_credentials().await {
            warn!(%error, "the credentials in use could not be asked about; in time each request will ask for itself");
        }
    }

    /// Whether credentials are remembered at the moment.
    #[must_use]
    pub fn remembers_credentials(&self) -> bool {
        self.memory.is_on()
    }

    /// Follows the news until the connection is lost.
    async fn listen(&self) {
        let Ok(mut news) = self.store.listen(self.process).await else {
            return;
        };
        self.memory.switch_on();
        // Whatever was told meanwhile was not heard.
        self.tell_events(Vec::new());
        while let Ok(told) = news.next().await {
            match told {
                Notification::Credentials(reseller) => self.memory.forget(reseller),
                Notification::Events(resellers) => self.tell_events(resellers),
                Notification::Own => {}
            }
        }
        self.memory.switch_off();
        warn!(
            "the connection that revocations are heard on was lost; every credential is looked up until it is back"
        );
    }

    /// Nobody may be there to be told.
    fn tell_events(&self, resellers: Vec<ResellerId>) {
        let _unheard = self.events.send(resellers);
    }

    /// Writes down when credentials were last used: one statement for all since the last time.
    pub async fn write_down_use(&self) {
        let used: Vec<(ResellerId, TokenId, Time)> = self.memory.take_used();
        if used.is_empty() {
            return;
        }
        let store = self.store.clone();
        let done = self.detached(async move {
            let mut tx = store.begin(&Tenancy::Platform).await?;
            tx.record_token_use(&used).await?;
            tx.commit().await
        });
        if let Err(error) = done.await {
            warn!(%error, "when credentials were last used could not be written down");
        }
    }
}

/// Looks up credentials by their hashes, with one transaction for all.
pub(super) async fn find(
    store: Store,
    limit: Duration,
    hashes: Vec<[u8; 32]>,
) -> Vec<Result<Option<Found>, Error>> {
    let wanted: BTreeSet<_> = hashes.iter().copied().collect();
    let work = async move {
        let wanted: Vec<_> = wanted.into_iter().collect();
        let mut tx = store
            .begin_keyed(&Tenancy::Credentials(wanted.clone()))
            .await?;
        let found = tx.fetch_credentials(&wanted).await?;
        tx.commit().await?;
        Ok(found)
    };
    find_each(hashes, limit, work).await
}

/// Whom a credential stands for and until when, if it is valid.
fn stands_for((credential, preferences): Found, now: Time) -> Option<(Principal, Option<Time>)> {
    let valid_until = credential.expires_at;
    let principal = credential.is_valid(now).then(|| Principal {
        reseller: credential.owner(),
        token: Some(credential.id),
        subject: None,
        scopes: credential.scopes,
        timezone: zone(&preferences),
        soap_numbers: preferences.soap_numbers,
        agent: None,
    })?;
    Some((principal, valid_until))
}

fn zone(preferences: &Preferences) -> Tz {
    preferences.timezone.parse().unwrap_or(Tz::UTC)
}
