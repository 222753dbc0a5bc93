//! Three clients at once: `cargo bench --bench fairness [-- FLAGS]`.
//!
//! One sends requests of 2048 short texts, one of eight documents of nearly 4,096 tokens (30,000 in a request), both
//! without a pause; a third sends single texts, 20 a second. How long does the third wait, beside how long it waits
//! alone; and how many batches does the server run meanwhile?
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
use lexivec_benches::server::{Server, project};
use lexivec_benches::texts::{body, passage, term};
use serde_json::json;

#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 15.0)]
    seconds: f64,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Flags for `lexivec serve`, in one argument
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    serve: String,
    /// A lexivec program to measure. Default: this project's
    #[arg(long)]
    program: Option<PathBuf>,
    /// Cargo gives it
    #[arg(long, hide = true)]
    bench: bool,
}

/// Terms of a document of nearly 4,096 tokens; the program tells at the start how many tokens it has.
const DOCUMENT: u64 = 480;
const DOCUMENTS: u64 = 8;
const PAUSE: Duration = Duration::from_millis(50);

/// What the third client met: milliseconds of each request, and batches that were run before its own.
#[derive(Default)]
struct Met {
    ms: Vec<f64>,
    batches: Vec<f64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let nano = project("models/nano");
    let mut flags = vec![nano.to_str().context("the project's path is not UTF-8")?];
    flags.extend(args.serve.split_whitespace());
    let server = match &args.program {
        Some(program) => Server::of(program, &flags).await?,
        None => Server::lexivec(&flags).await?,
    };
    let numbers = Arc::new(AtomicU64::new(0));
    println!(
        "tokens in a request: many {}, long {}",
        tokens(&server, many(&numbers)).await?,
        tokens(&server, long(&numbers)).await?
    );
    println!(
        "| round | the third client | requests | p50 ms | p99 ms | max ms | batches before its own: mean | max | many/s | long/s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for round in 1..=args.rounds {
        for together in [false, true] {
            calm().await?;
            let stop = Arc::new(AtomicBool::new(false));
            let started = Instant::now();
            let others = [many as fn(&AtomicU64) -> Bytes, long].map(|make| {
                let (stop, numbers) = (Arc::clone(&stop), Arc::clone(&numbers));
                let client = Client::new(server.address);
                tokio::spawn(async move {
                    if together {
                        keep_on(client, make, &numbers, &stop).await
                    } else {
                        Ok(0)
                    }
                })
            });
            // The queue fills first.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let met = third(&server, &numbers, Duration::from_secs_f64(args.seconds)).await?;
            stop.store(true, Ordering::Relaxed);
            let mut served = Vec::new();
            for other in others {
                served.push(other.await?? as f64);
            }
            let seconds = started.elapsed().as_secs_f64();
            let ms = sorted(met.ms);
            let mean = met.batches.iter().sum::<f64>() / met.batches.len() as f64;
            println!(
                "| {round} | {} | {} | {:.1} | {:.1} | {:.1} | {mean:.2} | {:.0} | {:.2} | {:.2} |",
                if together { "together" } else { "alone" },
                ms.len(),
                quantile(&ms, 0.5),
                quantile(&ms, 0.99),
                quantile(&ms, 1.0),
                Spread::of(met.batches).max,
                served[0] / seconds,
                served[1] / seconds,
            );
        }
    }
    Ok(())
}

fn many(numbers: &AtomicU64) -> Bytes {
    let first = numbers.fetch_add(2048, Ordering::Relaxed);
    let texts: Vec<String> = (first..first + 2048).map(term).collect();
    body("nano", &texts, &json!({}))
}

fn long(numbers: &AtomicU64) -> Bytes {
    let first = numbers.fetch_add(DOCUMENTS, Ordering::Relaxed);
    let texts: Vec<String> = (first..first + DOCUMENTS)
        .map(|n| passage(n, DOCUMENT))
        .collect();
    // Some have a few tokens more than the model takes.
    body("nano", &texts, &json!({"truncate": "end"}))
}

async fn tokens(server: &Server, body: Bytes) -> anyhow::Result<u64> {
    let answer = Client::new(server.address)
        .post("/v1/embeddings", body)
        .await?;
    answer["usage"]["total_tokens"].as_u64().context("no usage")
}

/// Sends one request after another until told to stop; how many were answered.
async fn keep_on(
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

async fn third(server: &Server, numbers: &AtomicU64, time: Duration) -> anyhow::Result<Met> {
    let mut client = Client::new(server.address);
    let mut met = Met::default();
    let end = Instant::now() + time;
    while Instant::now() < end {
        let text = term(numbers.fetch_add(1, Ordering::Relaxed));
        let before = batches(&mut client).await?;
        let started = Instant::now();
        client
            .post("/v1/embeddings", body("nano", &[text], &json!({})))
            .await?;
        met.ms.push(started.elapsed().as_secs_f64() * 1e3);
        // Its own is counted before it is answered.
        met.batches.push(batches(&mut client).await? - before - 1.0);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(met)
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
