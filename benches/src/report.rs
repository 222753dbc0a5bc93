//! Measures a server under a load, and prints tables of the measurements.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::load::{self, Load, Pace};
use crate::process::{Machine, Usage, own_cpu};

/// The speed of a server under one load, and the resources that it used.
#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    /// Name of the workload and the server.
    pub label: String,
    /// Number of clients, and the requests per second of an open loop.
    pub load: (usize, Option<f64>),
    /// Requests per second that were answered with 200.
    pub requests_per_s: f64,
    /// Texts per second.
    pub texts_per_s: f64,
    /// Milliseconds within which 50 %, 95 %, 99 % and all of the requests were answered.
    pub ms: [f64; 4],
    /// Number of requests by status.
    pub statuses: BTreeMap<String, u64>,
    /// Microseconds of the server's CPU per request.
    pub server_us: f64,
    /// Microseconds of the server's CPU per request, by thread name.
    pub threads_us: BTreeMap<String, f64>,
    /// Cores that the server used.
    pub server_cores: f64,
    /// Cores that the load generator used.
    pub generator_cores: f64,
    /// Cores that other processes used.
    pub others_cores: f64,
    /// The server's resident memory after the load, in bytes.
    pub resident: u64,
}

impl Measurement {
    /// Returns the number of requests that were not answered with 200.
    #[must_use]
    pub fn errors(&self) -> u64 {
        let failed = self.statuses.iter().filter(|(status, _)| *status != "200");
        failed.map(|(_, count)| count).sum()
    }

    /// Returns the microseconds of CPU per request of the threads whose names start with `begin`.
    #[must_use]
    pub fn thread_us(&self, begin: &str) -> f64 {
        let named = self
            .threads_us
            .iter()
            .filter(|(name, _)| name.starts_with(begin));
        named.map(|(_, us)| us).sum()
    }
}

/// Measures the server with process ID `pid` under a load, whose requests have `texts` texts each.
///
/// # Errors
/// If the server has ended.
pub async fn measure(
    label: &str,
    pid: u32,
    load: &Load,
    texts: usize,
) -> anyhow::Result<Measurement> {
    let (machine, server, generator) = (Machine::now()?, Usage::of(pid)?, own_cpu()?);
    let outcome = load::run(load).await?;
    let seconds = outcome.took.as_secs_f64();
    let server = Usage::of(pid)?.since(&server);
    let generator = own_cpu()? - generator;
    let others = Machine::now()?.others_since(&machine, server.cpu + generator);
    let requests = outcome.answered() as f64;
    let per_request = |seconds: f64| seconds * 1e6 / requests;
    let threads = server.threads.iter();
    Ok(Measurement {
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

/// The median and the range of a few values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Median.
    pub median: f64,
    /// Least value.
    pub min: f64,
    /// Greatest value.
    pub max: f64,
}

impl Spread {
    /// Computes the spread of at least one value.
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

/// Prints a table with a line for each label: medians over its rounds, and the range of the requests per second.
pub fn print(rows: &[Measurement]) {
    println!(
        "| | clients | due/s | requests/s | texts/s | p50 ms | p95 | p99 | max | errors | server us/request | MB | \
         cores: server | generator | others |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    let mut done: Vec<(&str, usize, bool)> = Vec::new();
    for row in rows {
        let load = |row: &Measurement| (row.load.0, row.load.1.is_some());
        let key = (row.label.as_str(), load(row).0, load(row).1);
        if done.contains(&key) {
            continue;
        }
        done.push(key);
        let same = |other: &&Measurement| other.label == row.label && load(other) == load(row);
        let rounds: Vec<&Measurement> = rows.iter().filter(same).collect();
        let spread =
            |value: &dyn Fn(&Measurement) -> f64| Spread::of(rounds.iter().map(|row| value(row)));
        let median = |value: &dyn Fn(&Measurement) -> f64| spread(value).median;
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

/// Writes measurements as JSON.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, rows: &[Measurement]) -> anyhow::Result<()> {
    Ok(fs_err::write(path, serde_json::to_string_pretty(rows)?)?)
}

/// Number of cores that other processes may use without disturbing a measurement.
const NOISE: f64 = 0.2;

/// Waits until the machine is idle, for at most a minute or the seconds in `LEXIVEC_BENCH_PATIENCE`. The last column of
/// the table shows how busy it was. The servers under measurement must be idle.
///
/// # Errors
/// If there is no /proc/stat.
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
