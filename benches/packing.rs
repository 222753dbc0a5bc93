//! What packing and kept prefixes save, and float32 beside int8: `cargo bench --bench packing`.
//!
//! All are served at once and asked in turn for the same new texts, bare and with an instruction; the others are
//! stopped meanwhile.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use lexivec_benches::client::Client;
use lexivec_benches::load::{Load, Pace, Stop, run};
use lexivec_benches::metrics::Metrics;
use lexivec_benches::report::{self, Row, Spread, calm, measure};
use lexivec_benches::server::{Server, project};
use lexivec_benches::texts::{body, passage};

#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Measures only those loads whose name holds this
    #[arg(long, default_value = "")]
    only: String,
    /// A checkpoint in place of nano
    #[arg(long)]
    model: Option<PathBuf>,
    /// Cargo gives it
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is asked for.
struct Kind {
    name: &'static str,
    /// The request's further fields.
    fields: &'static str,
    clients: usize,
    /// Of a request.
    texts: u64,
    /// Of a text.
    terms: u64,
}

const MEDICAL: &str = r#"{"domain": "medical"}"#;

const KINDS: [Kind; 5] = [
    Kind {
        name: "32 terms",
        fields: "{}",
        clients: 16,
        texts: 32,
        terms: 1,
    },
    Kind {
        name: "32 terms behind an instruction",
        fields: MEDICAL,
        clients: 16,
        texts: 32,
        terms: 1,
    },
    Kind {
        name: "32 passages",
        fields: "{}",
        clients: 16,
        texts: 32,
        terms: 16,
    },
    Kind {
        name: "1 term, 1 client",
        fields: "{}",
        clients: 1,
        texts: 1,
        terms: 1,
    },
    Kind {
        name: "1 term behind an instruction, 1 client",
        fields: MEDICAL,
        clients: 1,
        texts: 1,
        terms: 1,
    },
];

/// What is served: a name, and flags.
const SERVERS: [(&str, &[&str]); 3] = [
    ("fp32", &["--precision", "fp32"]),
    (
        "fp32, no prefixes kept",
        &["--precision", "fp32", "--prefix-cache-bytes", "0"],
    ),
    ("int8", &["--precision", "int8"]),
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let model = args.model.clone().unwrap_or_else(|| project("models/nano"));
    let model = model.to_str().context("the model's path is not UTF-8")?;
    let kinds = || KINDS.iter().filter(|kind| kind.name.contains(&args.only));
    let mut servers = Vec::new();
    for (name, flags) in SERVERS {
        let server =
            Server::lexivec(&[&[model, "--served-model-name", "nano"], flags].concat()).await?;
        server.pause()?;
        servers.push((name, server));
    }
    let mut rows: Vec<Row> = Vec::new();
    let mut computed = Vec::new();
    let mut first = 0;
    for round in 0..=args.rounds {
        for kind in kinds() {
            let fields: serde_json::Value = serde_json::from_str(kind.fields)?;
            calm().await?;
            let mut most = 0;
            for (name, server) in &servers {
                server.resume()?;
                let fields = fields.clone();
                let bodies = move |number: u64| {
                    let texts: Vec<String> = (0..kind.texts)
                        .map(|t| passage(number * kind.texts + t, kind.terms))
                        .collect();
                    body("nano", &texts, &fields)
                };
                let load = Load {
                    address: server.address,
                    path: "/v1/embeddings",
                    clients: kind.clients,
                    pace: Pace::Closed,
                    stop: Stop::After(Duration::from_secs_f64(args.seconds)),
                    bodies: Arc::new(bodies),
                    first,
                };
                let mut client = Client::new(server.address);
                let before = Metrics::scrape(&mut client).await?;
                // The first round warms up and is not counted.
                if round == 0 {
                    most = most.max(run(&load).await?.answered());
                } else {
                    let label = format!("{}: {name}", kind.name);
                    let row = measure(&label, server.pid(), &load, kind.texts as usize).await?;
                    let now = Metrics::scrape(&mut client).await?;
                    let grown = |name| now.grown(&before, name, &[]);
                    computed.push((
                        label,
                        grown("lexivec_packed_tokens_computed_total")
                            / grown("lexivec_batch_input_tokens_total"),
                    ));
                    most = most.max(row.statuses.values().sum());
                    rows.push(row);
                }
                server.pause()?;
            }
            // The next kind's or round's texts are new.
            first += most + 16;
        }
    }
    report::print(&rows);
    println!(
        "\n| texts/s | fp32 | by no prefixes kept | int8 by fp32 | rows computed by tokens | no prefixes kept |\n\
         |---|---|---|---|---|---|"
    );
    for kind in kinds() {
        let label = |server: usize| format!("{}: {}", kind.name, SERVERS[server].0);
        let rates = |server| -> Vec<f64> {
            let of = rows.iter().filter(|row| row.label == label(server));
            of.map(|row| row.texts_per_s).collect()
        };
        let ratio = |a, b| Spread::of(rates(a).into_iter().zip(rates(b)).map(|(a, b)| a / b));
        let share = |server| {
            let of = computed.iter().filter(|(l, _)| *l == label(server));
            Spread::of(of.map(|(_, share)| *share))
        };
        println!(
            "| {} | {:.0} | {} | {} | {} | {} |",
            kind.name,
            Spread::of(rates(0)).median,
            ratio(0, 1),
            ratio(2, 0),
            share(0),
            share(1)
        );
    }
    Ok(())
}
