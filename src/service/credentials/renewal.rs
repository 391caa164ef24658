//! The background task that keeps the credential cache valid, and writes down which credentials
//! were used.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::principal_of;
use crate::domain::Error;
use crate::service::{News, Service};
use crate::store::{Listener, Notification, Tenancy};

/// The pause before a lost LISTEN connection is opened again.
const RECONNECT: Duration = Duration::from_secs(1);
/// How often a heartbeat is sent while credentials are cached. A heartbeat proves the LISTEN
/// connection for a second, so it has a quarter of a second to come back before it is missed.
const HEARTBEAT: Duration = Duration::from_millis(750);
/// How often a heartbeat is sent while none is cached. Event streams depend on the connection too.
const IDLE_HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a heartbeat may take before the LISTEN connection is given up as frozen.
const ECHO_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the uses of credentials are written to the database.
const WRITE_USE: Duration = Duration::from_mins(1);
/// How often the cache is searched for entries to renew.
const RENEW: Duration = Duration::from_secs(10);

impl Service {
    /// Starts the task that runs until the service stops. It listens for the revocations of other
    /// replicas, renews cached credentials, and writes down their uses. Without it the cache stays
    /// off, and every request looks its credential up.
    pub fn remember_credentials(self: &Arc<Self>) {
        self.tasks
            .spawn(Arc::clone(self).maintain_cache(self.stopping.clone()));
    }

    async fn maintain_cache(self: Arc<Self>, stop: CancellationToken) {
        let (mut write, mut renew) = (
            tokio::time::interval(WRITE_USE),
            tokio::time::interval(RENEW),
        );
        write.set_missed_tick_behavior(MissedTickBehavior::Delay);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_running = tokio::select! {
                () = self.listen() => true,
                () = stop.cancelled() => false,
                () = async { loop { write.tick().await; self.write_down_use().await; } } => true,
                () = async { loop { renew.tick().await; self.renew_or_warn().await; } } => true,
            };
            self.credential_cache.switch_off();
            if !is_running {
                self.write_down_use().await;
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(RECONNECT) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Handles notifications until the LISTEN connection is lost or delivers nothing any more.
    async fn listen(&self) {
        let Ok(mut listener) = self.store.listen(self.process).await else {
            return;
        };
        self.credential_cache.switch_on();
        // Notifications sent while this process was disconnected are lost: any reseller may have
        // events.
        self.publish(News::Events(Vec::new()));
        let (echo, echoed) = watch::channel(0);
        let problem = tokio::select! {
            () = self.receive(&mut listener, &echo) => "was lost",
            () = self.send_heartbeats(echoed) => "is open but delivers nothing",
        };
        self.credential_cache.switch_off();
        warn!(
            "the LISTEN connection {problem}; each request looks its credential up until it is open again"
        );
    }

    /// Handles notifications until the connection is lost.
    async fn receive(&self, listener: &mut Listener, echo: &watch::Sender<u64>) {
        while let Ok(notification) = listener.next().await {
            match notification {
                Notification::Credentials(reseller) => self.credential_cache.forget(reseller),
                Notification::Events(resellers) => self.publish(News::Events(resellers)),
                Notification::Endpoints(reseller) => self.publish(News::Endpoints(reseller)),
                Notification::Heartbeat(number) => drop(echo.send_replace(number)),
                Notification::Own => {}
            }
        }
    }

    /// Sends heartbeats until one that was sent does not come back. A heartbeat that cannot be sent
    /// proves nothing about the LISTEN connection: the database is down, or busy.
    async fn send_heartbeats(&self, mut echoed: watch::Receiver<u64>) {
        let cache = &self.credential_cache;
        for number in 1.. {
            let (begun, sent_at) = (Instant::now(), self.now());
            if self
                .store
                .send_heartbeat(self.process, number)
                .await
                .is_ok()
            {
                let echo = echoed.wait_for(|latest| *latest >= number);
                if !matches!(tokio::time::timeout(ECHO_TIMEOUT, echo).await, Ok(Ok(_))) {
                    return;
                }
                cache.prove(sent_at);
            }
            tokio::time::sleep_until(begun + HEARTBEAT).await;
            if cache.is_empty() {
                tokio::select! {
                    () = tokio::time::sleep_until(begun + IDLE_HEARTBEAT) => {}
                    () = cache.filled() => {}
                }
            }
        }
    }

    fn publish(&self, news: News) {
        // Fails when nobody in this process waits for events.
        let _no_receiver = self.events.send(news);
    }

    async fn renew_or_warn(&self) {
        self.credential_cache.remove_expired(self.now());
        if let Err(error) = self.renew_credentials().await {
            warn!(%error, "could not renew the cached credentials; each request looks its credential up once its entry has expired");
        }
    }

    /// Renews the cache entries that are in use and older than half a minute. So only the first
    /// request of a credential, or one after a pause, waits for the database.
    ///
    /// # Errors
    /// If the database cannot be reached. The entries then expire at their time.
    pub async fn renew_credentials(&self) -> Result<(), Error> {
        let cache = &self.credential_cache;
        for hashes in cache.to_renew(self.now()).chunks(self.settings.batch) {
            let (generation, now) = (cache.generation(), self.now());
            let found = join_all(hashes.iter().map(|hash| self.credentials.submit(*hash))).await;
            for (hash, found) in hashes.iter().zip(found) {
                match found?.and_then(|found| principal_of(found, now)) {
                    Some((principal, valid_until)) => {
                        cache.insert(*hash, &principal, valid_until, now, generation);
                    }
                    None => cache.remove(hash),
                }
            }
        }
        Ok(())
    }

    /// Whether cached credentials may be used now.
    #[must_use]
    pub fn remembers_credentials(&self) -> bool {
        self.credential_cache.is_usable(self.now())
    }

    /// Writes down when credentials were last used, with one statement for all uses since the last
    /// time.
    pub async fn write_down_use(&self) {
        let uses = self.credential_cache.take_last_uses();
        if uses.is_empty() {
            return;
        }
        let written = self.background_write(Tenancy::Platform, move |tx| {
            Box::pin(async move { tx.record_token_use(&uses).await })
        });
        if let Err(error) = written.await {
            warn!(%error, "could not write down when credentials were last used; these uses are lost");
        }
    }
}
