//! Permits: how many heavy requests may run at a time in this process.

use tokio::sync::{Semaphore, SemaphorePermit};

use super::Service;
use crate::domain::Error;

/// The number of permits.
pub(super) const HEAVY: usize = 256;

/// How much work a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// A look-up or a change by key, or a page of another list.
    Light,
    /// Work that grows with the request or with the reseller: lists of accounts, simulations, bulk
    /// operations.
    Heavy,
}

/// Permission to carry out one request. The next request gets it when it is dropped.
#[derive(Debug)]
pub struct Permit<'a>(
    #[expect(dead_code, reason = "held until dropped")] Option<SemaphorePermit<'a>>,
);

impl Service {
    /// Waits until a request of this cost may be carried out. Light requests never wait.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the semaphore is closed, which never happens.
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
