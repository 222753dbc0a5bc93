//! Compares lexivec with Python servers of the same checkpoint, on the same cores: `cargo bench --bench peers [-- FLAGS]`.
//!
//! The peers are infinity-emb and several configurations of `peers/server.py`. `peers/setup.py` installs them once (12 GB).
//! Each must return the same vectors as lexivec before it is measured. All servers start once and warm up alike. Then they
//! take turns with the same texts, while the others are paused (SIGSTOP). Every text is new, except in the first workload,
//! which the servers answer from their caches. That workload measures the server without the model.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use lexivec_benches::client::Client;
use lexivec_benches::load::{Load, Pace, Stop, run};
use lexivec_benches::report::{self, Measurement, Spread, calm, measure};
use lexivec_benches::server::{Server, free_port, program, project};
use lexivec_benches::texts::{body, passage};
use serde_json::{Value, json};

#[derive(Parser)]
struct Args {
    /// Number of clients
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Seconds per measurement
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Number of rounds; tables show medians and ranges over rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Measures only peers whose name contains this text
    #[arg(long, default_value = "")]
    only: String,
    /// Writes every round as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// The requests of one comparison.
#[derive(Clone, Copy)]
struct Workload {
    name: &'static str,
    texts: u64,
    /// Terms per text.
    terms: u64,
    /// Prefix of each text.
    prefix: &'static str,
    /// Number of distinct requests, which repeat; `None` if every text is new.
    distinct: Option<u64>,
}

/// The instruction of the domain `medical`, in the format that Qwen3-Embedding uses for queries.
const QUERY: &str = "Instruct: Represent the medical concept:\nQuery:";

const WORKLOADS: [Workload; 5] = [
    Workload {
        name: "1 cached term",
        texts: 1,
        terms: 1,
        prefix: "",
        distinct: Some(1000),
    },
    Workload {
        name: "1 term",
        texts: 1,
        terms: 1,
        prefix: "",
        distinct: None,
    },
    Workload {
        name: "1 term with an instruction",
        texts: 1,
        terms: 1,
        prefix: QUERY,
        distinct: None,
    },
    Workload {
        name: "32 terms",
        texts: 32,
        terms: 1,
        prefix: "",
        distinct: None,
    },
    Workload {
        name: "1 passage",
        texts: 1,
        terms: 16,
        prefix: "",
        distinct: None,
    },
];

/// A server and its name in tables.
type NamedServer = (String, Server);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let folder = tempfile::tempdir()?;
    let padded = folder.path().join("nano-padded");
    let convert = Command::new(program()?)
        .args(["convert", "--layout", "padded", "--no-verify", "--output"])
        .args([&padded, &project("models/nano")])
        .output()?;
    ensure!(
        convert.status.success(),
        "{}",
        String::from_utf8_lossy(&convert.stderr)
    );

    let servers = start(&args, &padded).await?;
    let mut rows: Vec<Measurement> = Vec::new();
    let mut first = 0;
    for round in 0..=args.rounds {
        for workload in WORKLOADS {
            calm().await?;
            let mut most_requests = 0;
            for (name, server) in &servers {
                server.resume()?;
                let label = format!("{}: {name}", workload.name);
                let load = load(&args, server, first, workload);
                // The first round warms up and does not count.
                if round == 0 {
                    most_requests = most_requests.max(run(&load).await?.answered());
                } else {
                    let row = measure(&label, server.pid(), &load, workload.texts as usize).await?;
                    eprintln!(
                        "round {round}: {label}: {:.0} requests/s, others {:.2} cores",
                        row.requests_per_s, row.others_cores
                    );
                    most_requests = most_requests.max(row.statuses.values().sum());
                    rows.push(row);
                }
                server.pause()?;
            }
            // The next requests have texts that are new to every server.
            if workload.distinct.is_none() {
                first += most_requests + args.clients as u64;
            }
        }
    }
    report::print(&rows);
    ratios(&servers, &rows);
    if let Some(path) = &args.json {
        report::write(path, &rows)?;
    }
    Ok(())
}

/// Starts all servers and pauses them.
async fn start(args: &Args, padded: &Path) -> anyhow::Result<Vec<NamedServer>> {
    let nano = project("models/nano");
    let nano = nano.to_str().context("the project's path is not UTF-8")?;
    let padded = padded
        .to_str()
        .context("the temporary folder's path is not UTF-8")?;
    let server_py = project("benches/peers/server.py");
    let server_py = server_py
        .to_str()
        .context("the project's path is not UTF-8")?;
    let ours = Server::lexivec(&[nano]).await?;
    let expected = vectors(&ours).await?;
    ours.pause()?;
    let mut servers = vec![("lexivec".to_owned(), ours)];

    let infinity: &[&str] = &[
        "-m",
        "infinity_emb.cli",
        "v2",
        "--model-id",
        nano,
        "--served-model-name",
        "nano",
        "--engine",
        "torch",
        "--device",
        "cpu",
        "--dtype",
        "float32",
        "--batch-size",
        "64",
        "--url-prefix",
        "/v1",
        "--host",
        "127.0.0.1",
        "--log-level",
        "error",
    ];
    let fastapi = |engine, model, workers, threads| {
        [
            "--engine",
            engine,
            "--model",
            model,
            "--workers",
            workers,
            "--threads",
            threads,
        ]
    };
    let configurations = [
        (
            "FastAPI, sentence-transformers",
            fastapi("torch", nano, "1", "2"),
        ),
        (
            "FastAPI, sentence-transformers over ONNX",
            fastapi("onnx", padded, "1", "2"),
        ),
        (
            "FastAPI, onnxruntime",
            fastapi("onnxruntime", padded, "1", "2"),
        ),
        (
            "FastAPI, onnxruntime, 2 processes",
            fastapi("onnxruntime", padded, "2", "1"),
        ),
    ];
    let mut peers = vec![("infinity, torch", "infinity", infinity.to_vec())];
    for (name, flags) in &configurations {
        peers.push((name, "fastapi", [&[server_py], &flags[..]].concat()));
    }
    let interpreters = interpreters()?;
    for (name, environment, arguments) in peers {
        if !name.contains(&args.only) {
            continue;
        }
        let interpreter = interpreters[environment]
            .as_str()
            .context("setup.py printed no interpreter for this environment")?;
        let port = free_port()?;
        let mut command = Command::new(interpreter);
        command.args(arguments).args(["--port", &port.to_string()]);
        command.envs([
            ("HF_HUB_OFFLINE", "1"),
            ("DO_NOT_TRACK", "1"),
            ("OMP_NUM_THREADS", "2"),
        ]);
        let server = Server::start(command, port).await?;
        let cosine = least_cosine(&expected, &vectors(&server).await?);
        ensure!(
            cosine >= 0.9999,
            "{name} returns other vectors than lexivec: least cosine {cosine}"
        );
        eprintln!("{name}: least cosine to lexivec's vectors {cosine:.7}");
        server.pause()?;
        servers.push((name.to_owned(), server));
    }
    Ok(servers)
}

fn interpreters() -> anyhow::Result<Value> {
    let setup = Command::new("python3")
        .arg(project("benches/peers/setup.py"))
        .output()?;
    ensure!(
        setup.status.success(),
        "{}",
        String::from_utf8_lossy(&setup.stderr)
    );
    Ok(serde_json::from_slice(&setup.stdout)?)
}

fn load(args: &Args, server: &Server, first: u64, workload: Workload) -> Load {
    let bodies = move |number: u64| {
        let number = workload
            .distinct
            .map_or(number, |distinct| number % distinct);
        let text = |t| passage(number * workload.texts + t, workload.terms);
        let texts: Vec<String> = (0..workload.texts)
            .map(|t| format!("{}{}", workload.prefix, text(t)))
            .collect();
        body("nano", &texts, &json!({}))
    };
    Load {
        address: server.address,
        path: "/v1/embeddings",
        clients: args.clients,
        pace: Pace::Closed,
        stop: Stop::After(Duration::from_secs_f64(args.seconds)),
        bodies: Arc::new(bodies),
        first,
    }
}

/// Returns the server's vectors of short and long texts in several scripts.
async fn vectors(server: &Server) -> anyhow::Result<Vec<Vec<f32>>> {
    let mut texts: Vec<String> = (1..=24)
        .map(|n| passage(1_000_000 + n, n * n / 4 + 1))
        .collect();
    texts.extend(
        [
            "心脏骤停",
            "심장 마비",
            "ضربة قلب",
            "Herz-Kreislauf-Stillstand",
            "🫀 x=1;",
        ]
        .map(str::to_owned),
    );
    let answer = Client::new(server.address)
        .post("/v1/embeddings", body("nano", &texts, &json!({})))
        .await?;
    let items = answer["data"].as_array().context("no data")?.iter();
    items
        .map(|item| {
            let vector = STANDARD.decode(item["embedding"].as_str().context("not base64")?)?;
            Ok(vector
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect())
        })
        .collect()
}

fn least_cosine(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    let cosine = |(a, b): (&Vec<f32>, &Vec<f32>)| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    let least = a.iter().zip(b).map(cosine).fold(1.0, f32::min);
    if a.len() == b.len() { least } else { f32::NAN }
}

/// Prints lexivec's requests per second divided by each peer's, with the range over rounds.
fn ratios(servers: &[NamedServer], rows: &[Measurement]) {
    println!(
        "\n| lexivec's requests/s divided by those of |{} |",
        WORKLOADS
            .map(|workload| format!(" {} |", workload.name))
            .concat()
            .trim_end_matches('|')
    );
    println!("|---|{}", "---|".repeat(WORKLOADS.len()));
    let rates = |workload: Workload, name: &str| -> Vec<f64> {
        let label = format!("{}: {name}", workload.name);
        rows.iter()
            .filter(|row| row.label == label)
            .map(|row| row.requests_per_s)
            .collect()
    };
    for (name, _) in &servers[1..] {
        let cells = WORKLOADS.map(|workload| {
            let (ours, theirs) = (rates(workload, "lexivec"), rates(workload, name));
            format!(
                " {} |",
                Spread::of(ours.iter().zip(theirs).map(|(a, b)| a / b))
            )
        });
        println!("| {name} |{}", cells.concat());
    }
}
