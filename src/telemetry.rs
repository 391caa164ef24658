//! The log, on standard error, for people on a terminal, as JSON lines elsewhere; and traces, sent by OTLP where that is
//! configured: a span for each layer a request goes through, each with the request's id.

use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::HeaderMap;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{Span as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    Sampler, SdkTracerProvider, Span as SdkSpan, SpanData, SpanProcessor,
};
use tracing::Span;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

/// How long one export may take, and so the end of the process at the longest.
const EXPORT: Duration = Duration::from_secs(5);

/// The target of every span of ours: `request` at level info, so that lines of the log have its id, the others at level debug.
pub const SPANS: &str = "steward_span";
/// The attribute that every span of a request has.
const REQUEST_ID: &str = "request_id";
/// Whether anything is traced: what that costs is then paid.
static IS_TRACING: AtomicBool = AtomicBool::new(false);

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people on a terminal, else JSON.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// What is logged and traced.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A level, or a filter of the log.
    pub level: String,
    /// How the log is written.
    pub format: Format,
    /// Where traces go: a collector's OTLP address over HTTP; none: nowhere.
    pub traces: Option<String>,
    /// Which share of the requests is traced, of those whose caller has not decided that already; 0 to 1.
    pub sample: f64,
}

/// What must be finished before the process ends.
#[derive(Debug, Default)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sends what was traced last.
    pub fn finish(self) {
        if let Some(traces) = self.traces {
            // There is nobody left to be told that it failed.
            let _unsent = traces.shutdown_with_timeout(EXPORT);
        }
    }
}

/// Starts the log and the traces; a second call changes nothing.
///
/// # Errors
/// What is wrong with the settings.
pub fn start(settings: &Settings) -> Result<Telemetry, String> {
    let traces = settings
        .traces
        .as_deref()
        .map(|endpoint| provider(endpoint, settings.sample))
        .transpose()?;
    // One filter for the log and the traces: with one for each, tracing loses lines and spans after somebody (sqlx does) asks whether
    // something would be logged without logging it. What is a span of ours has a target of its own, so that it can be let through apart.
    let spans = if traces.is_some() {
        LevelFilter::DEBUG
    } else {
        LevelFilter::INFO
    };
    let filter =
        EnvFilter::try_new(&settings.level).map_err(|error| format!("log.level: {error}"))?;
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
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .boxed()
    } else {
        // Where there are spans within the request's, the line names all of them: its id stands in the outermost.
        fmt::layer()
            .json()
            .with_writer(io::stderr)
            .flatten_event(true)
            .with_current_span(traces.is_none())
            .with_span_list(traces.is_some())
            .boxed()
    };
    IS_TRACING.store(traces.is_some(), Ordering::Relaxed);
    // It fails only where a log was started before.
    drop(
        tracing_subscriber::registry()
            .with(filter)
            .with(log)
            .with(layer)
            .try_init(),
    );
    Ok(Telemetry { traces })
}

fn provider(endpoint: &str, sample: f64) -> Result<SdkTracerProvider, String> {
    // As the standard's own variable has it: the address of the collector, without the path of the signal.
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
        .with_timeout(EXPORT)
        .build();
    let exporter = exporter.map_err(|error| format!("traces.endpoint: {error}"))?;
    let resource = Resource::builder().with_service_name("steward").build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample)));
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_span_processor(Stamp)
        .with_resource(resource)
        .with_sampler(sampler)
        .build())
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

/// Makes a request's span, which has its id, as all spans within it have, and is part of its caller's trace, if the request says
/// which that is.
pub fn in_callers_trace(
    headers: &HeaderMap,
    request_id: &str,
    make: impl FnOnce() -> Span,
) -> Span {
    if !IS_TRACING.load(Ordering::Relaxed) {
        return make();
    }
    let caller = TraceContextPropagator::new().extract(&Headers(headers));
    let _within = caller
        .with_baggage([KeyValue::new(REQUEST_ID, request_id.to_owned())])
        .attach();
    make()
}

/// Writes the request's id on every span as it begins.
#[derive(Debug)]
struct Stamp;

impl SpanProcessor for Stamp {
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
