//! Measures the CPU that a request takes outside tokenizer and model: `cargo bench --bench overhead [-- FLAGS]`.
//!
//! `lexivec serve models/nano` runs under a closed loop of single terms. The overhead is the CPU of the whole process, minus
//! that of session threads (`lexivec-worker` and those that ONNX Runtime starts), minus the tokenizer's time for the same
//! texts on a separate thread. It contains reading, parsing, queueing, answering, logging and metrics. One workload has only
//! new texts. The other has only cache hits, for which the process does nothing else.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use lexivec_benches::load::{Bodies, Load, Pace, Stop, run};
use lexivec_benches::report::{self, Measurement, Spread, calm, measure};
use lexivec_benches::server::{Server, project};
use lexivec_benches::texts::{body, term};
use lexivec_runtime::{ModelInfo, Request, Tokenizer};
use serde_json::json;

#[derive(Parser)]
struct Args {
    /// Number of clients
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Seconds per measurement
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Number of rounds; tables show medians and ranges over rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Additional flags for `lexivec serve`, as a single argument
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    serve: String,
    /// Writes the measurements of all rounds to this file as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Number of distinct terms in the workload of cache hits.
const CACHED_TERMS: u64 = 1000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let server = Server::nano(None, &args.serve).await?;
    let bodies = |number: u64| body("nano", &[term(number)], &json!({}));
    let new: Bodies = Arc::new(bodies);
    let cached: Bodies = Arc::new(move |number| bodies(number % CACHED_TERMS));
    let mut load = Load {
        address: server.address,
        path: "/v1/embeddings",
        clients: args.clients,
        pace: Pace::Closed,
        stop: Stop::Requests(2 * CACHED_TERMS),
        bodies: Arc::clone(&cached),
        first: 0,
    };
    run(&load).await?;
    load.stop = Stop::After(Duration::from_secs_f64(args.seconds));
    // New texts have higher numbers than the cached ones.
    let mut first = CACHED_TERMS;
    let mut rows = Vec::new();
    let mut tokenizing = Vec::new();
    // The first round warms up and does not count.
    for round in 0..=args.rounds {
        let mut measured = Vec::new();
        for (label, bodies) in [("new texts", &new), ("cache hits", &cached)] {
            load.bodies = Arc::clone(bodies);
            load.first = first;
            calm().await?;
            measured.push(measure(label, server.pid(), &load, 1).await?);
            first += measured[0].statuses.values().sum::<u64>();
        }
        if round > 0 {
            tokenizing.push(tokenizer_us(first)?);
            rows.extend(measured);
        }
    }
    report::print(&rows);
    breakdown(&rows, &tokenizing);
    if let Some(path) = &args.json {
        report::write(path, &rows)?;
    }
    Ok(())
}

/// Returns the microseconds that the tokenizer takes for a term.
fn tokenizer_us(first: u64) -> anyhow::Result<f64> {
    const TERMS: u64 = 20_000;
    let nano = project("models/nano");
    let model = ModelInfo::read(&nano);
    let (vocabulary, max_length) = model.map_or((16_384, 4096), |m| (m.vocabulary, m.max_length));
    let tokenizer = Tokenizer::open(&nano.join("tokenizer.json"), vocabulary, max_length)?;
    let terms: Vec<String> = (first..first + TERMS).map(term).collect();
    let started = Instant::now();
    for term in &terms {
        black_box(tokenizer.encode(&Request::text(term))?);
    }
    Ok(started.elapsed().as_secs_f64() * 1e6 / TERMS as f64)
}

fn breakdown(rows: &[Measurement], tokenizing: &[f64]) {
    println!("\n| us of CPU per request | new texts | cache hits |\n|---|---|---|");
    let tokenizer = Spread::of(tokenizing.iter().copied());
    let line = |name: &str, value: &dyn Fn(&Measurement) -> f64| {
        let cells = ["new texts", "cache hits"].map(|label| {
            let rounds = rows.iter().filter(|row| row.label == label);
            Spread::of(rounds.map(value))
        });
        println!("| {name} | {} | {} |", cells[0], cells[1]);
    };
    // Threads that ONNX Runtime starts have the name of the program's first thread.
    let sessions = |row: &Measurement| {
        row.thread_us("lexivec-worker") + row.threads_us.get("lexivec").copied().unwrap_or(0.0)
    };
    line("whole process", &|row| row.server_us);
    line("session threads", &sessions);
    line("other threads", &|row| row.server_us - sessions(row));
    println!("| tokenizer | {tokenizer} | {tokenizer} |");
    line("**outside tokenizer and model**", &|row| {
        row.server_us - sessions(row) - tokenizer.median
    });
    line(
        "requests per second and core outside session threads",
        &|row| 1e6 / (row.server_us - sessions(row)),
    );
}
