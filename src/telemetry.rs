//! The log and the traces.
//!
//! The log goes to standard error: readable text on a terminal, JSON lines elsewhere. Traces are
//! sent by OTLP if a collector is configured. Each layer that a request passes through adds a span,
//! and every span carries the request id.

use std::collections::HashMap;
use std::future::Future;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::HeaderMap;
use data_encoding::BASE64;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{Span as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    Sampler, SdkTracerProvider, Span as SdkSpan, SpanData, SpanProcessor,
};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Span, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};
use url::{Url, form_urlencoded};

use crate::secret_url::SecretUrl;

/// The time limit for one export, and so for the last export when the process ends.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The target of every span in this program. The span `request` has level info, so that log lines
/// carry its id, and exists only while such lines are logged or traces are sent. The other spans
/// have level debug and exist only while traces are sent.
pub const SPANS: &str = "steward_span";
/// The span attribute with the request id.
const REQUEST_ID: &str = "request_id";
/// Whether traces are sent. Otherwise requests skip the work for them.
static IS_TRACING: AtomicBool = AtomicBool::new(false);

tokio::task_local! {
    /// The id of the request that the task works for. Lines of the log that no span covers get it.
    static CURRENT_REQUEST: Option<Arc<str>>;
}

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Readable text on a terminal, JSON elsewhere.
    Auto,
    /// Readable text.
    Pretty,
    /// One JSON object per line.
    Json,
}

/// The settings of the log and the traces.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A level, or a filter such as `info,sqlx=warn`.
    pub level: String,
    /// The format of the log.
    pub format: Format,
    /// The OTLP address of a collector over HTTP. `None` means that nothing is traced.
    pub traces: Option<SecretUrl>,
    /// The share of requests that are traced, 0 to 1. A `traceparent` header overrides it.
    pub sample: f64,
}

/// The trace exporter, which must send its last spans before the process ends.
#[derive(Debug, Default)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sends the remaining spans, for at most 5 s.
    pub fn finish(self) {
        if let Some(traces) = self.traces {
            // The process is ending, so a failure changes nothing.
            let _unsent = traces.shutdown_with_timeout(EXPORT_TIMEOUT);
        }
    }
}

/// Writes lines of the log, each as a whole.
struct Lines(fn(&[u8]) -> io::Result<()>);

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0(line).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts the log and the traces. `write` writes a line of the log. A second call changes nothing.
///
/// # Errors
/// The key of the configuration that is invalid, and why.
pub fn start(settings: &Settings, write: fn(&[u8]) -> io::Result<()>) -> Result<Telemetry, String> {
    let traces = settings
        .traces
        .as_ref()
        .map(|endpoint| provider(endpoint, settings.sample))
        .transpose()?;
    // The log and the traces share one filter. With a filter for each layer, `tracing` loses lines
    // and spans after a library (such as sqlx) checks whether a level is enabled without logging
    // anything. Spans of this program have their own target, so the filter can enable them
    // separately.
    let filter =
        EnvFilter::try_new(&settings.level).map_err(|error| format!("log.level: {error}"))?;
    let logs_requests = filter
        .max_level_hint()
        .is_none_or(|it| it >= LevelFilter::INFO);
    let spans = match (&traces, logs_requests) {
        (Some(_), _) => LevelFilter::DEBUG,
        (None, true) => LevelFilter::INFO,
        // A span costs a request more than everything else that is logged of it.
        (None, false) => LevelFilter::OFF,
    };
    let filter = filter.add_directive(
        format!("{SPANS}={spans}")
            .parse()
            .map_err(|error| format!("log.level: {error}"))?,
    );
    let is_pretty = match settings.format {
        Format::Auto => io::stderr().is_terminal(),
        Format::Pretty => true,
        Format::Json => false,
    };
    let layer = traces.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("steward"))
            .with_location(false)
            .with_threads(false)
    });
    let log = if is_pretty {
        fmt::layer()
            .with_writer(move || Lines(write))
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .map_event_format(|inner| WithRequestId {
                inner,
                is_json: false,
            })
            .boxed()
    } else {
        // The request id is a field of the outermost span. With traces there are inner spans, so
        // each line lists all spans.
        fmt::layer()
            .json()
            .with_writer(move || Lines(write))
            .flatten_event(true)
            .with_current_span(traces.is_none())
            .with_span_list(traces.is_some())
            .map_event_format(|inner| WithRequestId {
                inner,
                is_json: true,
            })
            .boxed()
    };
    IS_TRACING.store(traces.is_some(), Ordering::Relaxed);
    // Fails only if a log was started before.
    drop(
        tracing_subscriber::registry()
            .with(filter)
            .with(log)
            .with(layer)
            .try_init(),
    );
    Ok(Telemetry { traces })
}

fn provider(endpoint: &SecretUrl, sample: f64) -> Result<SdkTracerProvider, String> {
    let (endpoint, headers) = without_login(endpoint)?;
    // OTEL_EXPORTER_OTLP_ENDPOINT holds the collector's base address without the path of the
    // signal. An address with that path is accepted too.
    let url = format!(
        "{}/v1/traces",
        endpoint
            .trim_end_matches('/')
            .trim_end_matches("/v1/traces")
    );
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(url)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(EXPORT_TIMEOUT)
        .with_headers(headers)
        .build();
    let exporter = exporter.map_err(|error| format!("traces.endpoint: {error}"))?;
    let resource = Resource::builder().with_service_name("steward").build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample)));
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_span_processor(RequestIdStamp)
        .with_resource(resource)
        .with_sampler(sampler)
        .build())
}

/// The address without the user name and password, and the header that has them. The exporter
/// quotes its address in what it logs.
fn without_login(endpoint: &SecretUrl) -> Result<(String, HashMap<String, String>), String> {
    let mut url = Url::parse(endpoint.expose())
        .map_err(|error| format!("traces.endpoint: {endpoint}: {error}"))?;
    if url.username().is_empty() && url.password().is_none() {
        return Ok((endpoint.expose().to_owned(), HashMap::new()));
    }
    // Decodes %XX. A plus sign and an ampersand stand for themselves here, unlike in a form.
    let decoded = |text: &str| -> String {
        let text = format!("x={}", text.replace('+', "%2B").replace('&', "%26"));
        form_urlencoded::parse(text.as_bytes())
            .map(|(_, value)| value.into_owned())
            .collect()
    };
    let (user, password) = (
        decoded(url.username()),
        decoded(url.password().unwrap_or_default()),
    );
    let login = format!("{user}:{password}");
    let header = format!("Basic {}", BASE64.encode(login.as_bytes()));
    // A URL with a host, which this is, can always be without a login.
    let _always = url.set_password(None).and(url.set_username(""));
    Ok((
        url.into(),
        HashMap::from([("authorization".to_owned(), header)]),
    ))
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}

/// Runs work for a request. What it logs has the request's id, also without a span.
pub fn for_request<W: Future>(id: &str, work: W) -> impl Future<Output = W::Output> + use<W> {
    CURRENT_REQUEST.scope(Some(Arc::from(id)), work)
}

/// The same for work that is not a future.
pub fn in_request<T>(id: &str, work: impl FnOnce() -> T) -> T {
    CURRENT_REQUEST.sync_scope(Some(Arc::from(id)), work)
}

/// Runs work for the request that the present task works for, if there is one. For work that is
/// spawned.
pub fn for_same_request<W: Future>(work: W) -> impl Future<Output = W::Output> + use<W> {
    let id = CURRENT_REQUEST.try_with(Option::clone).ok().flatten();
    CURRENT_REQUEST.scope(id, work)
}

/// Writes the id of the present request into lines that no span covers. In JSON it stands where a
/// span has it.
struct WithRequestId<F> {
    inner: F,
    is_json: bool,
}

impl<S, N, F> FormatEvent<S, N> for WithRequestId<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let id = CURRENT_REQUEST.try_with(Option::clone).ok().flatten();
        let Some(id) = id.filter(|_| context.lookup_current().is_none()) else {
            return self.inner.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.inner
            .format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end();
        if self.is_json {
            let line = line.strip_suffix('}').unwrap_or(line);
            let span = serde_json::json!({ "request_id": &*id, "name": "request" });
            writeln!(writer, "{line},\"span\":{span}}}")
        } else {
            writeln!(writer, "{line} {REQUEST_ID}={id}")
        }
    }
}

/// Whether traces are sent.
pub fn is_tracing() -> bool {
    IS_TRACING.load(Ordering::Relaxed)
}

/// Makes the span of a request and gives it the request id, which inner spans inherit. If the
/// request has a `traceparent` header, the span joins the caller's trace.
pub fn in_callers_trace(
    headers: &HeaderMap,
    request_id: &str,
    make: impl FnOnce() -> Span,
) -> Span {
    if !is_tracing() {
        return make();
    }
    let caller = TraceContextPropagator::new().extract(&Headers(headers));
    let _attached = caller
        .with_baggage([KeyValue::new(REQUEST_ID, request_id.to_owned())])
        .attach();
    make()
}

/// Adds the request id to each span when it starts.
#[derive(Debug)]
struct RequestIdStamp;

impl SpanProcessor for RequestIdStamp {
    fn on_start(&self, span: &mut SdkSpan, parent: &Context) {
        if let Some(id) = parent.baggage().get(REQUEST_ID) {
            span.set_attribute(KeyValue::new(REQUEST_ID, id.to_string()));
        }
    }

    fn on_end(&self, _: SpanData) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing::warn;

    use super::*;

    /// The lines that `work` logs, in JSON.
    fn lines(work: impl FnOnce()) -> Vec<serde_json::Value> {
        static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());
        let log = fmt::layer()
            .json()
            .with_writer(|| {
                Lines(|line| {
                    LINES.lock().unwrap().extend_from_slice(line);
                    Ok(())
                })
            })
            .map_event_format(|inner| WithRequestId {
                inner,
                is_json: true,
            });
        let log = tracing_subscriber::registry().with(log);
        tracing::subscriber::with_default(log, work);
        let text = String::from_utf8(std::mem::take(&mut *LINES.lock().unwrap())).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn a_line_has_the_id_of_its_request_with_and_without_a_span() {
        let logged = lines(|| {
            warn!("before");
            in_request(r#"a"b"#, || warn!("without"));
            in_request("outer", || {
                tracing::info_span!("request", request_id = "spanned").in_scope(|| warn!("with"));
            });
        });
        let ids = logged
            .iter()
            .map(|line| line["span"]["request_id"].as_str());
        let ids: Vec<_> = ids.collect();
        assert_eq!(ids, [None, Some(r#"a"b"#), Some("spanned")]);
    }
}
