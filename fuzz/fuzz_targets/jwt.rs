#![no_main]
//! JSON Web Tokens of Steward and of an issuer with a shared secret. No input is valid, since the
//! fuzzer does not know the secrets.
use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use steward::jwt::{self, Settings, Verifier};
use steward_fuzz::{bounded, text};
use tokio::runtime::{Builder, Runtime};

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    Verifier::new(Settings {
        issuer: "https://login.example.com".to_owned(),
        audience: "steward".to_owned(),
        secret: Some("a secret of 32 bytes, at the least".to_owned().into()),
        public_key_file: None,
        jwks_file: None,
        jwks_url: None,
        leeway: Duration::from_secs(60),
        operators: false,
    })
    .expect("the settings are right")
});
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));

fuzz_target!(|data: &[u8]| {
    let Some(token) = text(data) else { return };
    let now = chrono::DateTime::from_timestamp(1_790_000_000, 0).expect("an instant");
    bounded(|| {
        if jwt::is_well_formed(token) {
            let _name = jwt::own_key(token);
        }
        assert!(!jwt::is_ours(token, &[7; 32], now), "it is not");
        assert!(
            RUNTIME.block_on(VERIFIER.verify(token, now)).is_err(),
            "it is not"
        );
    });
});
