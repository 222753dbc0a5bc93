//! What caches save on terms that repeat: `cargo bench --bench cache [-- FLAGS]`.
//!
//! 100,000 terms, asked for by Zipf's law (exponents 1.0 and 1.1), one or 32 to a request, by 64 clients: without a cache,
//! with the cache in process at several sizes, and through a real Redis that another server filled. Each setting has the
//! same requests and a fresh server; the settings follow each other in every round.
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
use lexivec_benches::report::{self, Row, Spread, calm, measure};
use lexivec_benches::server::{Server, free_port, project};
use lexivec_benches::texts::{Zipf, body, term};
use serde_json::json;

#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 100_000)]
    terms: usize,
    /// Texts asked for in each setting
    #[arg(long, default_value_t = 60_000)]
    asked: u64,
    #[arg(long, value_delimiter = ',', default_values_t = [1.0, 1.1])]
    exponents: Vec<f64>,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Writes every round as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Cargo gives it
    #[arg(long, hide = true)]
    bench: bool,
}

/// A vector of nano and what the cache counts beside it take 1,280 bytes: 128,000,000 hold all terms.
const SETTINGS: [(&str, &str); 7] = [
    ("no cache", "--cache-bytes 0"),
    ("2 MB in process", "--cache-bytes 2000000"),
    ("8 MB", "--cache-bytes 8000000"),
    ("32 MB", "--cache-bytes 32000000"),
    ("128 MB", "--cache-bytes 128000000"),
    (
        "Redis filled before, nothing in process",
        "--cache-bytes 0 --redis-url REDIS",
    ),
    (
        "Redis filled before, 32 MB in process",
        "--cache-bytes 32000000 --redis-url REDIS",
    ),
];

/// What one setting showed beside speed, as shares of the texts asked for.
struct Saved {
    label: String,
    /// Texts that had been asked for before in this run.
    repeated: f64,
    /// Texts that were not computed for their request.
    not_computed: f64,
    /// Those that the cache in process, Redis, and identical texts under way answered.
    memory: f64,
    redis: f64,
    joined: f64,
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
                        // Another server's requests of the day before.
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
    let nano = project("models/nano");
    let mut arguments = vec![nano.to_str().context("the project's path is not UTF-8")?];
    arguments.extend(flags.split_whitespace());
    let server = Server::lexivec(&arguments).await?;
    // Terms that are in no workload.
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

fn savings(label: String, now: &Metrics, before: &Metrics, asked: u64, repeats: u64) -> Saved {
    let share =
        |name: &str, labels: &[(&str, &str)]| now.grown(before, name, labels) / asked as f64;
    let hits = |tier| {
        share(
            "lexivec_cache_lookups_total",
            &[("tier", tier), ("outcome", "hit")],
        )
    };
    Saved {
        label,
        repeated: repeats as f64 / asked as f64,
        not_computed: 1.0 - share("lexivec_batch_texts_sum", &[]),
        memory: hits("memory"),
        redis: hits("redis"),
        joined: share("lexivec_cache_coalesced_total", &[]),
    }
}

fn print(rows: &[Row], saved: &[Saved]) {
    println!(
        "\n| | texts/s by those without a cache | repeated % | not computed % | of the repeated % | memory % | Redis % | joined % |\n\
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
        let rounds: Vec<&Saved> = saved
            .iter()
            .filter(|other| other.label == one.label)
            .collect();
        let percent = |value: &dyn Fn(&Saved) -> f64| {
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
            percent(&|s| s.joined),
        );
    }
}

/// A redis-server of this benchmark's own; it goes when this is dropped.
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
            .context("redis-server does not start: `make redis` installs it")?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(Instant::now() < deadline, "redis-server does not listen");
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
