//! A KV cache for prompt prefixes that texts share, so that they are not computed again in every batch.
//!
//! Thousands of queries begin with one instruction, and many terms begin alike. Cached prefixes form a trie. A batch
//! reads those that its texts begin with. A computed prefix is stored when it is seen for the second time. The least
//! recently used prefixes are evicted first. This module is pure.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use crate::network::plan::{CachedTokens, Plan};

/// The number of a cached prefix. Numbers are never reused.
pub(crate) type PrefixId = u64;

/// The empty prefix.
const ROOT: PrefixId = 0;

/// Cached prefixes, each with the keys and values of its last token.
#[derive(Debug)]
pub(crate) struct KvCache<V> {
    children: HashMap<(PrefixId, u32), PrefixId>,
    entries: HashMap<PrefixId, Entry<V>>,
    seen: SeenPrefixes,
    /// Maximum number of cached prefixes.
    capacity: usize,
    /// Number of batches so far.
    batch: u64,
    newest: PrefixId,
}

#[derive(Debug)]
struct Entry<V> {
    /// Its key in `children`.
    key: (PrefixId, u32),
    /// The batch that read it last. A read includes all shorter prefixes, so none of those is older.
    used: u64,
    values: V,
}

/// The cached prefixes of a batch's texts.
#[derive(Debug, Default)]
pub(crate) struct FoundPrefixes {
    pub(crate) cached: CachedTokens,
    /// `[P]` the prefix of each cached token.
    pub(crate) prefixes: Vec<PrefixId>,
}

/// A prefix to store. Indices are those of [`Plan::kv_index`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewPrefix {
    /// The index of the token before; `None` at the beginning of a text.
    parent: Option<usize>,
    token: u32,
    index: usize,
}

impl<V> KvCache<V> {
    /// A cache of at most this many prefixes; 0 disables it.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            children: HashMap::new(),
            entries: HashMap::new(),
            seen: SeenPrefixes::default(),
            capacity,
            batch: 0,
            newest: ROOT,
        }
    }

    /// The keys and values of a prefix that was found in this batch.
    ///
    /// # Panics
    /// If it was evicted since.
    pub(crate) fn values(&self, prefix: PrefixId) -> &V {
        &self.entries[&prefix].values
    }

    /// Finds the longest cached prefix of each sequence. The last token is never part of it, because its state is
    /// needed.
    pub(crate) fn find(&mut self, sequences: &[&[u32]]) -> FoundPrefixes {
        self.batch += 1;
        let mut found = FoundPrefixes::default();
        let mut indices = HashMap::new();
        for sequence in sequences {
            let mut path = Vec::new();
            let mut prefix = ROOT;
            for token in inner(sequence) {
                let Some(child) = self.children.get(&(prefix, *token)) else {
                    break;
                };
                prefix = *child;
                path.push(*indices.entry(prefix).or_insert_with(|| {
                    if let Some(entry) = self.entries.get_mut(&prefix) {
                        entry.used = self.batch;
                    }
                    found.prefixes.push(prefix);
                    found.prefixes.len() - 1
                }));
            }
            found.cached.paths.push(path);
        }
        found.cached.count = found.prefixes.len();
        found
    }

    /// Selects the prefixes to store of a batch that is about to be computed: those that were seen before, in this
    /// batch or an earlier one. Selects none if the batch has more tokens than the capacity, because storing one keeps
    /// the outputs of all in memory.
    pub(crate) fn select_new(
        &mut self,
        sequences: &[&[u32]],
        found: &FoundPrefixes,
        plan: &Plan,
    ) -> Vec<NewPrefix> {
        let mut new = Vec::new();
        if found.cached.count + plan.packed_tokens() > self.capacity {
            return new;
        }
        let mut seen = HashSet::new();
        for (b, sequence) in sequences.iter().enumerate() {
            let path = &plan.kv_index[b * plan.length..];
            let known = found.cached.paths[b].len();
            let mut digest = 0;
            let mut parent = None;
            for (position, token) in inner(sequence).iter().enumerate() {
                let index = path[position] as usize;
                digest = self.seen.digest(digest, *token);
                if position >= known && self.seen.was_seen(digest) && seen.insert(index) {
                    new.push(NewPrefix {
                        parent,
                        token: *token,
                        index,
                    });
                }
                parent = Some(index);
            }
        }
        new
    }

    /// Stores what was computed for prefixes, as many as there is room for.
    pub(crate) fn store(
        &mut self,
        found: &FoundPrefixes,
        new: &[NewPrefix],
        mut values_of: impl FnMut(usize) -> V,
    ) {
        self.make_room(new.len());
        let mut prefixes: HashMap<usize, PrefixId> =
            found.prefixes.iter().copied().enumerate().collect();
        for prefix in new {
            if self.entries.len() >= self.capacity {
                break;
            }
            let parent = prefix
                .parent
                .map_or(Some(&ROOT), |index| prefixes.get(&index));
            let Some(parent) = parent.copied() else {
                continue;
            };
            self.newest += 1;
            let key = (parent, prefix.token);
            self.children.insert(key, self.newest);
            let entry = Entry {
                key,
                used: self.batch,
                values: values_of(prefix.index),
            };
            self.entries.insert(self.newest, entry);
            prefixes.insert(prefix.index, self.newest);
        }
    }

    /// Evicts the less recently used half if `more` prefixes do not fit, but nothing that this batch has read.
    fn make_room(&mut self, more: usize) {
        if self.entries.len() + more <= self.capacity || self.entries.is_empty() {
            return;
        }
        let mut ages: Vec<u64> = self.entries.values().map(|entry| entry.used).collect();
        let middle = (ages.len() - 1) / 2;
        let oldest_kept = (*ages.select_nth_unstable(middle).1 + 1).min(self.batch);
        let children = &mut self.children;
        self.entries.retain(|_, entry| {
            let keep = entry.used >= oldest_kept;
            if !keep {
                children.remove(&entry.key);
            }
            keep
        });
    }
}

/// All tokens of a sequence but its last.
fn inner(sequence: &[u32]) -> &[u32] {
    &sequence[..sequence.len().saturating_sub(1)]
}

/// Digests of recently seen prefixes. A collision is harmless: it stores a prefix sooner.
#[derive(Debug, Default)]
struct SeenPrefixes {
    hasher: RandomState,
    recent: HashSet<u64>,
    before: HashSet<u64>,
}

/// Digests in each of the two sets: some ten thousand texts, two megabytes.
const RECENT: usize = 1 << 16;

impl SeenPrefixes {
    /// The digest of a prefix, from that of the prefix before.
    fn digest(&self, before: u64, token: u32) -> u64 {
        self.hasher.hash_one((before, token))
    }

    /// Whether the prefix was seen before. From now on it was.
    fn was_seen(&mut self, digest: u64) -> bool {
        if self.recent.contains(&digest) {
            return true;
        }
        if self.recent.len() >= RECENT {
            self.before = std::mem::take(&mut self.recent);
        }
        self.recent.insert(digest);
        self.before.contains(&digest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Stands for the keys and values of a prefix: its tokens.
    type Tokens = Vec<u32>;

    /// Plans a batch with the cache, and stores the prefixes that it selects. The tokens that each index stands for tell
    /// whether the right texts read it. Returns the number of packed tokens.
    fn run(cache: &mut KvCache<Tokens>, sequences: &[&[u32]]) -> usize {
        let found = cache.find(sequences);
        let plan = Plan::with_cached(&found.cached, sequences);
        let mut contents: Vec<Option<Tokens>> = found
            .prefixes
            .iter()
            .map(|prefix| Some(cache.values(*prefix).clone()))
            .collect();
        contents.resize(found.prefixes.len() + plan.packed_tokens(), None);
        for (b, sequence) in sequences.iter().enumerate() {
            for end in 1..=sequence.len() {
                let index = usize::try_from(plan.kv_index[b * plan.length + end - 1]).unwrap();
                let expected = &sequence[..end];
                let stands_for = contents[index].get_or_insert_with(|| expected.to_vec());
                assert_eq!(stands_for, expected);
            }
        }
        let new = cache.select_new(sequences, &found, &plan);
        cache.store(&found, &new, |index| contents[index].clone().unwrap());
        assert!(cache.entries.len() <= cache.capacity);
        assert_eq!(cache.entries.len(), cache.children.len());
        let parents = cache.entries.values().map(|entry| entry.key.0);
        assert!(
            parents
                .filter(|p| *p != ROOT)
                .all(|p| cache.entries.contains_key(&p))
        );
        plan.packed_tokens()
    }

    #[test]
    fn a_prefix_is_stored_when_it_is_seen_again() {
        let mut cache = KvCache::new(10);
        assert_eq!(run(&mut cache, &[&[1, 2, 3, 9]]), 4);
        assert_eq!(run(&mut cache, &[&[1, 2, 4, 9]]), 4);
        // 1 and 2 are known; 5 and 9 are new.
        assert_eq!(run(&mut cache, &[&[1, 2, 5, 9]]), 2);
        // A prefix that is shared within one batch counts as seen before.
        assert_eq!(run(&mut cache, &[&[7, 8, 3, 9], &[7, 8, 4, 9]]), 6);
        assert_eq!(run(&mut cache, &[&[7, 8, 6, 9]]), 2);
    }

    #[test]
    fn the_last_token_is_always_computed() {
        let mut cache = KvCache::new(10);
        for _ in 0..3 {
            run(&mut cache, &[&[1, 2, 3]]);
        }
        assert_eq!(run(&mut cache, &[&[1, 2]]), 1);
        assert_eq!(run(&mut cache, &[&[1, 2], &[1, 2, 3]]), 2);
    }

    #[test]
    fn the_least_recently_used_prefix_is_evicted_first() {
        let mut cache = KvCache::new(4);
        let twice = |cache: &mut KvCache<Tokens>, a, b| {
            run(cache, &[&[a, b, 9], &[a, b, 9]]);
        };
        twice(&mut cache, 1, 2);
        twice(&mut cache, 3, 4);
        assert_eq!(run(&mut cache, &[&[1, 2, 9]]), 1);
        twice(&mut cache, 5, 6);
        assert_eq!(run(&mut cache, &[&[1, 2, 9]]), 1);
        assert_eq!(run(&mut cache, &[&[3, 4, 9]]), 3);
    }

    #[test]
    fn nothing_is_stored_without_room() {
        let mut cache = KvCache::new(0);
        for _ in 0..3 {
            assert_eq!(run(&mut cache, &[&[1, 2, 9]]), 3);
        }
    }

    #[test]
    fn a_prefix_seen_long_ago_counts_as_new() {
        let mut seen = SeenPrefixes::default();
        assert!(!seen.was_seen(1));
        assert!(seen.was_seen(1));
        (2..).take(2 * RECENT).for_each(|digest| {
            seen.was_seen(digest);
        });
        assert!(!seen.was_seen(1));
        assert!(seen.recent.len() <= RECENT && seen.before.len() <= RECENT);
    }

    proptest! {
        #[test]
        fn every_text_reads_the_values_of_its_own_prefixes(
            batches in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(0u32..3, 1..7), 1..6), 1..12),
            capacity in 0usize..20,
        ) {
            let mut cache = KvCache::new(capacity);
            for batch in &batches {
                let sequences: Vec<&[u32]> = batch.iter().map(Vec::as_slice).collect();
                run(&mut cache, &sequences);
            }
        }
    }
}
