//! float32 beside int8, and what packing saves where texts share an instruction: `cargo bench --bench packing`.
//!
//! Both are served at once and asked in turn for the same new texts, 32 to a request, bare and with an instruction; the
//! other is stopped meanwhile.
#![allow(missing_docs, clippy::unwrap_used)]

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
    /// Cargo gives it
    #[arg(long, hide = true)]
    bench: bool,
}

const TEXTS: u64 = 32;
/// A name, the request's further fields, and terms of each text.
const KINDS: [(&str, &str, u64); 3] = [
    ("terms", "{}", 1),
    ("terms behind an instruction", r#"{"domain": "medical"}"#, 1),
    ("passages", "{}", 16),
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let nano = project("models/nano");
    let nano = nano.to_str().context("the project's path is not UTF-8")?;
    let mut servers = Vec::new();
    for precision in ["fp32", "int8"] {
        let server = Server::lexivec(&[nano, "--precision", precision]).await?;
        server.pause()?;
        servers.push((precision, server));
    }
    let mut rows: Vec<Row> = Vec::new();
    let mut packed = Vec::new();
    let mut first = 0;
    for round in 0..=args.rounds {
        for (kind, fields, terms) in KINDS {
            let fields: serde_json::Value = serde_json::from_str(fields)?;
            calm().await?;
            let mut most = 0;
            for (precision, server) in &servers {
                server.resume()?;
                let fields = fields.clone();
                let bodies = move |number: u64| {
                    let texts: Vec<String> = (0..TEXTS)
                        .map(|t| passage(number * TEXTS + t, terms))
                        .collect();
                    body("nano", &texts, &fields)
                };
                let load = Load {
                    address: server.address,
                    path: "/v1/embeddings",
                    clients: 16,
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
                    let label = format!("{kind}: {precision}");
                    let row = measure(&label, server.pid(), &load, TEXTS as usize).await?;
                    let now = Metrics::scrape(&mut client).await?;
                    let grown = |name| now.grown(&before, name, &[]);
                    packed.push((
                        label,
                        grown("lexivec_rows_computed_total") / grown("lexivec_rows_asked_total"),
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
    println!("\n| | int8's texts/s by fp32's | rows computed by rows asked for |\n|---|---|---|");
    for (kind, ..) in KINDS {
        let of = |precision| format!("{kind}: {precision}");
        let rates = |label: String| -> Vec<f64> {
            rows.iter()
                .filter(|row| row.label == label)
                .map(|row| row.texts_per_s)
                .collect()
        };
        let ratios = rates(of("int8"))
            .into_iter()
            .zip(rates(of("fp32")))
            .map(|(int8, fp32)| int8 / fp32);
        let rows = packed.iter().filter(|(label, _)| *label == of("fp32"));
        println!(
            "| {kind} | {} | {} |",
            Spread::of(ratios),
            Spread::of(rows.map(|(_, share)| *share))
        );
    }
    Ok(())
}
