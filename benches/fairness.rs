//! Measures how long single texts wait beside large requests: `cargo bench --bench fairness [-- FLAGS]`.
//!
//! One client sends requests of 2,048 short texts, another requests of eight documents with nearly 4,096 tokens each (30,000
//! in a request), both without a pause. A third client sends single texts, at most 20 per second. The benchmark compares the
//! third client's latency with its latency alone, and counts the batches that run before its own.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;
use hyper::body::Bytes;
use lexivec_benches::client::Client;
use lexivec_benches::metrics::Metrics;
use lexivec_benches::report::{Spread, calm};
use lexivec_benches::server::Server;
use lexivec_benches::texts::{body, passage, term};
use serde_json::json;

#[derive(Parser)]
struct Args {
    /// Seconds per measurement
    #[arg(long, default_value_t = 15.0)]
    seconds: f64,
    /// Number of rounds
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Additional flags for `lexivec serve`, as a single argument
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    serve: String,
    /// The lexivec program to measure. Default: a release build of this project
    #[arg(long)]
    program: Option<PathBuf>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Terms of a document, which has nearly 4,096 tokens. The benchmark prints the tokens of a request at the start.
const DOCUMENT_TERMS: u64 = 480;
const DOCUMENTS: u64 = 8;
/// The third client waits this long between requests.
const PAUSE: Duration = Duration::from_millis(50);

/// The third client's waits, by request.
#[derive(Default)]
struct SingleTextWaits {
    /// Milliseconds until the answer.
    ms: Vec<f64>,
    /// Batches that ran before its own.
    batches: Vec<f64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let server = Server::nano(args.program.as_deref(), &args.serve).await?;
    let numbers = Arc::new(AtomicU64::new(0));
    println!(
        "tokens in a request: short texts {}, documents {}",
        tokens(&server, short_texts(&numbers)).await?,
        tokens(&server, documents(&numbers)).await?
    );
    println!(
        "| round | the third client | requests | p50 ms | p99 ms | max ms | batches before its own: mean | max | short texts: requests/s | documents: requests/s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for round in 1..=args.rounds {
        for together in [false, true] {
            calm().await?;
            let stop = Arc::new(AtomicBool::new(false));
            let started = Instant::now();
            let others = [short_texts as fn(&AtomicU64) -> Bytes, documents].map(|make| {
                let (stop, numbers) = (Arc::clone(&stop), Arc::clone(&numbers));
                let client = Client::new(server.address);
                tokio::spawn(async move {
                    if together {
                        send_until_stopped(client, make, &numbers, &stop).await
                    } else {
                        Ok(0)
                    }
                })
            });
            // Lets the queue fill.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let seconds = Duration::from_secs_f64(args.seconds);
            let waits = send_single_texts(&server, &numbers, seconds).await?;
            stop.store(true, Ordering::Relaxed);
            let mut served = Vec::new();
            for other in others {
                served.push(other.await?? as f64);
            }
            let seconds = started.elapsed().as_secs_f64();
            let ms = sorted(waits.ms);
            let mean = waits.batches.iter().sum::<f64>() / waits.batches.len() as f64;
            println!(
                "| {round} | {} | {} | {:.1} | {:.1} | {:.1} | {mean:.2} | {:.0} | {:.2} | {:.2} |",
                if together { "together" } else { "alone" },
                ms.len(),
                quantile(&ms, 0.5),
                quantile(&ms, 0.99),
                quantile(&ms, 1.0),
                Spread::of(waits.batches).max,
                served[0] / seconds,
                served[1] / seconds,
            );
        }
    }
    Ok(())
}

/// Returns the body of a request with 2,048 short texts.
fn short_texts(numbers: &AtomicU64) -> Bytes {
    let first = numbers.fetch_add(2048, Ordering::Relaxed);
    let texts: Vec<String> = (first..first + 2048).map(term).collect();
    body("nano", &texts, &json!({}))
}

/// Returns the body of a request with [`DOCUMENTS`] documents.
fn documents(numbers: &AtomicU64) -> Bytes {
    let first = numbers.fetch_add(DOCUMENTS, Ordering::Relaxed);
    let texts: Vec<String> = (first..first + DOCUMENTS)
        .map(|n| passage(n, DOCUMENT_TERMS))
        .collect();
    // Some documents exceed the model's limit by a few tokens.
    body("nano", &texts, &json!({"truncate": "end"}))
}

async fn tokens(server: &Server, body: Bytes) -> anyhow::Result<u64> {
    let answer = Client::new(server.address)
        .post("/v1/embeddings", body)
        .await?;
    answer["usage"]["total_tokens"].as_u64().context("no usage")
}

/// Sends requests one after another until `stop` is set. Returns the number of answers.
async fn send_until_stopped(
    mut client: Client,
    make: fn(&AtomicU64) -> Bytes,
    numbers: &AtomicU64,
    stop: &AtomicBool,
) -> anyhow::Result<u64> {
    let mut answered = 0;
    while !stop.load(Ordering::Relaxed) {
        let (status, answer) = client.send("/v1/embeddings", Some(make(numbers))).await?;
        ensure!(
            status.is_success(),
            "{status}: {}",
            String::from_utf8_lossy(&answer)
        );
        answered += 1;
    }
    Ok(answered)
}

/// Sends single texts for a while, with pauses.
async fn send_single_texts(
    server: &Server,
    numbers: &AtomicU64,
    time: Duration,
) -> anyhow::Result<SingleTextWaits> {
    let mut client = Client::new(server.address);
    let mut waits = SingleTextWaits::default();
    let end = Instant::now() + time;
    while Instant::now() < end {
        let text = term(numbers.fetch_add(1, Ordering::Relaxed));
        let before = batches(&mut client).await?;
        let started = Instant::now();
        client
            .post("/v1/embeddings", body("nano", &[text], &json!({})))
            .await?;
        waits.ms.push(started.elapsed().as_secs_f64() * 1e3);
        // The server counts the text's own batch before it answers.
        waits
            .batches
            .push(batches(&mut client).await? - before - 1.0);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(waits)
}

async fn batches(client: &mut Client) -> anyhow::Result<f64> {
    Ok(Metrics::scrape(client)
        .await?
        .sum("lexivec_batches_total", &[]))
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(place.max(1) - 1).copied().unwrap_or(f64::NAN)
}
