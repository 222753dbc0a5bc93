//! Measures how much the response cache saves on repeated terms: `cargo bench --bench cache [-- FLAGS]`.
//!
//! 64 clients ask for 100,000 terms by Zipf's law (exponents 1.0 and 1.1), with one or 32 terms per request. The settings are
//! no cache, a cache in the process of several sizes, and a real Redis that another server has filled. Each setting gets the
//! same requests and a new server. Every round has all settings.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashSet;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;
use lexivec_benches::client::Client;
use lexivec_benches::load::{Load, Pace, Stop, run};
use lexivec_benches::metrics::Metrics;
use lexivec_benches::report::{self, Measurement, Spread, calm, measure};
use lexivec_benches::server::{Server, free_port};
use lexivec_benches::texts::{Zipf, body, term};
use serde_json::json;

#[derive(Parser)]
struct Args {
    /// Number of distinct terms
    #[arg(long, default_value_t = 100_000)]
    terms: usize,
    /// Number of texts in the requests of each setting
    #[arg(long, default_value_t = 60_000)]
    asked: u64,
    /// Exponents of Zipf's law
    #[arg(long, value_delimiter = ',', default_values_t = [1.0, 1.1])]
    exponents: Vec<f64>,
    /// Number of rounds; tables show medians and ranges over rounds
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Writes the measurements of all rounds to this file as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// An entry of the cache counts 1,280 bytes for nano, so 128,000,000 bytes hold all terms.
const SETTINGS: [(&str, &str); 7] = [
    ("no cache", "--cache-bytes 0"),
    ("2 MB in the process", "--cache-bytes 2000000"),
    ("8 MB", "--cache-bytes 8000000"),
    ("32 MB", "--cache-bytes 32000000"),
    ("128 MB", "--cache-bytes 128000000"),
    (
        "Redis filled before, nothing in the process",
        "--cache-bytes 0 --redis-url REDIS",
    ),
    (
        "Redis filled before, 32 MB in the process",
        "--cache-bytes 32000000 --redis-url REDIS",
    ),
];

/// How one setting answered the texts of its requests, as shares of these texts.
struct CacheSavings {
    label: String,
    /// Texts that repeat an earlier one of this run.
    repeated: f64,
    /// Texts that the model did not compute.
    not_computed: f64,
    /// Hits of the cache in the process.
    memory: f64,
    /// Hits in Redis.
    redis: f64,
    /// Texts that were coalesced with an identical one in flight.
    coalesced: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut rows = Vec::new();
    let mut saved = Vec::new();
    for round in 1..=args.rounds {
        for exponent in &args.exponents {
            let zipf = Zipf::new(args.terms, *exponent);
            let distinct: HashSet<u64> = (0..args.asked).map(|seed| zipf.draw(seed)).collect();
            let repeats = args.asked - distinct.len() as u64;
            for texts in [1, 32] {
                for (name, flags) in SETTINGS {
                    let label = format!("s = {exponent}, {texts} texts: {name}");
                    let redis = flags.contains("REDIS").then(Redis::start).transpose()?;
                    let url = redis.as_ref().map(Redis::url).unwrap_or_default();
                    let flags = flags.replace("REDIS", &url);
                    if redis.is_some() {
                        // Another server fills Redis.
                        let server = serve(&flags).await?;
                        run(&load(&server, &zipf, texts, args.asked, 1 << 40)).await?;
                    }
                    let server = serve(&flags).await?;
                    let load = load(&server, &zipf, texts, args.asked, 0);
                    let before = Metrics::scrape(&mut Client::new(server.address)).await?;
                    calm().await?;
                    let row = measure(&label, server.pid(), &load, texts as usize).await?;
                    eprintln!(
                        "round {round}: {label}: {:.0} texts/s, others {:.2} cores",
                        row.texts_per_s, row.others_cores
                    );
                    let now = Metrics::scrape(&mut Client::new(server.address)).await?;
                    ensure!(row.errors() == 0, "{label}: {:?}", row.statuses);
                    saved.push(savings(label, &now, &before, args.asked, repeats));
                    rows.push(row);
                }
            }
        }
    }
    report::print(&rows);
    print(&rows, &saved);
    if let Some(path) = &args.json {
        report::write(path, &rows)?;
    }
    Ok(())
}

async fn serve(flags: &str) -> anyhow::Result<Server> {
    let server = Server::nano(None, flags).await?;
    // Terms that no workload has.
    let warm = (0..64).map(|n| term(1_000_000_000 + n)).collect::<Vec<_>>();
    for _ in 0..20 {
        Client::new(server.address)
            .post("/v1/embeddings", body("nano", &warm, &json!({})))
            .await?;
    }
    Ok(server)
}

fn load(server: &Server, zipf: &Zipf, texts: u64, asked: u64, seed: u64) -> Load {
    let zipf = zipf.clone();
    let bodies = move |number: u64| {
        let terms: Vec<String> = (0..texts)
            .map(|t| term(zipf.draw(seed + number * texts + t)))
            .collect();
        body("nano", &terms, &json!({}))
    };
    Load {
        address: server.address,
        path: "/v1/embeddings",
        clients: 64,
        pace: Pace::Closed,
        stop: Stop::Requests(asked / texts),
        bodies: Arc::new(bodies),
        first: 0,
    }
}

fn savings(
    label: String,
    now: &Metrics,
    before: &Metrics,
    asked: u64,
    repeats: u64,
) -> CacheSavings {
    let share =
        |name: &str, labels: &[(&str, &str)]| now.grown(before, name, labels) / asked as f64;
    let hits = |tier| {
        share(
            "lexivec_cache_lookups_total",
            &[("tier", tier), ("outcome", "hit")],
        )
    };
    CacheSavings {
        label,
        repeated: repeats as f64 / asked as f64,
        not_computed: 1.0 - share("lexivec_batch_texts_sum", &[]),
        memory: hits("memory"),
        redis: hits("redis"),
        coalesced: share("lexivec_cache_coalesced_total", &[]),
    }
}

fn print(rows: &[Measurement], saved: &[CacheSavings]) {
    println!(
        "\n| | texts/s / no cache | repeated % | not computed % | not computed / repeated % | memory % | Redis % | coalesced % |\n\
         |---|---|---|---|---|---|---|---|"
    );
    let none = SETTINGS[0].0;
    let rates = |label: &str| -> Vec<f64> {
        let rounds = rows.iter().filter(|row| row.label == label);
        rounds.map(|row| row.texts_per_s).collect()
    };
    let mut done = HashSet::new();
    for one in saved.iter().filter(|one| done.insert(&one.label)) {
        let (workload, _) = one.label.rsplit_once(": ").unwrap_or_default();
        let without = rates(&format!("{workload}: {none}"));
        let ratios = rates(&one.label)
            .into_iter()
            .zip(without)
            .map(|(with, without)| with / without);
        let rounds: Vec<&CacheSavings> = saved
            .iter()
            .filter(|other| other.label == one.label)
            .collect();
        let percent = |value: &dyn Fn(&CacheSavings) -> f64| {
            100.0 * Spread::of(rounds.iter().map(|s| value(s))).median
        };
        println!(
            "| {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
            one.label,
            Spread::of(ratios),
            percent(&|s| s.repeated),
            percent(&|s| s.not_computed),
            percent(&|s| s.not_computed / s.repeated),
            percent(&|s| s.memory),
            percent(&|s| s.redis),
            percent(&|s| s.coalesced),
        );
    }
}

/// A redis-server for this benchmark alone. Dropping it ends the process.
struct Redis {
    process: Child,
    port: u16,
}

impl Redis {
    fn start() -> anyhow::Result<Self> {
        let port = free_port()?;
        let process = Command::new("redis-server")
            .args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--port",
                &port.to_string(),
            ])
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start redis-server; `make redis` installs it")?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(
                Instant::now() < deadline,
                "redis-server did not accept connections within 20 s"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { process, port })
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
