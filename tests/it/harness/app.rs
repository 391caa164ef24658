//! The service and its router in this process, with a manual clock.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use steward::dialects::{admin, soap, v3};
use steward::domain::{ResellerId, Scope, Time};
use steward::service::{
    Clock, IssuedToken, Limits, ManualClock, NewReseller, Principal, ResellerPatch, Service,
    Settings, TokenRequest,
};
use steward::store::{PoolSettings, Store};
use tower::ServiceExt as _;

use super::TestDatabase;

/// The instant at which every test begins.
pub fn start_of_time() -> Time {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub fn pool_settings() -> PoolSettings {
    PoolSettings {
        max_connections: 6,
        acquire_timeout: Duration::from_secs(3),
        statement_timeout: Duration::from_secs(5),
    }
}

pub fn admin_settings() -> admin::Settings {
    admin::Settings {
        always_200: false,
        token_in_query: false,
        max_body: 64 * 1024,
        public_url: Some("https://steward.example".to_owned()),
    }
}

pub fn soap_settings() -> soap::Settings {
    soap::Settings {
        hide_foreign_accounts: false,
        max_body: 64 * 1024,
        public_url: Some("https://steward.example".to_owned()),
    }
}

/// The service's router with these settings.
pub fn router(service: &Arc<Service>, admin: admin::Settings, soap: soap::Settings) -> Router {
    router_with(service, admin, soap, &http_settings())
}

pub fn router_with(
    service: &Arc<Service>,
    admin: admin::Settings,
    soap: soap::Settings,
    http: &steward::http::Settings,
) -> Router {
    let public_url = admin.public_url.clone();
    let apis = steward::http::Apis {
        admin: admin::Api {
            service: Arc::clone(service),
            settings: Arc::new(admin),
        },
        soap: soap::Api {
            service: Arc::clone(service),
            settings: Arc::new(soap),
        },
        v3: v3::Api {
            service: Arc::clone(service),
            settings: Arc::new(v3::Settings {
                max_body: 64 * 1024,
                public_url,
            }),
        },
    };
    steward::http::router(apis, http)
}

pub fn http_settings() -> steward::http::Settings {
    steward::http::Settings {
        request_timeout: Duration::from_secs(30),
        ..Default::default()
    }
}

/// The router of another replica, with these rate limits.
pub fn limited_router(app: &App, limits: Limits, http: &steward::http::Settings) -> Router {
    let settings = Settings {
        limits,
        ..Settings::default()
    };
    let service = Arc::new(Service::start(
        Store::new(app.database.options(), &pool_settings()),
        Clock::Manual(app.clock.clone()),
        settings,
    ));
    router_with(&service, admin_settings(), soap_settings(), http)
}

pub struct App {
    pub service: Arc<Service>,
    pub clock: ManualClock,
    pub router: Router,
    pub database: TestDatabase,
}

impl App {
    pub async fn new() -> Self {
        Self::with(admin_settings()).await
    }

    pub async fn with(settings: admin::Settings) -> Self {
        let database = TestDatabase::new().await;
        let options = database.options();
        Self::on(database, options, settings)
    }

    /// The service on a database, reached with other connection options.
    pub fn on(
        database: TestDatabase,
        options: PgConnectOptions,
        settings: admin::Settings,
    ) -> Self {
        let clock = ManualClock::at(start_of_time());
        let store = Store::new(options, &pool_settings());
        let service = Arc::new(Service::start(
            store,
            Clock::Manual(clock.clone()),
            Settings::default(),
        ));
        Self {
            router: router(&service, settings, soap_settings()),
            service,
            clock,
            database,
        }
    }

    /// A client of another replica on the same database, with the same token.
    pub fn replica(&self, client: &Client) -> Client {
        let store = Store::new(self.database.options(), &pool_settings());
        let service = Arc::new(Service::start(
            store,
            Clock::Manual(self.clock.clone()),
            Settings::default(),
        ));
        Client {
            router: router(&service, admin_settings(), soap_settings()),
            token: client.token.clone(),
        }
    }

    pub async fn reseller(&self, name: &str) -> ResellerId {
        self.reseller_with(name, ResellerPatch::default()).await
    }

    pub async fn reseller_with(&self, name: &str, patch: ResellerPatch) -> ResellerId {
        let new = NewReseller {
            name: name.to_owned(),
            patch,
        };
        self.service
            .create_reseller(&Principal::command_line(), new, None)
            .await
            .unwrap()
            .done()
            .unwrap()
            .id
    }

    /// Suspends or unsuspends a reseller.
    pub async fn suspend_reseller(&self, reseller: ResellerId, suspend: bool) {
        self.service
            .suspend_reseller(&Principal::command_line(), reseller, suspend, None)
            .await
            .unwrap();
    }

    pub async fn token(&self, reseller: Option<ResellerId>, scopes: Option<&[Scope]>) -> String {
        let scopes = scopes.map(|scopes| scopes.iter().copied().collect());
        let request = TokenRequest {
            reseller,
            scopes,
            ..TokenRequest::default()
        };
        self.issue(request).await.token.expose_secret().to_owned()
    }

    pub async fn issue(&self, request: TokenRequest) -> IssuedToken {
        self.service
            .create_token(&Principal::command_line(), request, None)
            .await
            .unwrap()
            .done()
            .unwrap()
    }

    pub fn client(&self, token: &str) -> Client {
        Client {
            router: self.router.clone(),
            token: token.to_owned(),
        }
    }

    /// A client of a new reseller.
    pub async fn new_reseller(&self, name: &str) -> Client {
        let reseller = self.reseller(name).await;
        self.client(&self.token(Some(reseller), None).await)
    }

    /// A client of the operator.
    pub async fn operator(&self) -> Client {
        self.client(&self.token(None, None).await)
    }
}

/// A caller of the `admin` dialect.
#[derive(Clone)]
pub struct Client {
    pub router: Router,
    pub token: String,
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// The body; lines of JSON as an array.
    pub fn json(&self) -> Value {
        if self.header("content-type") == "application/x-ndjson" {
            let lines = self.body.lines();
            return lines
                .map(|line| serde_json::from_str::<Value>(line).unwrap())
                .collect();
        }
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The body. Fails unless the status is 200.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        self.json()
    }

    #[track_caller]
    pub fn is_error(&self, status: u16, begins: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        let text = self.json()["error_text"].as_str().unwrap().to_owned();
        assert!(
            text.starts_with(begins),
            "{text:?} does not begin with {begins:?}"
        );
        assert_eq!(self.json()["error"], status);
    }
}

pub async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

impl Client {
    /// Sends a body to a call.
    pub async fn raw(&self, call: &str, content_type: &str, body: impl Into<Body>) -> Answer {
        let request = Request::post(format!("/api/v1.1/admin/accounts/{call}"))
            .header("content-type", content_type);
        send(&self.router, request.body(body.into()).unwrap()).await
    }

    /// A JSON call with the token in its body.
    pub async fn call(&self, call: &str, mut members: Value) -> Answer {
        members["token"] = json!(self.token);
        self.raw(call, "application/json", members.to_string())
            .await
    }

    /// An XML call with the token in its body.
    pub async fn call_xml(&self, call: &str, members: &str) -> Answer {
        self.raw(
            call,
            "application/xml",
            format!("<xml><token>{}</token>{members}</xml>", self.token),
        )
        .await
    }

    /// A JSON call with an idempotency key.
    pub async fn call_once(&self, call: &str, key: &str, mut members: Value) -> Answer {
        members["token"] = json!(self.token);
        let request = Request::post(format!("/api/v1.1/admin/accounts/{call}"))
            .header("content-type", "application/json")
            .header("idempotency-key", key);
        send(
            &self.router,
            request.body(members.to_string().into()).unwrap(),
        )
        .await
    }

    /// Creates an account, and answers its number.
    pub async fn account(&self, name: &str) -> i64 {
        let members = json!({"name": name, "title": name, "tz": "UTC", "tariff": 1, "reports_day": 1, "reports_hour": 9, "email": format!("{name}@example.com")});
        self.call("save", members).await.ok()["data"]["saved_id"]
            .as_i64()
            .unwrap()
    }

    pub async fn get(&self, id: i64) -> Value {
        self.call("get", json!({ "id": id })).await.ok()["data"].clone()
    }

    /// Action and outcome of each journal entry of an account, oldest first.
    pub async fn history(&self, id: i64) -> Vec<(String, String)> {
        let entries = self
            .call("history", json!({ "id": id, "limit": 1000 }))
            .await
            .ok()["data"]
            .clone();
        let word = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
        entries
            .as_array()
            .unwrap()
            .iter()
            .rev()
            .map(|entry| (word(entry, "action"), word(entry, "outcome")))
            .collect()
    }
}
