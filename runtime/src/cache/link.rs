//! The background task of the Redis cache: it connects, serves jobs, backs off after failures, and reconnects.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client};
use tokio::sync::mpsc::Receiver;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout, timeout_at};

use super::breaker::Breaker;
use super::callback::LookupCallback;
use super::commands::{Commands, Failure};
use super::redis_metrics::{FailureKind, RedisMetrics};
use super::{Key, PooledState, RedisSettings};

/// Maximum lookups in flight on the one connection.
const CONCURRENT: usize = 64;
/// Maximum time to connect, including TLS and authentication. No request waits for it.
const CONNECT: Duration = Duration::from_secs(2);

/// A queued lookup.
pub(super) struct Lookup {
    pub(super) keys: Vec<Key>,
    pub(super) callback: LookupCallback,
    pub(super) deadline: Instant,
}

/// A batch of states to store.
pub(super) struct Store(pub(super) Vec<(Key, PooledState)>);

/// The queued jobs. Both channels close when the [`RedisCache`](super::RedisCache) is dropped.
pub(super) struct Jobs {
    pub(super) lookups: Receiver<Lookup>,
    pub(super) stores: Receiver<Store>,
}

impl Jobs {
    /// Completes every job without a result until the channels close.
    async fn discard(&mut self, metrics: &RedisMetrics) {
        while tokio::select! {
            lookup = self.lookups.recv() => lookup.is_some(),
            store = self.stores.recv() => store.is_some(),
        } {
            metrics.error(FailureKind::Unavailable);
        }
    }
}

/// Why the server is not used, and for how long.
type Break = (Failure, Duration);
/// How a job on the connection ended.
type Outcome = Result<Result<(), Failure>, JoinError>;

/// The background task that owns the connection to Redis.
pub(super) struct Link {
    client: Client,
    commands: Arc<Commands>,
    metrics: Arc<RedisMetrics>,
    timeout: Duration,
    breaker: Breaker,
    /// Opens alone if lookups work but stores fail, because Redis is full or read-only.
    stores: Breaker,
    stores_rest_until: Instant,
}

impl Link {
    pub(super) fn new(
        client: Client,
        settings: &RedisSettings,
        metrics: Arc<RedisMetrics>,
    ) -> Self {
        let breaker = || Breaker::new(settings.back_off, settings.back_off_limit);
        Self {
            client,
            commands: Arc::new(Commands::new(settings)),
            metrics,
            timeout: settings.timeout,
            breaker: breaker(),
            stores: breaker(),
            stores_rest_until: Instant::now(),
        }
    }

    /// Runs until the jobs end.
    pub(super) async fn run(mut self, mut jobs: Jobs) {
        let server = self.client.get_connection_info().addr().to_string();
        let mut wait = Duration::ZERO;
        let mut told = false;
        loop {
            let connected = tokio::select! {
                () = jobs.discard(&self.metrics) => return,
                connected = connect(&self.client, wait) => connected,
            };
            let failure = match connected {
                Ok(connection) => {
                    tracing::info!(server, "the Redis cache is in use");
                    told = false;
                    self.metrics.set_open(false);
                    let end = self.serve(&connection, &mut jobs).await;
                    self.metrics.set_open(true);
                    let Some((failure, rest)) = end else { return };
                    wait = rest;
                    failure
                }
                Err(failure) => {
                    self.metrics.error(failure.kind());
                    wait = self.breaker.open();
                    failure
                }
            };
            // Warns once per outage, because the task retries all the time.
            if !told {
                tracing::warn!(server, %failure, "the Redis cache is not in use; it is tried again in the background");
                told = true;
            }
        }
    }

    /// Serves jobs over a connection. Returns the failure that broke it, or `None` when the channels close.
    async fn serve(
        &mut self,
        connection: &MultiplexedConnection,
        jobs: &mut Jobs,
    ) -> Option<Break> {
        // Dropping the set completes the lookups in flight.
        let mut lookups = JoinSet::new();
        let mut stores = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                Some(outcome) = lookups.join_next() => {
                    if let Some(end) = self.looked_up(outcome) {
                        return Some(end);
                    }
                }
                Some(outcome) = stores.join_next() => {
                    if let Some(end) = self.stored(outcome) {
                        return Some(end);
                    }
                }
                lookup = jobs.lookups.recv(), if lookups.len() < CONCURRENT => {
                    let (commands, metrics) = (Arc::clone(&self.commands), Arc::clone(&self.metrics));
                    lookups.spawn(look_up(lookup?, connection.clone(), commands, metrics));
                }
                // One store at a time, so that lookups run between stores.
                store = jobs.stores.recv(), if stores.is_empty() => {
                    let store = store?;
                    if Instant::now() < self.stores_rest_until {
                        self.metrics.error(FailureKind::Unavailable);
                    } else {
                        let commands = Arc::clone(&self.commands);
                        stores.spawn(store_all(store, connection.clone(), commands, self.timeout));
                    }
                }
            }
        }
    }

    fn looked_up(&mut self, outcome: Outcome) -> Option<Break> {
        match outcome {
            Ok(Ok(())) => {
                self.breaker.succeeded();
                None
            }
            Ok(Err(failure)) => {
                let rest = if failure.lost() {
                    Some(self.breaker.open())
                } else {
                    self.breaker.failed()
                };
                rest.map(|rest| (failure, rest))
            }
            Err(panic) => {
                tracing::error!(%panic, "a cache lookup panicked");
                None
            }
        }
    }

    fn stored(&mut self, outcome: Outcome) -> Option<Break> {
        match outcome {
            Ok(Ok(())) => self.stores.succeeded(),
            Ok(Err(failure)) => {
                self.metrics.error(failure.kind());
                if failure.lost() {
                    return Some((failure, self.breaker.open()));
                }
                if let Some(rest) = self.stores.failed() {
                    tracing::warn!(%failure, ?rest, "Redis takes no values; lookups go on");
                    self.stores_rest_until = Instant::now() + rest;
                }
            }
            Err(panic) => tracing::error!(%panic, "a cache store panicked"),
        }
        None
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The thread ends, perhaps because of a panic.
        self.metrics.set_open(true);
    }
}

async fn connect(client: &Client, wait: Duration) -> Result<MultiplexedConnection, Failure> {
    sleep(wait).await;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let connecting = async {
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        Commands::ping(&mut connection).await?;
        Ok(connection)
    };
    timeout(CONNECT, connecting)
        .await
        .unwrap_or(Err(Failure::Timeout))
}

async fn look_up(
    lookup: Lookup,
    mut connection: MultiplexedConnection,
    commands: Arc<Commands>,
    metrics: Arc<RedisMetrics>,
) -> Result<(), Failure> {
    let mut found = Vec::with_capacity(lookup.keys.len());
    let fetching = async {
        for keys in lookup.keys.chunks(commands.keys_at_once()) {
            found.extend(commands.fetch(&mut connection, keys, &metrics).await?);
        }
        Ok(())
    };
    let fetched = timeout_at(lookup.deadline.into(), fetching)
        .await
        .unwrap_or(Err(Failure::Timeout));
    // The failure is counted first, so that the caller sees it in the metrics.
    if let Err(failure) = &fetched {
        metrics.error(failure.kind());
    }
    let came = !found.is_empty();
    lookup.callback.run(found);
    match fetched {
        // Some replies arrived before the time-out, so the line is slow but the server works.
        Err(Failure::Timeout) if came => Ok(()),
        fetched => fetched,
    }
}

async fn store_all(
    store: Store,
    mut connection: MultiplexedConnection,
    commands: Arc<Commands>,
    limit: Duration,
) -> Result<(), Failure> {
    timeout(limit, commands.store(&mut connection, &store.0))
        .await
        .unwrap_or(Err(Failure::Timeout))
}
