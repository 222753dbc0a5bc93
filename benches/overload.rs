//! Measures a well-behaved client beside clients that overload the server: `cargo bench --bench overload [-- FLAGS]`.
//!
//! The attackers send long documents, many passages and thousands of terms, without a pause, from several addresses.
//! With `--keys`, the server requires an API key, which the attackers do not have. The benchmark measures the good client's
//! latency with single terms, the slowest answer of `/livez`, the answers to the attackers, and the server's memory during
//! the attack and a minute later.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;
use hdrhistogram::Histogram;
use hyper::body::Bytes;
use lexivec_benches::client::Client;
use lexivec_benches::process::Usage;
use lexivec_benches::server::{Server, project};
use lexivec_benches::texts::{body, passage, term};
use serde_json::json;
use tokio::task::JoinSet;

#[derive(Parser)]
struct Args {
    /// Model directory or checkpoint to serve. Default: models/nano
    #[arg(long)]
    model: Option<PathBuf>,
    /// Seconds of the attack
    #[arg(long, default_value_t = 40.0)]
    seconds: f64,
    /// Number of the attackers' connections
    #[arg(long, default_value_t = 16)]
    attackers: u64,
    /// Number of the attackers' addresses
    #[arg(long, default_value_t = 4)]
    addresses: u64,
    /// Requires an API key, which only the good client has
    #[arg(long)]
    keys: bool,
    /// Seconds after the attack at which memory is measured again
    #[arg(long, default_value_t = 60)]
    rest: u64,
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

const KEY: &str = "a-key-that-attackers-do-not-know";
/// A term has about four tokens, and a document about 4,096.
const TERMS_OF_A_DOCUMENT: u64 = 480;
const TERMS_OF_A_PASSAGE: u64 = 16;
/// Attackers wait this long after a rejection. Without a pause, the benchmark would measure the speed of rejections.
const RETRY_PAUSE: Duration = Duration::from_millis(300);
const GOOD_CLIENT_PAUSE: Duration = Duration::from_millis(50);
const PROBE_INTERVAL: Duration = Duration::from_millis(200);
const ATTACKS: [&str; 3] = ["4 documents", "256 passages", "2,000 terms"];

fn main() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(measure(Args::parse()))
}

async fn measure(args: Args) -> anyhow::Result<()> {
    let model = args.model.clone().unwrap_or_else(|| project("models/nano"));
    let mut flags = vec![model.to_str().context("the model's path is not UTF-8")?];
    flags.extend(["--served-model-name", "m"]);
    flags.extend(args.serve.split_whitespace());
    let mut key_file = tempfile::NamedTempFile::new()?;
    writeln!(key_file, "{KEY}")?;
    let key_path = key_file
        .path()
        .to_str()
        .context("the key file's path is not UTF-8")?;
    if args.keys {
        flags.extend(["--api-key-file", key_path]);
    }
    let server = Server::of(args.program.as_deref(), &flags).await?;
    let client =
        |last: u8| Client::new(server.address).from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)));
    let numbers = Arc::new(AtomicU64::new(0));
    // Admission control predicts waits from the measured rate of full batches, so the server computes some first.
    let mut good = client(7).with_key(KEY);
    for _ in 0..2 {
        good.post("/v1/embeddings", attack_body(1, &numbers, 64))
            .await?;
    }

    let end = Instant::now() + Duration::from_secs_f64(args.seconds);
    let mut attackers = JoinSet::new();
    for attacker in 0..args.attackers {
        let address = 100 + (attacker % args.addresses) as u8;
        attackers.spawn(attack_until(
            end,
            client(address),
            attacker,
            Arc::clone(&numbers),
        ));
    }
    let watch = tokio::spawn(watch_until(end, server.address, server.pid()));
    let (times, statuses) = good_client(end, good, &numbers).await?;
    let (slowest_livez, peak) = watch.await??;
    let mut answers: BTreeMap<(usize, String), u64> = BTreeMap::new();
    while let Some(statuses) = attackers.join_next().await {
        for (key, count) in statuses? {
            *answers.entry(key).or_default() += count;
        }
    }
    let ms = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
    println!(
        "| client | requests | p50 ms | p99 ms | max ms | statuses |\n|---|---|---|---|---|---|"
    );
    println!(
        "| good | {} | {:.0} | {:.0} | {:.0} | {statuses:?} |",
        times.len(),
        ms(0.5),
        ms(0.99),
        ms(1.0)
    );
    for (attack, name) in ATTACKS.iter().enumerate() {
        let of_attack: BTreeMap<_, _> = answers
            .iter()
            .filter(|((k, _), _)| *k == attack)
            .map(|((_, status), count)| (status, count))
            .collect();
        let requests: u64 = of_attack.values().copied().sum();
        println!("| attackers: {name} | {requests} | | | | {of_attack:?} |");
    }
    tokio::time::sleep(Duration::from_secs(args.rest)).await;
    let after = Usage::of(server.pid())?.resident;
    println!(
        "\nslowest /livez: {:.0} ms; resident memory: peak {} MB, {} s later {} MB",
        slowest_livez.as_secs_f64() * 1e3,
        peak / 1_000_000,
        args.rest,
        after / 1_000_000,
    );
    ensure!(
        !times.is_empty(),
        "the server answered none of the good client's requests with 200"
    );
    Ok(())
}

/// Returns the body of a request of one of [`ATTACKS`], with at most `most` texts.
fn attack_body(attack: usize, numbers: &AtomicU64, most: u64) -> Bytes {
    let texts = [4, 256, 2000][attack].min(most);
    let first = numbers.fetch_add(texts, Ordering::Relaxed);
    let text = |number| match attack {
        0 => passage(number, TERMS_OF_A_DOCUMENT),
        1 => passage(number, TERMS_OF_A_PASSAGE),
        _ => term(number),
    };
    let texts: Vec<String> = (first..first + texts).map(text).collect();
    body("m", &texts, &json!({"truncate": "end"}))
}

async fn attack_until(
    end: Instant,
    mut client: Client,
    attacker: u64,
    numbers: Arc<AtomicU64>,
) -> BTreeMap<(usize, String), u64> {
    let mut statuses = BTreeMap::new();
    for turn in attacker.. {
        if Instant::now() >= end {
            break;
        }
        let attack = (turn % 3) as usize;
        let answer = client
            .send(
                "/v1/embeddings",
                Some(attack_body(attack, &numbers, u64::MAX)),
            )
            .await;
        let status = answer.map_or("connection".to_owned(), |(status, _)| {
            status.as_str().to_owned()
        });
        if status != "200" {
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        *statuses.entry((attack, status)).or_default() += 1;
    }
    statuses
}

/// Sends single terms one after another. Returns the microseconds of those answered with 200, and all statuses.
async fn good_client(
    end: Instant,
    mut client: Client,
    numbers: &AtomicU64,
) -> anyhow::Result<(Histogram<u64>, BTreeMap<String, u64>)> {
    let mut times = Histogram::new_with_bounds(1, 600_000_000, 3)?;
    let mut statuses = BTreeMap::new();
    while Instant::now() < end {
        let started = Instant::now();
        let (status, _) = client
            .send("/v1/embeddings", Some(attack_body(2, numbers, 1)))
            .await?;
        if status.is_success() {
            times.saturating_record(started.elapsed().as_micros() as u64);
        }
        *statuses.entry(status.as_str().to_owned()).or_default() += 1;
        tokio::time::sleep(GOOD_CLIENT_PAUSE).await;
    }
    Ok((times, statuses))
}

/// Returns the slowest answer of `/livez`, asked on new connections, and the highest resident memory in bytes.
async fn watch_until(
    end: Instant,
    address: SocketAddr,
    pid: u32,
) -> anyhow::Result<(Duration, u64)> {
    let (mut slowest, mut peak) = (Duration::ZERO, 0);
    while Instant::now() < end {
        let started = Instant::now();
        Client::new(address).get("/livez").await?;
        slowest = slowest.max(started.elapsed());
        peak = peak.max(Usage::of(pid)?.resident);
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
    Ok((slowest, peak))
}
