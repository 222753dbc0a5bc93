//! The metrics of the HTTP server.

mod renamed;

use std::time::Duration;

use actix_web::http::Method;
use lexivec_runtime::metrics as runtime_metrics;
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use renamed::with_former_names;

use super::counts::Counts;
use super::errors::ErrorCode;

const REQUESTS: &str = "lexivec_requests_total";
const DURATION: &str = "lexivec_request_duration_seconds";
const ERRORS: &str = "lexivec_errors_total";
const BUILD: &str = "lexivec_build_info";
const KEY_REQUESTS: &str = "lexivec_key_requests_total";
const KEY_TEXTS: &str = "lexivec_key_texts_total";
const KEY_TOKENS: &str = "lexivec_key_tokens_total";

/// From 50 microseconds, a cache hit, to 200 seconds, each bucket about twice the one before.
const SECONDS: [f64; 21] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0,
    2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0,
];
/// Texts and tokens of a batch.
const SIZES: [f64; 17] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0,
    16_384.0, 32_768.0, 65_536.0,
];
/// Samples of histograms are sorted into their buckets at this interval, as the exporter's documentation requires.
const UPKEEP: Duration = Duration::from_secs(5);

/// Collects the metrics of the process, which `GET /metrics` shows.
#[derive(Clone)]
pub struct Exporter {
    prometheus: PrometheusHandle,
    process: Collector,
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exporter")
    }
}

impl Exporter {
    /// Starts to collect. Call it once, before an engine opens.
    ///
    /// # Errors
    /// A recorder is installed already, or the system cannot start a thread.
    pub fn install() -> anyhow::Result<Self> {
        let prometheus = builder()?.install_recorder()?;
        runtime_metrics::describe();
        describe_counter!(REQUESTS, "Requests answered");
        describe_histogram!(
            DURATION,
            Unit::Seconds,
            "From a request's head to its response's head"
        );
        describe_counter!(ERRORS, "Requests answered with an error, by its code");
        describe_counter!(KEY_REQUESTS, "Requests answered, by the name of their key");
        describe_counter!(
            KEY_TEXTS,
            "Texts answered with a vector, by the name of the key"
        );
        describe_counter!(KEY_TOKENS, "Tokens of those texts, by the name of the key");
        describe_gauge!(BUILD, "Always 1; the labels tell the versions");
        let process = Collector::default();
        process.describe();
        let upkeep = prometheus.clone();
        std::thread::Builder::new()
            .name("lexivec-metrics".to_owned())
            .spawn(move || {
                loop {
                    std::thread::sleep(UPKEEP);
                    upkeep.run_upkeep();
                }
            })?;
        Ok(Self {
            prometheus,
            process,
        })
    }

    /// Shows the versions of lexivec and of ONNX Runtime.
    pub fn show_versions(&self, onnxruntime: &str) {
        let versions = [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("onnxruntime", onnxruntime.to_owned()),
        ];
        gauge!(BUILD, &versions).set(1.0);
    }

    /// All metrics in Prometheus' text format.
    pub(super) fn render(&self) -> String {
        self.process.collect();
        with_former_names(self.prometheus.render())
    }
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Prefix("lexivec_batch_".to_owned()), &SIZES)
}

/// Counts an answered request. Labels come from closed sets: the route's pattern, never a path that a scanner made up.
pub(super) fn request(
    route: &str,
    method: &Method,
    status: u16,
    took: Duration,
    code: Option<ErrorCode>,
) {
    let labels = [
        ("route", route.to_owned()),
        ("method", known(method).to_owned()),
        ("status", status.to_string()),
    ];
    counter!(REQUESTS, &labels).increment(1);
    histogram!(DURATION, "route" => route.to_owned()).record(took);
    if let Some(code) = code {
        counter!(ERRORS, "code" => code.name).increment(1);
    }
}

/// Counts an answered request of a key that has a name.
pub(super) fn of_key(key: &str, counts: &Counts, status: u16) {
    let key = || ("key", key.to_owned());
    counter!(KEY_REQUESTS, &[key(), ("status", status.to_string())]).increment(1);
    counter!(KEY_TEXTS, &[key()]).increment(counts.texts as u64);
    counter!(KEY_TOKENS, &[key()]).increment(counts.tokens as u64);
}

/// The method, or `other`, because clients may invent any number of methods.
pub(super) fn known(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::POST
        | Method::PUT
        | Method::DELETE
        | Method::HEAD
        | Method::OPTIONS
        | Method::PATCH => method.as_str(),
        _ => "other",
    }
}
