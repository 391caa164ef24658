#![no_main]
//! Addresses of webhooks and of payment pages. An accepted address must be accepted again in the
//! form in which it is stored.
use libfuzzer_sys::fuzz_target;
use steward::domain::{EndpointPatch, PaymentUrl, WebhookTargets};
use steward_fuzz::{bounded, text};

fuzz_target!(|data: &[u8]| {
    let Some(text) = text(data) else { return };
    bounded(|| {
        if let Ok(url) = PaymentUrl::parse(text) {
            assert!(
                PaymentUrl::parse(url.as_str()).is_ok(),
                "{:?}",
                url.as_str()
            );
        }
        for allow_http in [false, true] {
            let targets = WebhookTargets {
                allow_http,
                networks: Vec::new(),
            };
            if let Ok(url) = EndpointPatch::target(text, &targets) {
                assert!(
                    url.starts_with("https://") || (allow_http && url.starts_with("http://")),
                    "{url:?}"
                );
                assert_eq!(
                    EndpointPatch::target(&url, &targets).as_deref(),
                    Ok(url.as_str())
                );
            }
        }
    });
});
