//! The Redis tier, as its callers see it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::ConnectionAddr;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Sender};

use super::callback::{Callback, LookupCallback};
use super::link::{Jobs, Link, Lookup, Store};
use super::redis_metrics::{FailureKind, RedisMetrics};
use super::{Key, PooledState, RedisSettings};
use crate::error::{Error, Result};

/// Maximum queued lookups.
const LOOKUPS: usize = 1024;
/// Maximum queued stores; each holds up to [`STORE_BYTES`].
const STORES: usize = 256;
/// Maximum bytes of one store, so that a lookup never waits long behind one.
const STORE_BYTES: usize = 256 * 1024;

/// A cache of states in Redis. No method blocks or fails; see [`crate::cache`].
///
/// A circuit breaker stops using a server that failed or was too slow several times in a row, and retries it in the
/// background with growing pauses. Stores have a breaker of their own, because a server that is full still answers
/// lookups.
///
/// ```
/// use std::sync::mpsc;
///
/// use lexivec_runtime::cache::{Key, RedisCache, RedisSettings};
///
/// // No server listens there: every key is a miss.
/// let cache = RedisCache::start(&RedisSettings::new("redis://127.0.0.1:1", 256))?;
/// let (sender, receiver) = mpsc::channel();
/// let key = Key::new("digest of nano", &[1, 2, 16_381]);
/// cache.get(vec![key], Box::new(move |found| sender.send(found).expect("it is received")));
/// assert_eq!(receiver.recv()?, [None]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RedisCache {
    lookups: Sender<Lookup>,
    stores: Sender<Store>,
    metrics: Arc<RedisMetrics>,
    timeout: Duration,
    store_entries: usize,
}

impl RedisCache {
    /// Starts the thread, which connects in the background. A server that is down is not an error, now or later.
    ///
    /// # Errors
    /// A setting is invalid, or the system cannot start a thread.
    pub fn start(settings: &RedisSettings) -> Result<Self> {
        let client = settings.client()?;
        if let ConnectionAddr::TcpTls { .. } = client.get_connection_info().addr() {
            // rustls chooses a provider by itself only if exactly one is compiled in. An installed provider is kept.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let (lookups, lookups_taken) = mpsc::channel(LOOKUPS);
        let (stores, stores_taken) = mpsc::channel(STORES);
        let metrics = Arc::new(RedisMetrics::new());
        let cache = Self {
            lookups,
            stores,
            metrics: Arc::clone(&metrics),
            timeout: settings.timeout,
            store_entries: (STORE_BYTES
                / settings
                    .format
                    .stored_bytes(settings.width, settings.secret.is_some()))
            .max(1),
        };
        let jobs = Jobs {
            lookups: lookups_taken,
            stores: stores_taken,
        };
        let no_thread = |e: std::io::Error| Error::Cache {
            reason: format!("no thread: {e}"),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(no_thread)?;
        let link = Link::new(client, settings, metrics);
        std::thread::Builder::new()
            .name("lexivec-redis".to_owned())
            .spawn(move || {
                runtime.block_on(link.run(jobs));
                // A pending name resolution would block a plain drop.
                runtime.shutdown_background();
            })
            .map_err(no_thread)?;
        Ok(cache)
    }

    /// Looks keys up. Calls `then` exactly once with a state or `None` per key, in the order of the keys.
    ///
    /// `then` runs within the time-out on the cache's thread, which it must not block. It runs at once on the caller's
    /// thread if Redis is not in use or too many lookups are queued. Dropping the cache completes the queued lookups.
    pub fn get(&self, keys: Vec<Key>, then: Callback) {
        let callback = LookupCallback::new(keys.len(), then);
        if keys.is_empty() {
            return;
        }
        if self.metrics.is_open() {
            self.metrics.error(FailureKind::Unavailable);
            return;
        }
        let lookup = Lookup {
            keys,
            callback,
            deadline: Instant::now() + self.timeout,
        };
        if let Err(error) = self.lookups.try_send(lookup) {
            self.metrics.error(not_taken(&error));
        }
    }

    /// Stores states in the background. Drops them if Redis is not in use or too many are queued.
    pub fn put(&self, entries: Vec<(Key, PooledState)>) {
        if entries.is_empty() {
            return;
        }
        if self.metrics.is_open() {
            self.metrics.error(FailureKind::Unavailable);
            return;
        }
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let batch = entries.by_ref().take(self.store_entries).collect();
            if let Err(error) = self.stores.try_send(Store(batch)) {
                self.metrics.error(not_taken(&error));
            }
        }
    }
}

fn not_taken<T>(error: &TrySendError<T>) -> FailureKind {
    match error {
        TrySendError::Full(_) => FailureKind::Overflow,
        TrySendError::Closed(_) => FailureKind::Unavailable,
    }
}

impl fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCache")
            .field("open", &self.metrics.is_open())
            .finish_non_exhaustive()
    }
}
