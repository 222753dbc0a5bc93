//! Measures a load on a server, and prints what came of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::load::{self, Load, Pace};
use crate::process::{Machine, Usage, own_cpu};

/// What a load cost and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was measured.
    pub label: String,
    /// Clients, and requests a second where they came at a constant rate.
    pub load: (usize, Option<f64>),
    /// Requests a second answered with 200.
    pub requests_per_s: f64,
    /// Texts a second.
    pub texts_per_s: f64,
    /// Milliseconds within which half, 95 %, 99 % and all requests were answered.
    pub ms: [f64; 4],
    /// Requests by status.
    pub statuses: BTreeMap<String, u64>,
    /// Microseconds of the server's CPU per request.
    pub server_us: f64,
    /// The same by thread.
    pub threads_us: BTreeMap<String, f64>,
    /// Cores that the server used.
    pub server_cores: f64,
    /// Cores that the generator used.
    pub generator_cores: f64,
    /// Cores that anything else on this machine used.
    pub others_cores: f64,
    /// The server's resident memory in bytes, afterwards.
    pub resident: u64,
}

impl Row {
    /// Requests that were not answered with 200.
    #[must_use]
    pub fn errors(&self) -> u64 {
        let failed = self.statuses.iter().filter(|(status, _)| *status != "200");
        failed.map(|(_, count)| count).sum()
    }

    /// Microseconds of CPU per request of the threads whose names begin so.
    #[must_use]
    pub fn thread_us(&self, begin: &str) -> f64 {
        let named = self
            .threads_us
            .iter()
            .filter(|(name, _)| name.starts_with(begin));
        named.map(|(_, us)| us).sum()
    }
}

/// Puts a load on the server with process `pid`; each request has `texts` texts.
///
/// # Errors
/// The server has gone.
pub async fn measure(label: &str, pid: u32, load: &Load, texts: usize) -> anyhow::Result<Row> {
    let (machine, server, generator) = (Machine::now()?, Usage::of(pid)?, own_cpu()?);
    let outcome = load::run(load).await?;
    let seconds = outcome.took.as_secs_f64();
    let server = Usage::of(pid)?.since(&server);
    let generator = own_cpu()? - generator;
    let others = Machine::now()?.others_since(&machine, server.cpu + generator);
    let requests = outcome.answered() as f64;
    let per_request = |seconds: f64| seconds * 1e6 / requests;
    let threads = server.threads.iter();
    Ok(Row {
        label: label.to_owned(),
        load: match load.pace {
            Pace::Closed => (load.clients, None),
            Pace::Open(rate) => (load.clients, Some(rate)),
        },
        requests_per_s: outcome.rate(),
        texts_per_s: outcome.rate() * texts as f64,
        ms: [0.5, 0.95, 0.99, 1.0].map(|share| outcome.quantile(share)),
        server_us: per_request(server.cpu),
        threads_us: threads
            .map(|(name, cpu)| (name.clone(), per_request(*cpu)))
            .collect(),
        server_cores: server.cpu / seconds,
        generator_cores: generator / seconds,
        others_cores: others,
        resident: server.resident,
        statuses: outcome.statuses,
    })
}

/// The middle of a few values, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of at least one value.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        Self {
            median: at(values.len() / 2),
            min: at(0),
            max: at(values.len().saturating_sub(1)),
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let places = if self.median.abs() < 10.0 { 2 } else { 0 };
        let Self { median, min, max } = self;
        write!(f, "{median:.places$} ({min:.places$} to {max:.places$})")
    }
}

/// Prints the rounds of each label as one line of a table: medians, and the range of the requests a second.
pub fn print(rows: &[Row]) {
    println!(
        "| | clients | due/s | requests/s | texts/s | p50 ms | p95 | p99 | max | errors | server us/request | MB | \
         cores: server | generator | others |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    let mut done: Vec<(&str, usize, bool)> = Vec::new();
    for row in rows {
        let kind = |row: &Row| (row.load.0, row.load.1.is_some());
        let key = (row.label.as_str(), kind(row).0, kind(row).1);
        if done.contains(&key) {
            continue;
        }
        done.push(key);
        let same = |other: &&Row| other.label == row.label && kind(other) == kind(row);
        let rounds: Vec<&Row> = rows.iter().filter(same).collect();
        let spread = |value: &dyn Fn(&Row) -> f64| Spread::of(rounds.iter().map(|row| value(row)));
        let median = |value: &dyn Fn(&Row) -> f64| spread(value).median;
        let [p50, p95, p99, max] = [0, 1, 2, 3].map(|place| median(&|row| row.ms[place]));
        println!(
            "| {} | {} | {} | {} | {:.0} | {p50:.2} | {p95:.2} | {p99:.2} | {max:.1} | {} | {:.0} | {:.0} | {:.2} | {:.2} | \
             {:.2} |",
            row.label,
            row.load.0,
            row.load.1.map_or(String::new(), |_| format!(
                "{:.0}",
                median(&|row| row.load.1.unwrap_or(0.0))
            )),
            spread(&|row| row.requests_per_s),
            median(&|row| row.texts_per_s),
            rounds.iter().map(|row| row.errors()).sum::<u64>(),
            median(&|row| row.server_us),
            median(&|row| row.resident as f64 / 1e6),
            median(&|row| row.server_cores),
            median(&|row| row.generator_cores),
            median(&|row| row.others_cores),
        );
    }
}

/// Writes rows as JSON.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, rows: &[Row]) -> anyhow::Result<()> {
    Ok(fs_err::write(path, serde_json::to_string_pretty(rows)?)?)
}

/// More than this many cores, used by others, disturb a measurement.
const NOISE: f64 = 0.2;

/// Waits until the rest of the machine is calm, for a minute at most or the seconds in `LEXIVEC_BENCH_PATIENCE`; the
/// last column of the table tells how calm it was. Nothing under measurement may be busy.
///
/// # Errors
/// There is no /proc/stat.
pub async fn calm() -> anyhow::Result<()> {
    let patience = std::env::var("LEXIVEC_BENCH_PATIENCE");
    let patience = patience.ok().and_then(|s| s.parse().ok()).unwrap_or(60);
    let deadline = Instant::now() + Duration::from_secs(patience);
    loop {
        let before = Machine::now()?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        if Machine::now()?.others_since(&before, 0.0) < NOISE || Instant::now() >= deadline {
            return Ok(());
        }
    }
}
