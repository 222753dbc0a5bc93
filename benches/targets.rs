//! Compares lexivec's own CPU kernels (target `cpu`) with ONNX Runtime's (target `ort`), by the length and number of texts:
//! `cargo bench --bench targets -- --model CHECKPOINT`.
//!
//! The checkpoint is converted for both targets without calibration, which takes twice the model's size in a temporary folder (TMPDIR
//! selects it). Two servers without caches take turns with the same token ids, and the other one is paused. The vectors of both are
//! compared first.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use lexivec_benches::client::Client;
use lexivec_benches::process::Usage;
use lexivec_benches::report::{Spread, calm};
use lexivec_benches::server::{Server, project};
use lexivec_convert::{ConvertOptions, Silent, convert};
use lexivec_models::{Checkpoint, Precision, Target};
use lexivec_runtime::Provider;
use serde_json::{Value, json};

#[derive(Parser)]
struct Args {
    /// Checkpoint. Default: models/nano
    #[arg(long)]
    model: Option<PathBuf>,
    /// Precision of both models
    #[arg(long, default_value = "int8")]
    precision: Precision,
    /// Number of rounds; the table shows medians and ranges over rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that a server answers one request after another in each round, at least once
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Measures only loads whose name contains this text
    #[arg(long, default_value = "")]
    only: String,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// A request: its name, the number of first tokens that all texts share, and the tokens of each text behind them.
fn loads() -> Vec<(&'static str, usize, Vec<usize>)> {
    vec![
        ("1 x 16", 0, vec![16]),
        ("32 x 8", 0, vec![8; 32]),
        ("8 x 64", 0, vec![64; 8]),
        ("1 x 512", 0, vec![512]),
        ("1 x 2,048", 0, vec![2048]),
        (
            "16 texts of 16 to 256",
            0,
            (1..=16).map(|i| 16 * i).collect(),
        ),
        ("32 terms of 4 behind 30", 30, vec![4; 32]),
    ]
}

/// Token ids that no two requests share.
struct Ids(u64);

impl Ids {
    fn take(&mut self, count: usize) -> Vec<u64> {
        (0..count)
            .map(|_| {
                self.0 = self
                    .0
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                300 + (self.0 >> 33) % 15_000
            })
            .collect()
    }

    fn texts(&mut self, shared: usize, lengths: &[usize]) -> Vec<Vec<u64>> {
        let prefix = self.take(shared);
        let mut text = |length: &usize| [prefix.clone(), self.take(*length)].concat();
        lengths.iter().map(&mut text).collect()
    }
}

async fn embed(client: &mut Client, texts: &[Vec<u64>]) -> anyhow::Result<Vec<Vec<f64>>> {
    let body = json!({"model": "m", "input": texts}).to_string();
    let answer = client.post("/v1/embeddings", body.into()).await?;
    let data = answer["data"].as_array().context("no data")?;
    let vector = |item: &Value| serde_json::from_value(item["embedding"].clone());
    Ok(data.iter().map(vector).collect::<Result<_, _>>()?)
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

async fn start(
    checkpoint: &Path,
    dir: &Path,
    target: Target,
    precision: Precision,
) -> anyhow::Result<Server> {
    let options = ConvertOptions {
        target,
        calibration: None,
        verify: false,
        ..ConvertOptions::for_provider(Provider::Cpu, Some(precision))
    };
    let dir = dir.join(target.to_string());
    convert(&Checkpoint::open(checkpoint)?, &dir, &options, &Silent)?;
    let dir = dir.to_str().context("TMPDIR is not UTF-8")?;
    let flags = [
        "--cache-bytes=0",
        "--prefix-cache-bytes=0",
        "--request-timeout=600",
        "--served-model-name=m",
    ];
    Server::lexivec(&[&[dir], &flags[..]].concat()).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let checkpoint = args.model.clone().unwrap_or_else(|| project("models/nano"));
    let dir = tempfile::tempdir()?;
    let mut servers = Vec::new();
    for target in [Target::Ort, Target::Cpu] {
        let server = start(&checkpoint, dir.path(), target, args.precision).await?;
        server.pause()?;
        servers.push((target, Client::new(server.address), server));
    }
    println!(
        "| tokens/s, {} | ort | cpu | cpu / ort | least cosine |\n|---|---|---|---|---|",
        args.precision
    );
    let mut ids = Ids(1);
    for (name, shared, lengths) in loads() {
        if !name.contains(&args.only) {
            continue;
        }
        calm().await?;
        let tokens = shared + lengths.iter().sum::<usize>();
        let mut rates: Vec<Vec<f64>> = vec![Vec::new(); servers.len()];
        let mut least = f64::INFINITY;
        for round in 0..=args.rounds {
            let texts = ids.texts(shared, &lengths);
            let mut vectors = Vec::new();
            for ((_, client, server), rates) in servers.iter_mut().zip(&mut rates) {
                server.resume()?;
                let (began, mut answered) = (Instant::now(), 0);
                loop {
                    vectors.push(embed(client, &texts).await?);
                    answered += 1;
                    let limit = Duration::from_secs_f64(args.seconds);
                    if round == 0 || began.elapsed() >= limit {
                        break;
                    }
                }
                // The first round warms up and compares.
                if round > 0 {
                    rates.push((answered * tokens) as f64 / began.elapsed().as_secs_f64());
                }
                server.pause()?;
            }
            if round == 0 {
                let pairs = vectors[0].iter().zip(&vectors[1]);
                least = pairs.map(|(a, b)| cosine(a, b)).fold(least, f64::min);
            }
        }
        let ratios = rates[1].iter().zip(&rates[0]).map(|(cpu, ort)| cpu / ort);
        println!(
            "| {name} | {:.0} | {:.0} | {} | {least:.5} |",
            Spread::of(rates[0].clone()).median,
            Spread::of(rates[1].clone()).median,
            Spread::of(ratios),
        );
    }
    for (target, _, server) in &servers {
        let peak = Usage::of(server.pid())?.peak;
        println!("\npeak resident memory, {target}: {} MB", peak / 1_000_000);
    }
    Ok(())
}
