//! The response cache: reuses cached states, and coalesces identical texts in flight.
//!
//! A state depends only on the model and the token ids, not on the request, its dimensions or its batch, so these form
//! the key. The cache never fails a request: a miss is computed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use metrics::{Counter, counter};
use tokio::sync::oneshot;

use crate::cache::{Key, MemoryCache, PooledState, RedisCache, RedisSettings};
use crate::error::Result;
use crate::metrics::CACHE_COALESCED;
use crate::model::ModelInfo;
use crate::onnxruntime::execution_provider::Provider;
use crate::request::Origin;
use crate::scheduling::fairness::Caller;
use crate::scheduling::in_flight::{Completed, InFlight, Reply};
use crate::scheduling::queue::Entry;

/// The tiers of an engine's response cache.
///
/// ```
/// use lexivec_runtime::cache::MemoryCache;
/// use lexivec_runtime::{CacheSettings, EngineOptions};
///
/// let cache = CacheSettings {
///     memory: Some(MemoryCache::new(64 << 20)),
///     redis: None,
/// };
/// let options = EngineOptions { cache: Some(cache), ..EngineOptions::default() };
/// assert!(EngineOptions::default().cache.is_none());
/// ```
#[derive(Debug, Clone, Default)]
pub struct CacheSettings {
    /// The in-process tier; engines may share it.
    pub memory: Option<MemoryCache>,
    /// The tier that is shared with other servers.
    pub redis: Option<RedisSettings>,
}

/// The response cache of one engine.
#[derive(Debug)]
pub(crate) struct ResponseCache {
    model_digest: String,
    memory: Option<MemoryCache>,
    redis: Option<RedisCache>,
    running: Mutex<HashMap<Key, Weak<InFlight>>>,
    coalesced: Counter,
}

/// From this many entries on, texts that are complete are removed from the map.
const PRUNE_FROM: usize = 16_384;

impl ResponseCache {
    /// # Errors
    /// The Redis address cannot be read. It is not an error if Redis is down.
    pub(crate) fn new(
        model: &ModelInfo,
        provider: Provider,
        settings: &CacheSettings,
    ) -> Result<Self> {
        let width = model.hidden_size;
        Ok(Self {
            // CPUs and GPUs compute different bits.
            model_digest: format!("{} {provider}", model.digest),
            memory: settings.memory.clone(),
            redis: settings
                .redis
                .clone()
                .map(|redis| RedisCache::start(&RedisSettings { width, ..redis }))
                .transpose()?,
            running: Mutex::default(),
            coalesced: counter!(CACHE_COALESCED),
        })
    }

    /// Returns a receiver for each text. Texts that are neither in memory nor in flight become entries to look up or
    /// compute.
    pub(crate) fn resolve(
        &self,
        sequences: Vec<Vec<u32>>,
        scope: Option<&str>,
        since: Instant,
        caller: Caller,
    ) -> (Vec<Entry>, Vec<oneshot::Receiver<Reply>>) {
        let of = match scope {
            None => Cow::Borrowed(&self.model_digest),
            Some(scope) => Cow::Owned(format!("{} {scope}", self.model_digest)),
        };
        let mut missing = Vec::new();
        let mut receivers = Vec::with_capacity(sequences.len());
        for ids in sequences {
            let key = Key::new(&of, &ids);
            let cached = self.memory.as_ref().and_then(|memory| memory.get(&key));
            receivers.push(match cached {
                Some(state) => answered(state),
                None => self.coalesce_or_start(key, |in_flight| {
                    missing.push(Entry {
                        ids,
                        key: Some(key),
                        in_flight,
                        since,
                        caller,
                    });
                }),
            });
        }
        (missing, receivers)
    }

    /// Coalesces with the text in flight under `key`, or creates one and hands it to `started`.
    fn coalesce_or_start(
        &self,
        key: Key,
        started: impl FnOnce(Arc<InFlight>),
    ) -> oneshot::Receiver<Reply> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let identical = running.get(&key).and_then(Weak::upgrade);
        if let Some(receiver) = identical.and_then(|in_flight| in_flight.coalesce()) {
            self.coalesced.increment(1);
            return receiver;
        }
        if running.len() >= PRUNE_FROM {
            running.retain(|_, in_flight| in_flight.strong_count() > 0);
        }
        let (in_flight, receiver) = InFlight::new();
        running.insert(key, Arc::downgrade(&in_flight));
        started(in_flight);
        receiver
    }

    /// Looks `missing` texts up in Redis and hands those that it does not have to `queue`. Returns at once.
    ///
    /// # Errors
    /// The error of `queue`, if there is no Redis to ask. Otherwise `queue` itself has to complete the texts that it rejects.
    pub(crate) fn look_up(
        self: &Arc<Self>,
        missing: Vec<Entry>,
        queue: impl FnOnce(Vec<Entry>) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let Some(redis) = self.redis.as_ref().filter(|_| !missing.is_empty()) else {
            return queue(missing);
        };
        let keys = missing.iter().filter_map(|entry| entry.key).collect();
        let cache = Arc::clone(self);
        let then = move |found: Vec<Option<PooledState>>| {
            let mut unknown = Vec::new();
            for (entry, found) in missing.into_iter().zip(found) {
                match (found, entry.key) {
                    (Some(state), Some(key)) => cache.complete_from_redis(key, &state, &entry),
                    _ => unknown.push(entry),
                }
            }
            // `queue` has completed the texts with the error.
            let _ = queue(unknown);
        };
        redis.get(keys, Box::new(then));
        Ok(())
    }

    fn complete_from_redis(&self, key: Key, state: &PooledState, entry: &Entry) {
        if let Some(memory) = &self.memory {
            memory.insert(key, Arc::clone(state));
        }
        self.remove_in_flight([key]);
        entry.in_flight.complete(&Ok(from_cache(Arc::clone(state))));
    }

    /// Stores computed states. Call it before the texts complete, so that no request computes them again in between.
    pub(crate) fn store(&self, computed: Vec<(Key, PooledState)>) {
        if let Some(memory) = &self.memory {
            for (key, state) in &computed {
                memory.insert(*key, Arc::clone(state));
            }
        }
        self.remove_in_flight(computed.iter().map(|(key, _)| *key));
        if let Some(redis) = &self.redis {
            redis.put(computed);
        }
    }

    fn remove_in_flight(&self, keys: impl IntoIterator<Item = Key>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            running.remove(&key);
        }
    }

    /// Updates the gauges.
    pub(crate) fn sample(&self) {
        if let Some(memory) = &self.memory {
            memory.publish();
        }
    }
}

fn from_cache(state: PooledState) -> Completed {
    Completed {
        state,
        origin: Origin::Cached,
        queued: Duration::ZERO,
        infer: Duration::ZERO,
    }
}

/// A receiver that has its reply already.
fn answered(state: PooledState) -> oneshot::Receiver<Reply> {
    let (sender, receiver) = oneshot::channel();
    let _ = sender.send(Ok(from_cache(state)));
    receiver
}
