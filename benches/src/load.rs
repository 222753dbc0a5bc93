//! Sends requests from many clients and times them.
//!
//! In a closed loop, each client sends its next request when the last one is answered, which measures the maximum throughput.
//! In an open loop, requests are due at a constant rate, whether or not the server keeps up, and a request's time counts from
//! when it was due. So a server that stalls cannot hide the stall by delaying the clients (coordinated omission).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use hyper::body::Bytes;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use crate::client::Client;

/// Creates the body of a request from the request's number.
pub type Bodies = Arc<dyn Fn(u64) -> Bytes + Send + Sync>;

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Each client sends a request as soon as its last one is answered.
    Closed,
    /// At this many requests per second.
    Open(f64),
}

/// When a load ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stop {
    /// After a time.
    After(Duration),
    /// After this number of requests.
    Requests(u64),
}

/// A load to put on a server.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "contains a function")]
pub struct Load {
    /// Address of the server.
    pub address: SocketAddr,
    /// Path of the requests.
    pub path: &'static str,
    /// Number of connections, each with at most one request in flight.
    pub clients: usize,
    /// When requests are sent.
    pub pace: Pace,
    /// When the load ends.
    pub stop: Stop,
    /// Creates the bodies.
    pub bodies: Bodies,
    /// The first request's number.
    pub first: u64,
}

/// The times and answers of a load's requests.
#[derive(Debug)]
pub struct LoadResult {
    /// Time from the start to the last answer.
    pub took: Duration,
    /// Times of the requests that were answered with 200, in nanoseconds.
    pub times: Histogram<u64>,
    /// Number of requests by status: `connection` if the connection failed, `unanswered` if no answer arrived in time.
    pub statuses: BTreeMap<String, u64>,
}

impl LoadResult {
    /// Returns the number of requests that were answered with 200.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.times.len()
    }

    /// Returns the requests per second that were answered with 200.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.answered() as f64 / self.took.as_secs_f64()
    }

    /// Returns the milliseconds within which this share of the requests was answered.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        self.times.value_at_quantile(share) as f64 / 1e6
    }
}

/// How long an open loop waits after its end for requests that are in flight or overdue.
const PATIENCE: Duration = Duration::from_secs(10);

/// Decides which request is next, and when it is due.
struct Schedule {
    started: Instant,
    next: AtomicU64,
    end: u64,
    deadline: Option<Instant>,
    rate: Option<f64>,
    /// Has one permit for each request that is due.
    due: Semaphore,
}

impl Schedule {
    fn new(load: &Load) -> Self {
        let started = Instant::now();
        let rate = match load.pace {
            Pace::Closed => None,
            Pace::Open(rate) => Some(rate),
        };
        let (end, deadline) = match (load.stop, rate) {
            (Stop::Requests(requests), _) => (requests, None),
            (Stop::After(time), Some(rate)) => ((time.as_secs_f64() * rate) as u64, None),
            (Stop::After(time), None) => (u64::MAX, Some(started + time)),
        };
        Self {
            started,
            next: AtomicU64::new(0),
            end,
            deadline,
            rate,
            due: Semaphore::new(0),
        }
    }

    fn due_at(&self, number: u64) -> Instant {
        let seconds = number as f64 / self.rate.unwrap_or(f64::INFINITY);
        self.started + Duration::from_secs_f64(seconds)
    }

    /// Releases requests as they become due. Runs on a separate thread, because tokio's timer has a resolution of a
    /// millisecond.
    fn keep_pace(&self, clients: usize) {
        for number in 0..self.end {
            std::thread::sleep(
                self.due_at(number)
                    .saturating_duration_since(Instant::now()),
            );
            self.due.add_permits(1);
        }
        // Wakes every client, so that it finds no further request.
        self.due.add_permits(clients);
    }

    /// Returns the next request's number and the moment from which its time counts.
    async fn next(&self) -> Option<(u64, Instant)> {
        if self.rate.is_some() {
            self.due.acquire().await.ok()?.forget();
        }
        if self.deadline.is_some_and(|end| Instant::now() >= end) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let counts_from = match self.rate {
            Some(_) => self.due_at(number),
            None => Instant::now(),
        };
        (number < self.end).then_some((number, counts_from))
    }
}

#[derive(Debug)]
struct Tally {
    times: Histogram<u64>,
    statuses: BTreeMap<String, u64>,
}

/// Runs a load against a server.
///
/// # Errors
/// If a client's task fails.
///
/// # Panics
/// If the thread that releases requests panicked.
pub async fn run(load: &Load) -> anyhow::Result<LoadResult> {
    let tally = Arc::new(Mutex::new(Tally {
        // Keeps three significant digits, up to ten minutes.
        times: Histogram::new_with_bounds(1000, 600_000_000_000, 3)?,
        statuses: BTreeMap::new(),
    }));
    let schedule = Arc::new(Schedule::new(load));
    let clients: Vec<_> = (0..load.clients)
        .map(|_| {
            tokio::spawn(client(
                load.clone(),
                Arc::clone(&schedule),
                Arc::clone(&tally),
            ))
        })
        .collect();
    let pacemaker = schedule.rate.map(|_| {
        let (schedule, clients) = (Arc::clone(&schedule), load.clients);
        std::thread::spawn(move || schedule.keep_pace(clients))
    });
    let patience = schedule
        .rate
        .map(|_| schedule.due_at(schedule.end) + PATIENCE);
    for client in clients {
        let Some(patience) = patience else {
            client.await?;
            continue;
        };
        let abort = client.abort_handle();
        if timeout_at(patience.into(), client).await.is_err() {
            abort.abort();
        }
    }
    let took = schedule.started.elapsed();
    if let Some(pacemaker) = pacemaker {
        pacemaker.join().expect("the pacemaker does not panic");
    }
    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    let mut statuses = tally.statuses.clone();
    if schedule.end < u64::MAX {
        let unanswered = schedule.end - statuses.values().sum::<u64>();
        if unanswered > 0 {
            statuses.insert("unanswered".to_owned(), unanswered);
        }
    }
    Ok(LoadResult {
        took,
        times: tally.times.clone(),
        statuses,
    })
}

async fn client(load: Load, schedule: Arc<Schedule>, tally: Arc<Mutex<Tally>>) {
    let mut client = Client::new(load.address);
    while let Some((number, counts_from)) = schedule.next().await {
        let body = (load.bodies)(load.first + number);
        let answer = client.send(load.path, Some(body)).await;
        let took = counts_from.elapsed();
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        let status = match &answer {
            Ok((status, _)) => status.as_str(),
            Err(_) => "connection",
        };
        if status == "200" {
            tally.times.saturating_record(took.as_nanos() as u64);
        }
        if let Some(count) = tally.statuses.get_mut(status) {
            *count += 1;
        } else {
            tally.statuses.insert(status.to_owned(), 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Starts a server that answers on one connection, and delays the third answer by 200 ms.
    fn stalling() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for request in 1.. {
                let mut bytes = [0; 4096];
                if stream.read(&mut bytes).unwrap_or(0) == 0 {
                    return;
                }
                if request == 3 {
                    std::thread::sleep(Duration::from_millis(200));
                }
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                    .unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn a_stall_delays_every_request_that_was_due_during_it() {
        let mut load = Load {
            address: stalling(),
            path: "/",
            clients: 1,
            pace: Pace::Open(100.0),
            stop: Stop::Requests(40),
            bodies: Arc::new(|_| Bytes::from_static(b"{}")),
            first: 0,
        };
        let open = run(&load).await.unwrap();
        assert_eq!(open.statuses, BTreeMap::from([("200".to_owned(), 40)]));
        // About 20 requests were due in the 200 ms.
        assert!(open.quantile(0.7) > 20.0, "{}", open.quantile(0.7));

        load.address = stalling();
        load.pace = Pace::Closed;
        let closed = run(&load).await.unwrap();
        assert!(closed.quantile(0.7) < 20.0, "{}", closed.quantile(0.7));
        assert!(closed.quantile(1.0) > 199.0);
    }
}
