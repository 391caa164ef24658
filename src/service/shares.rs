//! Shares of what is scarce: how many requests of a kind may be under way in this process.

use tokio::sync::{Semaphore, SemaphorePermit};

use super::Service;
use crate::domain::Error;

/// How many heavy requests may be under way at a time, in this process.
pub(super) const HEAVY: usize = 256;

/// How much work a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// A look-up or a change by key, or a page of a list.
    Light,
    /// Work that grows with the request or with the reseller: searches, simulations, bulk operations.
    Heavy,
}

/// Permission to carry out one request; dropping it lets the next one in.
#[derive(Debug)]
pub struct Permit<'a>(
    #[expect(dead_code, reason = "held until dropped")] Option<SemaphorePermit<'a>>,
);

impl Service {
    /// Waits until a request of this cost may be carried out. Light requests never wait.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the service is stopping.
    pub async fn permit(&self, cost: Cost) -> Result<Permit<'_>, Error> {
        match cost {
            Cost::Light => Ok(Permit(None)),
            Cost::Heavy => {
                let permit = self.heavy.acquire().await;
                permit
                    .map(|permit| Permit(Some(permit)))
                    .map_err(|_| Error::Unavailable)
            }
        }
    }
}

/// The permits for heavy requests.
pub(super) fn heavy() -> Semaphore {
    Semaphore::new(HEAVY)
}
