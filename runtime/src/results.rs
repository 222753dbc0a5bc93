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

use crate::cache::{Key, MemoryCache, RedisCache, RedisSettings, State};
use crate::error::Result;
use crate::execution_provider::Provider;
use crate::fairness::Caller;
use crate::flight::{Answer, Flight, Origin, Reply};
use crate::metrics::CACHE_JOINED;
use crate::model::ModelInfo;
use crate::queue::Entry;
use crate::worker::Shared;

/// The tiers of an engine's response cache.
#[derive(Debug, Clone, Default)]
pub struct CacheSettings {
    /// The in-process tier; engines may share it.
    pub memory: Option<MemoryCache>,
    /// The tier that is shared with other servers.
    pub redis: Option<RedisSettings>,
}

/// The response cache of one engine.
#[derive(Debug)]
pub(crate) struct Results {
    model_digest: String,
    memory: Option<MemoryCache>,
    redis: Option<RedisCache>,
    flights: Mutex<HashMap<Key, Weak<Flight>>>,
    joined: Counter,
}

/// From this many entries on, texts that are complete are removed from the map.
const CROWDED: usize = 16_384;

impl Results {
    /// # Errors
    /// The Redis address cannot be read. A Redis that is down is no error.
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
            flights: Mutex::default(),
            joined: counter!(CACHE_JOINED),
        })
    }

    /// Returns a receiver for each text. Texts that are neither in memory nor in flight become entries to look up or
    /// compute.
    pub(crate) fn board(
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
        let mut fresh = Vec::new();
        let mut receivers = Vec::with_capacity(sequences.len());
        for ids in sequences {
            let key = Key::new(&of, &ids);
            let known = self.memory.as_ref().and_then(|memory| memory.get(&key));
            receivers.push(match known {
                Some(state) => answered(state),
                None => self.fly(key, |flight| {
                    fresh.push(Entry {
                        ids,
                        key: Some(key),
                        flight,
                        since,
                        caller,
                    });
                }),
            });
        }
        (fresh, receivers)
    }

    /// Coalesces with the text in flight under `key`, or creates one and hands it to `begun`.
    fn fly(&self, key: Key, begun: impl FnOnce(Arc<Flight>)) -> oneshot::Receiver<Reply> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = flights.get(&key).and_then(Weak::upgrade);
        if let Some(receiver) = under_way.and_then(|flight| flight.join()) {
            self.joined.increment(1);
            return receiver;
        }
        if flights.len() >= CROWDED {
            flights.retain(|_, flight| flight.strong_count() > 0);
        }
        let (flight, receiver) = Flight::new();
        flights.insert(key, Arc::downgrade(&flight));
        begun(flight);
        receiver
    }

    /// Looks `fresh` texts up in Redis and queues the misses. Returns at once.
    ///
    /// # Errors
    /// The queue rejects the texts, and there is no Redis to ask.
    pub(crate) fn look_up(self: &Arc<Self>, fresh: Vec<Entry>, shared: &Arc<Shared>) -> Result<()> {
        let Some(redis) = self.redis.as_ref().filter(|_| !fresh.is_empty()) else {
            return shared.push(fresh);
        };
        let keys = fresh.iter().filter_map(|entry| entry.key).collect();
        let (results, shared) = (Arc::clone(self), Arc::clone(shared));
        let then = move |found: Vec<Option<State>>| {
            let mut unknown = Vec::new();
            for (entry, found) in fresh.into_iter().zip(found) {
                match (found, entry.key) {
                    (Some(state), Some(key)) => results.landed_from_redis(key, &state, &entry),
                    _ => unknown.push(entry),
                }
            }
            // The push itself tells those who wait of an error.
            let _ = shared.push(unknown);
        };
        redis.get(keys, Box::new(then));
        Ok(())
    }

    fn landed_from_redis(&self, key: Key, state: &State, entry: &Entry) {
        if let Some(memory) = &self.memory {
            memory.insert(key, Arc::clone(state));
        }
        self.forget([key]);
        entry.flight.land(&Ok(cached(Arc::clone(state))));
    }

    /// Stores computed states. Call it before the texts complete, so that no request computes them again in between.
    pub(crate) fn keep(&self, computed: Vec<(Key, State)>) {
        if let Some(memory) = &self.memory {
            for (key, state) in &computed {
                memory.insert(*key, Arc::clone(state));
            }
        }
        self.forget(computed.iter().map(|(key, _)| *key));
        if let Some(redis) = &self.redis {
            redis.put(computed);
        }
    }

    fn forget(&self, keys: impl IntoIterator<Item = Key>) {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            flights.remove(&key);
        }
    }

    /// Updates the gauges.
    pub(crate) fn sample(&self) {
        if let Some(memory) = &self.memory {
            memory.publish();
        }
    }
}

fn cached(state: State) -> Answer {
    Answer {
        state,
        origin: Origin::Cached,
        queued: Duration::ZERO,
        infer: Duration::ZERO,
    }
}

/// A receiver that has its reply already.
fn answered(state: State) -> oneshot::Receiver<Reply> {
    let (sender, receiver) = oneshot::channel();
    let _ = sender.send(Ok(cached(state)));
    receiver
}
