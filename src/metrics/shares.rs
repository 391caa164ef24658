//! The use of the shares, and who waits for them.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;

/// How many of the holders that wait for a share are listed.
const MAX_WAITING_HOLDERS: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShareLabels {
    share: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HolderLabels {
    share: &'static str,
    holder: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    share: &'static str,
    cause: &'static str,
}

/// The use of the shares (`src/shares/`), and who waits for them.
#[derive(Debug, Default)]
pub(super) struct Shares {
    used: Family<ShareLabels, Gauge>,
    waiting: Family<HolderLabels, Gauge>,
    refused: Family<RefusalLabels, Counter>,
}

impl Shares {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "share_used",
            "Permits in use of each share",
            self.used.clone(),
        );
        registry.register(
            "share_waiting",
            "Requests that wait for a permit, of the holders with the most of them",
            self.waiting.clone(),
        );
        registry.register(
            "share_refused",
            "Requests that got no permit, by share and cause",
            self.refused.clone(),
        );
    }
}

impl Metrics {
    /// Removes the holders that waited for shares at the last [`Metrics::set_share`].
    pub fn begin_shares(&self) {
        self.shares.waiting.clear();
    }

    /// Sets how many permits of a share are in use, and how many requests of which holder wait.
    /// Only the first holders are kept, so that the number of label values stays bounded.
    pub fn set_share(
        &self,
        share: &'static str,
        used: usize,
        waiting: impl Iterator<Item = (String, usize)>,
    ) {
        let gauge = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.shares
            .used
            .get_or_create(&ShareLabels { share })
            .set(gauge(used));
        for (holder, count) in waiting.take(MAX_WAITING_HOLDERS) {
            self.shares
                .waiting
                .get_or_create(&HolderLabels { share, holder })
                .set(gauge(count));
        }
    }

    /// Counts a request that got no permit of a share.
    pub fn share_refused(&self, share: &'static str, cause: &'static str) {
        self.shares
            .refused
            .get_or_create(&RefusalLabels { share, cause })
            .inc();
    }
}
