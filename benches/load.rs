//! Measures a server under closed and open loops of 1 to 512 clients: `cargo bench --bench load [-- FLAGS]`.
//!
//! Serves the demonstration checkpoint, whose model is so fast that the server matters, or takes any OpenAI-compatible server
//! at --url. Every text is new.
#![allow(missing_docs, clippy::unwrap_used)]

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use lexivec_benches::load::{Load, Pace, Stop, run};
use lexivec_benches::report::{self, Measurement, Spread, calm, measure};
use lexivec_benches::server::Server;
use lexivec_benches::texts::{body, term};
use serde_json::json;

#[derive(Parser)]
struct Args {
    /// Server on this machine to measure, as http://HOST:PORT; needs --pid. Default: `lexivec serve models/nano`
    #[arg(long, requires = "pid")]
    url: Option<String>,
    /// Process ID of the server at --url, to measure its CPU and memory
    #[arg(long)]
    pid: Option<u32>,
    /// Model name in requests
    #[arg(long, default_value = "nano")]
    model: String,
    /// Additional flags for `lexivec serve`, as a single argument
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    serve: String,
    /// Numbers of clients
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 64, 512])]
    clients: Vec<usize>,
    /// Texts per request
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32])]
    texts: Vec<u64>,
    /// Rates of the open loops, as shares of the closed loop's rate with the same clients; empty for no open loops
    #[arg(long, value_delimiter = ',', default_values_t = [0.7])]
    open: Vec<f64>,
    /// Seconds per measurement
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let server;
    let (address, pid) = match (&args.url, args.pid) {
        (Some(url), Some(pid)) => (address(url)?, pid),
        _ => {
            server = Server::nano(None, &args.serve).await?;
            (server.address, server.pid())
        }
    };
    let mut first = 0;
    let mut rows: Vec<Measurement> = Vec::new();
    for round in 0..=args.rounds {
        for texts in &args.texts {
            let model = args.model.clone();
            let texts = *texts;
            let bodies = Arc::new(move |number: u64| {
                let terms: Vec<String> = (0..texts).map(|t| term(number * texts + t)).collect();
                body(&model, &terms, &json!({}))
            });
            let mut load = Load {
                address,
                path: "/v1/embeddings",
                clients: 64,
                pace: Pace::Closed,
                stop: Stop::After(Duration::from_secs_f64(args.seconds)),
                bodies,
                first,
            };
            if round == 0 {
                // The first round warms up and does not count.
                first += run(&load).await?.answered();
                continue;
            }
            for clients in &args.clients {
                load.clients = *clients;
                let label = format!("{texts} texts");
                let mut paces = vec![None];
                paces.extend(args.open.iter().copied().map(Some));
                for share in paces {
                    load.pace = match share {
                        None => Pace::Closed,
                        Some(share) => Pace::Open(share * closed_rate(&rows, &label, *clients)),
                    };
                    load.first = first;
                    calm().await?;
                    let row = measure(&label, pid, &load, texts as usize).await?;
                    // Texts of requests without an answer are not used again either.
                    first += row.statuses.values().sum::<u64>() + 512;
                    eprintln!(
                        "round {round}: {label}, {clients} clients, {}: {:.0} requests/s, others {:.2} cores",
                        if share.is_some() { "open" } else { "closed" },
                        row.requests_per_s,
                        row.others_cores
                    );
                    rows.push(row);
                }
            }
        }
    }
    report::print(&rows);
    if let Some(path) = &args.json {
        report::write(path, &rows)?;
    }
    Ok(())
}

/// Returns the median rate of the closed loops so far, in requests per second.
fn closed_rate(rows: &[Measurement], label: &str, clients: usize) -> f64 {
    let closed = rows
        .iter()
        .filter(|row| row.label == label && row.load == (clients, None));
    Spread::of(closed.map(|row| row.requests_per_s)).median
}

fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let mut addresses = host
        .to_socket_addrs()
        .with_context(|| format!("{url} is not http://HOST:PORT"))?;
    addresses
        .next()
        .with_context(|| format!("{host} has no address"))
}
