//! The metrics after some traffic, and that clients cannot create labels.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Client, TIMEOUT};
use super::fake::BatchOutcome;
use super::local::{Local, Setup};

/// The value of a series in Prometheus's notation; 0 if there is none yet.
pub(crate) fn metric(local: &Local, series: &str) -> f64 {
    metric_of(local.connect(), series)
}

/// The value of a series at the client's server; 0 if there is none yet.
pub(crate) fn metric_of(mut client: Client, series: &str) -> f64 {
    let text = String::from_utf8(client.get("/metrics").body).unwrap();
    let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
    text.lines().find_map(value).unwrap_or(0.0)
}

/// Retries until the attempt returns a value.
pub(crate) fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(begun.elapsed() < TIMEOUT, "it never happened");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Every series, without its value.
fn series(local: &Local) -> BTreeSet<String> {
    let text = String::from_utf8(local.connect().get("/metrics").body).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
        .collect()
}

#[test]
fn every_documented_metric_exists_with_its_labels() {
    let setup = Setup {
        cache: Some(1 << 20),
        models: &["measured"],
        ..Setup::default()
    };
    let local = setup.serve();
    let ask = |input: &str| {
        let body = json!({"model": "measured", "input": input});
        local.connect().post("/v1/embeddings", &body).status
    };
    assert_eq!((ask("heart"), ask("heart"), ask("")), (200, 200, 400));
    local.control.next(&[BatchOutcome::Panicked]);
    assert_eq!(ask("lung"), 500);
    assert_eq!(ask("lung"), 200);
    let found = series(&local);
    let model = "model=\"measured\"";
    for name in [
        "lexivec_requests_total{route=\"/v1/embeddings\",method=\"POST\",status=\"200\"}",
        "lexivec_requests_total{route=\"/v1/embeddings\",method=\"POST\",status=\"500\"}",
        "lexivec_request_duration_seconds_count{route=\"/v1/embeddings\"}",
        "lexivec_errors_total{code=\"invalid_value\"}",
        "lexivec_errors_total{code=\"internal_error\"}",
        &format!("lexivec_stage_duration_seconds_count{{{model},stage=\"tokenize\"}}"),
        &format!("lexivec_stage_duration_seconds_count{{{model},stage=\"queue\"}}"),
        &format!("lexivec_stage_duration_seconds_count{{{model},stage=\"infer\"}}"),
        &format!("lexivec_stage_duration_seconds_count{{{model},stage=\"respond\"}}"),
        &format!("lexivec_texts_total{{{model}}}"),
        &format!("lexivec_tokens_total{{{model}}}"),
        &format!("lexivec_batch_input_tokens_total{{{model}}}"),
        &format!("lexivec_packed_tokens_computed_total{{{model}}}"),
        &format!("lexivec_packed_tokens_cached_total{{{model}}}"),
        &format!("lexivec_batches_total{{{model},outcome=\"ok\"}}"),
        &format!("lexivec_batches_total{{{model},outcome=\"error\"}}"),
        &format!("lexivec_batches_total{{{model},outcome=\"panic\"}}"),
        &format!("lexivec_batches_total{{{model},outcome=\"out_of_memory\"}}"),
        &format!("lexivec_batch_tokens_count{{{model}}}"),
        &format!("lexivec_batch_texts_count{{{model}}}"),
        &format!("lexivec_batch_token_budget{{{model}}}"),
        &format!("lexivec_queue_texts{{{model}}}"),
        &format!("lexivec_queue_capacity_texts{{{model}}}"),
        &format!("lexivec_texts_dropped_total{{{model}}}"),
        &format!("lexivec_sessions_ready{{{model}}}"),
        &format!("lexivec_session_recreations_total{{{model}}}"),
        "lexivec_cache_lookups_total{tier=\"memory\",outcome=\"hit\"}",
        "lexivec_cache_lookups_total{tier=\"memory\",outcome=\"miss\"}",
        "lexivec_cache_coalesced_total",
        "lexivec_cache_bytes",
        "lexivec_cache_entries",
        "lexivec_build_info{version=\"0.1.0\",onnxruntime=\"none\"}",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        assert!(found.contains(name), "{name} is not among\n{found:#?}");
    }
    assert!(metric(&local, &format!("lexivec_texts_total{{{model}}}")) >= 3.0);
    assert_eq!(
        metric(
            &local,
            &format!("lexivec_session_recreations_total{{{model}}}")
        ),
        1.0
    );
    for (former, current) in [
        ("rows_asked", "batch_input_tokens"),
        ("rows_computed", "packed_tokens_computed"),
        ("rows_cached", "packed_tokens_cached"),
        ("session_rebuilds", "session_recreations"),
    ] {
        let [former, current] =
            [former, current].map(|name| format!("lexivec_{name}_total{{{model}}}"));
        assert!(found.contains(&former), "{former}");
        assert_eq!(
            metric(&local, &former),
            metric(&local, &current),
            "{former}"
        );
    }
    assert!(found.contains("lexivec_cache_joined_total"));
}

#[test]
fn a_scan_of_unknown_paths_and_methods_creates_no_series() {
    let setup = Setup {
        models: &["scanned"],
        ..Setup::default()
    };
    let local = setup.serve();
    let mut client = local.connect();
    for round in 0..1000u64 {
        // Plain and odd paths, also below known ones, with known and unknown methods.
        let noise = round.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let below = [
            "",
            "/v1",
            "/v1/models",
            "/docs",
            "/%ff%00",
            "/embed/..",
            "//",
        ][noise as usize % 7];
        let made_up = format!("M{noise}");
        let method = ["GET", "POST", "HEAD", "PURGE", &made_up][round as usize % 5];
        client.send(format!(
            "{method} {below}/{noise:x}?q={noise} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ));
        if method == "HEAD" {
            client.try_head().unwrap().unwrap();
        } else {
            let (status, code) = client.response().outcome();
            let codes = [
                (404, "not_found"),
                (404, "model_not_found"),
                (405, "method_not_allowed"),
            ];
            assert!(
                codes.contains(&(status, &code)),
                "{method} {below}: {status} {code}"
            );
        }
    }
    let labels = |name: &str| -> BTreeSet<String> {
        let start = format!("{name}=\"");
        let value =
            |series: &String| Some(series.split_once(&start)?.1.split_once('"')?.0.to_owned());
        series(&local).iter().filter_map(value).collect()
    };
    let (routes, methods) = (labels("{route"), labels("method"));
    let known = [
        "/v1/models/{id:.+}",
        "/docs/{_:.*}",
        "/metrics",
        "unmatched",
    ];
    assert!(
        routes.iter().all(|route| known.contains(&route.as_str())),
        "{routes:?}"
    );
    assert!(routes.contains("unmatched"));
    let known = ["GET", "POST", "HEAD", "other"];
    assert!(
        methods
            .iter()
            .all(|method| known.contains(&method.as_str())),
        "{methods:?}"
    );
    assert!(methods.contains("other"));
}
