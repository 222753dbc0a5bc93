//! The in-process tier.

use metrics::{Counter, Gauge, counter, gauge};
use moka::sync::Cache;

use super::{Key, PooledState};
use crate::metrics::{CACHE_BYTES, CACHE_ENTRIES, CACHE_LOOKUPS};

/// Bytes of an entry beside its vector: the key, and the cache's nodes for order and frequency.
const OVERHEAD: usize = 256;

/// An in-process cache of states, bounded in bytes. Clones are cheap and share the entries.
///
/// It evicts by frequency and recency (TinyLFU), so one pass over many rare texts does not evict the frequent ones.
///
/// ```
/// use lexivec_runtime::cache::{Key, MemoryCache};
///
/// let cache = MemoryCache::new(64 << 20);
/// let key = Key::new("digest of nano", &[1, 2, 16_381]);
/// assert_eq!(cache.get(&key), None);
/// cache.insert(key, [0.6, 0.8].into());
/// assert_eq!(cache.get(&key).as_deref(), Some(&[0.6, 0.8][..]));
/// assert_eq!(cache.entries(), 1);
/// ```
#[derive(Debug, Clone)]
pub struct MemoryCache {
    states: Cache<Key, PooledState>,
    hits: Counter,
    misses: Counter,
    bytes: Gauge,
    entries: Gauge,
}

impl MemoryCache {
    /// Creates a cache of at most `bytes`; 0 stores nothing.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self {
            states: Cache::builder()
                .max_capacity(bytes)
                .weigher(|_, state: &PooledState| weight(state))
                .build(),
            hits: counter!(CACHE_LOOKUPS, "tier" => "memory", "outcome" => "hit"),
            misses: counter!(CACHE_LOOKUPS, "tier" => "memory", "outcome" => "miss"),
            bytes: gauge!(CACHE_BYTES),
            entries: gauge!(CACHE_ENTRIES),
        }
    }

    /// The state stored under a key.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<PooledState> {
        let found = self.states.get(key);
        if found.is_some() {
            self.hits.increment(1);
        } else {
            self.misses.increment(1);
        }
        found
    }

    /// Stores a state and evicts others if there is no room.
    pub fn insert(&self, key: Key, state: PooledState) {
        self.states.insert(key, state);
    }

    /// Bytes held, as counted against the limit.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.states.run_pending_tasks();
        self.states.weighted_size()
    }

    /// Entries held.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.states.run_pending_tasks();
        self.states.entry_count()
    }

    /// Updates the gauges. Call it before metrics are read.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub(crate) fn publish(&self) {
        self.bytes.set(self.bytes() as f64);
        self.entries.set(self.entries() as f64);
    }
}

fn weight(state: &PooledState) -> u32 {
    u32::try_from(size_of_val::<[f32]>(state) + OVERHEAD).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use metrics::with_local_recorder;
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    use super::*;

    fn key(id: u32) -> Key {
        Key::new("model", &[id])
    }

    fn state(width: usize, value: f32) -> PooledState {
        vec![value; width].into()
    }

    #[test]
    fn only_stored_states_are_found() {
        let cache = MemoryCache::new(1 << 20);
        cache.insert(key(1), state(8, 1.0));
        assert_eq!(cache.get(&key(1)), Some(state(8, 1.0)));
        assert_eq!(cache.clone().get(&key(1)), Some(state(8, 1.0)));
        assert_eq!(cache.get(&key(2)), None);
        assert_eq!((cache.entries(), cache.bytes()), (1, 8 * 4 + 256));
    }

    #[test]
    fn a_cache_of_no_bytes_stores_nothing() {
        let cache = MemoryCache::new(0);
        cache.insert(key(1), state(8, 1.0));
        assert_eq!(cache.entries(), 0);
        assert_eq!(cache.get(&key(1)), None);
    }

    #[test]
    fn the_bound_holds_while_threads_insert() {
        const BOUND: usize = 4 << 20;
        const WIDTH: usize = 1024;
        let cache = MemoryCache::new(BOUND as u64);
        let states: Vec<Weak<[f32]>> = std::thread::scope(|scope| {
            let insert = |thread: u32| {
                let cache = &cache;
                move || -> Vec<Weak<[f32]>> {
                    let ids = thread * 5000..(thread + 1) * 5000;
                    ids.map(|id| {
                        let state = state(WIDTH, 1.0);
                        let weak = PooledState::downgrade(&state);
                        cache.insert(key(id), state);
                        weak
                    })
                    .collect()
                }
            };
            let threads: Vec<_> = (0..4).map(|thread| scope.spawn(insert(thread))).collect();
            threads
                .into_iter()
                .flat_map(|t| t.join().unwrap())
                .collect()
        });
        // Counted before maintenance runs: the cache's write log also bounds the entries that it has not processed yet.
        let held = states.iter().filter(|s| s.strong_count() > 0).count() * WIDTH * 4;
        assert!(held < BOUND + (6 << 20), "{held} bytes are held");
        assert!(cache.bytes() <= BOUND as u64);
        // Evicted nodes themselves are freed lazily, by later operations.
        for id in 0..2000 {
            let _ = cache.get(&key(id));
        }
        let bytes = cache.bytes();
        assert!(
            bytes <= BOUND as u64 && bytes > BOUND as u64 * 9 / 10,
            "{bytes}"
        );
        assert_eq!(bytes / (WIDTH as u64 * 4 + 256), cache.entries());
    }

    #[test]
    fn frequent_texts_survive_a_pass_over_rare_ones() {
        let entry = 64 * 4 + 256;
        let cache = MemoryCache::new(100 * entry);
        for _ in 0..5 {
            for id in 0..50 {
                if cache.get(&key(id)).is_none() {
                    cache.insert(key(id), state(64, 1.0));
                }
            }
        }
        for id in 1000..3000 {
            cache.insert(key(id), state(64, 1.0));
        }
        let kept = (0..50).filter(|id| cache.get(&key(*id)).is_some()).count();
        assert!(kept >= 45, "{kept} of 50");
    }

    #[test]
    fn lookups_and_sizes_are_published() {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        with_local_recorder(&recorder, || {
            let cache = MemoryCache::new(1 << 20);
            cache.insert(key(1), state(8, 1.0));
            for id in [1, 1, 2] {
                let _ = cache.get(&key(id));
            }
            cache.publish();
        });
        let mut found: Vec<(String, DebugValue)> = snapshotter
            .snapshot()
            .into_vec()
            .into_iter()
            .map(|(key, _, _, value)| {
                let labels = key.key().labels().map(|l| format!(" {}", l.value()));
                (
                    format!("{}{}", key.key().name(), labels.collect::<String>()),
                    value,
                )
            })
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(
            found,
            [
                (
                    "lexivec_cache_bytes".to_owned(),
                    DebugValue::Gauge((8.0 * 4.0 + 256.0).into())
                ),
                (
                    "lexivec_cache_entries".to_owned(),
                    DebugValue::Gauge(1.0.into())
                ),
                (
                    "lexivec_cache_lookups_total memory hit".to_owned(),
                    DebugValue::Counter(2)
                ),
                (
                    "lexivec_cache_lookups_total memory miss".to_owned(),
                    DebugValue::Counter(1)
                ),
            ]
        );
    }
}
