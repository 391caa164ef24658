#![no_main]
//! Whole requests through the router, without a database. No answer may be an internal error. The
//! input is method and path, headers, an empty line and the body.
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use sqlx::postgres::PgConnectOptions;
use steward::dialects::{admin, soap, v3};
use steward::http::{Apis, Settings};
use steward::service::{self, Clock, Service};
use steward::store::{PoolSettings, Store};
use steward_fuzz::{bounded, text};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

/// The fault codes that blame the caller, as SOAP 1.1 and 1.2 answers write them.
const CODES_OF_CALLERS: [&[u8]; 4] = [
    b">soap:Sender<",
    b">soap:Client<",
    b">soap:VersionMismatch<",
    b">soap:MustUnderstand<",
];

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
});

static ROUTER: LazyLock<Router> = LazyLock::new(|| {
    let _inside = RUNTIME.enter();
    let instant = Duration::from_millis(1);
    let nowhere = PgConnectOptions::new_without_pgpass().socket("/nowhere");
    let store = Store::new(
        nowhere,
        &PoolSettings {
            max_connections: 2,
            acquire_timeout: instant,
            statement_timeout: instant,
        },
    );
    let service = Arc::new(Service::start(
        store,
        Clock::System,
        service::Settings::default(),
    ));
    let max_body = 64 * 1024;
    let apis = Apis {
        admin: admin::Api {
            service: Arc::clone(&service),
            settings: Arc::new(admin::Settings {
                always_200: false,
                token_in_query: true,
                max_body,
                public_url: None,
            }),
        },
        soap: soap::Api {
            service: Arc::clone(&service),
            settings: Arc::new(soap::Settings {
                hide_foreign_accounts: false,
                max_body,
                public_url: None,
            }),
        },
        v3: v3::Api {
            service,
            settings: Arc::new(v3::Settings {
                max_body,
                public_url: None,
            }),
        },
    };
    steward::http::router(
        apis,
        &Settings {
            request_timeout: Duration::from_secs(5),
            ..Settings::default()
        },
    )
});

fn request(data: &[u8]) -> Option<Request<Body>> {
    let end = data.windows(2).position(|pair| pair == b"\n\n")?;
    let (head, body) = (text(&data[..end])?, &data[end + 2..]);
    let mut lines = head.lines();
    let (method, path) = lines.next()?.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(path);
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        request = request.header(name, value);
    }
    request.body(Body::from(body.to_vec())).ok()
}

fuzz_target!(|data: &[u8]| {
    bounded(|| {
        let Some(request) = request(data) else { return };
        let (status, body) = RUNTIME.block_on(async {
            let answer = ROUTER
                .clone()
                .oneshot(request)
                .await
                .expect("a router always answers");
            let status = answer.status().as_u16();
            (
                status,
                answer
                    .into_body()
                    .collect()
                    .await
                    .expect("the body is there")
                    .to_bytes(),
            )
        });
        // Every fault of the soap dialect has the status 500. Its code says whose fault it was.
        let blames_the_caller = CODES_OF_CALLERS
            .iter()
            .any(|code| body.windows(code.len()).any(|part| part == *code));
        let is_ours = status == 500 && !blames_the_caller;
        assert!(!is_ours, "{status} {}", String::from_utf8_lossy(&body));
    });
});
