//! Who already knows a text's state, or is about to: the result caches, and identical texts in flight.
//!
//! A state depends on the model and the token ids alone (not on the request, its dimensions or its batch), so that is
//! what everything here is keyed by. Nothing here ever fails a request: what is not known is computed.

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

/// What an engine remembers.
#[derive(Debug, Clone, Default)]
pub struct CacheSettings {
    /// States kept in process; engines may share it.
    pub memory: Option<MemoryCache>,
    /// States shared with other servers.
    pub redis: Option<RedisSettings>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Results {
    model_digest: String,
    memory: Option<MemoryCache>,
    redis: Option<RedisCache>,
    flights: Mutex<HashMap<Key, Weak<Flight>>>,
    joined: Counter,
}

/// From this many on, flights that are over are looked for and forgotten.
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
            // A CPU's bits and a GPU's are not the same.
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

    /// A receiver for each text; texts that nobody knows become entries to look up or compute.
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

    /// Joins the flight of `key`, or begins one and hands it to `begun`.
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

    /// Asks Redis for the states of `fresh`; what it has not got goes to the queue. Returns at once.
    ///
    /// # Errors
    /// The queue takes no more, and there is no Redis to ask.
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
            // Whoever waits is told of an error by the push itself.
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

    /// Keeps what was computed. To be called before the flights land, so that nobody computes it again in between.
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

    /// Sets the gauges.
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

/// A receiver whose answer is there already.
fn answered(state: State) -> oneshot::Receiver<Reply> {
    let (sender, receiver) = oneshot::channel();
    let _ = sender.send(Ok(cached(state)));
    receiver
}
