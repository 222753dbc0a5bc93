//! Logs to standard error, and traces to a collector.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use super::Usage;

use crate::stdio::say;

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// A JSON object per line, for log collectors.
    Json,
}

/// The flags of logs and traces.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs and traces")]
pub(crate) struct LogArgs {
    /// Log level: error, warn, info (a line per request) or debug
    #[arg(long, env = "LEXIVEC_LOG", default_value = "info")]
    log: String,

    /// Format of the log. Choose json for log collectors: it writes an object per line
    #[arg(long, env = "LEXIVEC_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,

    /// OpenTelemetry collector that receives traces (OTLP over HTTP), such as `http://localhost:4318`. Default: no traces
    #[arg(long, env = "LEXIVEC_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
}

/// The running log. It sends the remaining traces when it is dropped.
#[derive(Debug)]
pub(crate) struct Logging(Option<SdkTracerProvider>);

impl Drop for Logging {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.as_ref().map(SdkTracerProvider::shutdown) {
            say!("the last traces could not be sent: {error}");
        }
    }
}

impl LogArgs {
    /// Whether programs read the log, which then has only JSON.
    pub(crate) fn for_programs(&self) -> bool {
        self.log_format == LogFormat::Json
    }

    /// Starts the log and the export of traces.
    ///
    /// # Errors
    /// The level or the address is malformed.
    pub(crate) fn init(&self) -> anyhow::Result<Logging> {
        // ONNX Runtime logs every device and library that it looks at, and clients of collectors and object stores every request or retry.
        let quiet = "ort=warn,actix_http=off,actix_server=warn,hyper_util=warn,object_store=warn,reqwest=warn,opentelemetry=warn";
        let filter = EnvFilter::try_new(format!("{},{quiet}", self.log))
            .map_err(|e| Usage(format!("--log: {e}")))?;
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            // tracing-subscriber reports it with eprintln!, which panics if standard error is closed.
            .log_internal_errors(false);
        let lines = match self.log_format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .boxed(),
        };
        let provider = self.otlp_endpoint.as_deref().map(traces).transpose()?;
        let traces = provider
            .as_ref()
            .map(|p| tracing_opentelemetry::layer().with_tracer(p.tracer("lexivec")));
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .with(traces)
            .init();
        Ok(Logging(provider))
    }
}

fn traces(endpoint: &str) -> anyhow::Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .build()
        .with_context(|| format!("--otlp-endpoint {endpoint}"))?;
    // Requests that bring a `traceparent` join the caller's trace.
    global::set_text_map_propagator(TraceContextPropagator::new());
    let resource = Resource::builder().with_service_name("lexivec").build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}
