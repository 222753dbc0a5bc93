//! Measures how much packing and the KV cache save, and compares int8 with float32: `cargo bench --bench packing`.
//!
//! Three servers take turns with the same new texts, with and without an instruction. The others are paused meanwhile.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use lexivec_benches::client::Client;
use lexivec_benches::load::{Load, Pace, Stop, run};
use lexivec_benches::metrics::Metrics;
use lexivec_benches::report::{self, Measurement, Spread, calm, measure};
use lexivec_benches::server::{Server, project};
use lexivec_benches::texts::{body, passage};

#[derive(Parser)]
struct Args {
    /// Seconds per measurement
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Number of rounds; the table shows medians and ranges over rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Measures only workloads whose name contains this text
    #[arg(long, default_value = "")]
    only: String,
    /// Checkpoint to serve. Default: models/nano
    #[arg(long)]
    model: Option<PathBuf>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// The requests of one comparison.
struct Workload {
    name: &'static str,
    /// Additional fields of each request, as JSON.
    fields: &'static str,
    clients: usize,
    /// Texts per request.
    texts: u64,
    /// Terms per text.
    terms: u64,
}

const MEDICAL: &str = r#"{"domain": "medical"}"#;

const WORKLOADS: [Workload; 5] = [
    Workload {
        name: "32 terms",
        fields: "{}",
        clients: 16,
        texts: 32,
        terms: 1,
    },
    Workload {
        name: "32 terms with an instruction",
        fields: MEDICAL,
        clients: 16,
        texts: 32,
        terms: 1,
    },
    Workload {
        name: "32 passages",
        fields: "{}",
        clients: 16,
        texts: 32,
        terms: 16,
    },
    Workload {
        name: "1 term, 1 client",
        fields: "{}",
        clients: 1,
        texts: 1,
        terms: 1,
    },
    Workload {
        name: "1 term with an instruction, 1 client",
        fields: MEDICAL,
        clients: 1,
        texts: 1,
        terms: 1,
    },
];

/// The servers under comparison: name and flags.
const SERVERS: [(&str, &[&str]); 3] = [
    ("fp32", &["--precision", "fp32"]),
    (
        "fp32, no KV cache",
        &["--precision", "fp32", "--prefix-cache-bytes", "0"],
    ),
    ("int8", &["--precision", "int8"]),
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let model = args.model.clone().unwrap_or_else(|| project("models/nano"));
    let model = model.to_str().context("the model's path is not UTF-8")?;
    let workloads = || {
        WORKLOADS
            .iter()
            .filter(|workload| workload.name.contains(&args.only))
    };
    let mut servers = Vec::new();
    for (name, flags) in SERVERS {
        let server =
            Server::lexivec(&[&[model, "--served-model-name", "nano"], flags].concat()).await?;
        server.pause()?;
        servers.push((name, server));
    }
    let mut rows: Vec<Measurement> = Vec::new();
    let mut computed_shares = Vec::new();
    let mut first = 0;
    for round in 0..=args.rounds {
        for workload in workloads() {
            let fields: serde_json::Value = serde_json::from_str(workload.fields)?;
            calm().await?;
            let mut most_requests = 0;
            for (name, server) in &servers {
                server.resume()?;
                let fields = fields.clone();
                let bodies = move |number: u64| {
                    let texts: Vec<String> = (0..workload.texts)
                        .map(|t| passage(number * workload.texts + t, workload.terms))
                        .collect();
                    body("nano", &texts, &fields)
                };
                let load = Load {
                    address: server.address,
                    path: "/v1/embeddings",
                    clients: workload.clients,
                    pace: Pace::Closed,
                    stop: Stop::After(Duration::from_secs_f64(args.seconds)),
                    bodies: Arc::new(bodies),
                    first,
                };
                let mut client = Client::new(server.address);
                let before = Metrics::scrape(&mut client).await?;
                // The first round warms up and does not count.
                if round == 0 {
                    most_requests = most_requests.max(run(&load).await?.answered());
                } else {
                    let label = format!("{}: {name}", workload.name);
                    let row = measure(&label, server.pid(), &load, workload.texts as usize).await?;
                    let now = Metrics::scrape(&mut client).await?;
                    let grown = |name| now.grown(&before, name, &[]);
                    computed_shares.push((
                        label,
                        grown("lexivec_packed_tokens_computed_total")
                            / grown("lexivec_batch_input_tokens_total"),
                    ));
                    most_requests = most_requests.max(row.statuses.values().sum());
                    rows.push(row);
                }
                server.pause()?;
            }
            // The next requests have new texts.
            first += most_requests + 16;
        }
    }
    report::print(&rows);
    println!(
        "\n| texts/s | fp32 | fp32 / no KV cache | int8 / fp32 | computed tokens | computed tokens, no KV cache |\n\
         |---|---|---|---|---|---|"
    );
    for workload in workloads() {
        let label = |server: usize| format!("{}: {}", workload.name, SERVERS[server].0);
        let rates = |server| -> Vec<f64> {
            let rounds = rows.iter().filter(|row| row.label == label(server));
            rounds.map(|row| row.texts_per_s).collect()
        };
        let ratio = |a, b| Spread::of(rates(a).into_iter().zip(rates(b)).map(|(a, b)| a / b));
        let share = |server| {
            let of_server = computed_shares.iter().filter(|(l, _)| *l == label(server));
            Spread::of(of_server.map(|(_, share)| *share))
        };
        println!(
            "| {} | {:.0} | {} | {} | {} | {} |",
            workload.name,
            Spread::of(rates(0)).median,
            ratio(0, 1),
            ratio(2, 0),
            share(0),
            share(1)
        );
    }
    Ok(())
}
