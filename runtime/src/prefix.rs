//! A KV cache for prompt prefixes that texts share, so that they are not computed again in every batch.
//!
//! Thousands of queries begin with one instruction, and many terms begin alike. Cached prefixes form a trie. A batch
//! reads those that its texts begin with. A computed prefix is stored when it is seen for the second time. The least
//! recently used prefixes are evicted first. This module is pure.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use crate::plan::{Cached, Plan};

/// The number of a cached prefix. Numbers are never reused.
pub(crate) type Node = u64;

/// The empty prefix.
const ROOT: Node = 0;

/// Cached prefixes, each with the keys and values of its last token.
#[derive(Debug)]
pub(crate) struct PrefixCache<R> {
    children: HashMap<(Node, u32), Node>,
    entries: HashMap<Node, Entry<R>>,
    met: Met,
    /// Maximum number of cached prefixes.
    capacity: usize,
    /// Number of batches so far.
    batch: u64,
    newest: Node,
}

#[derive(Debug)]
struct Entry<R> {
    /// Its key in `children`.
    key: (Node, u32),
    /// The batch that read it last. A read includes all shorter prefixes, so none of those is older.
    used: u64,
    row: R,
}

/// The cached prefixes of a batch's texts.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) cached: Cached,
    /// `[P]` the prefix of each cached token.
    pub(crate) nodes: Vec<Node>,
}

/// A prefix to store. Indices are those of [`Plan::kv_index`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The index of the token before; `None` at the beginning of a text.
    parent: Option<usize>,
    token: u32,
    row: usize,
}

impl<R> PrefixCache<R> {
    /// A cache of at most this many prefixes; 0 disables it.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            children: HashMap::new(),
            entries: HashMap::new(),
            met: Met::default(),
            capacity,
            batch: 0,
            newest: ROOT,
        }
    }

    /// The keys and values of a prefix that was found in this batch.
    ///
    /// # Panics
    /// If it was evicted since.
    pub(crate) fn row(&self, node: Node) -> &R {
        &self.entries[&node].row
    }

    /// Finds the longest cached prefix of each sequence. The last token is never part of it, because its state is
    /// needed.
    pub(crate) fn find(&mut self, sequences: &[&[u32]]) -> Found {
        self.batch += 1;
        let mut found = Found::default();
        let mut rows = HashMap::new();
        for sequence in sequences {
            let mut path = Vec::new();
            let mut node = ROOT;
            for token in inner(sequence) {
                let Some(child) = self.children.get(&(node, *token)) else {
                    break;
                };
                node = *child;
                path.push(*rows.entry(node).or_insert_with(|| {
                    if let Some(entry) = self.entries.get_mut(&node) {
                        entry.used = self.batch;
                    }
                    found.nodes.push(node);
                    found.nodes.len() - 1
                }));
            }
            found.cached.paths.push(path);
        }
        found.cached.rows = found.nodes.len();
        found
    }

    /// Selects the prefixes to store of a batch that is about to be computed: those that were seen before, in this
    /// batch or an earlier one. Selects none if the batch has more tokens than the capacity, because storing one keeps
    /// the outputs of all in memory.
    pub(crate) fn wanted(
        &mut self,
        sequences: &[&[u32]],
        found: &Found,
        plan: &Plan,
    ) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        if found.cached.rows + plan.rows() > self.capacity {
            return wanted;
        }
        let mut seen = HashSet::new();
        for (b, sequence) in sequences.iter().enumerate() {
            let path = &plan.kv_index[b * plan.length..];
            let known = found.cached.paths[b].len();
            let mut digest = 0;
            let mut parent = None;
            for (position, token) in inner(sequence).iter().enumerate() {
                let row = path[position] as usize;
                digest = self.met.digest(digest, *token);
                if position >= known && self.met.again(digest) && seen.insert(row) {
                    wanted.push(Wanted {
                        parent,
                        token: *token,
                        row,
                    });
                }
                parent = Some(row);
            }
        }
        wanted
    }

    /// Stores what was computed for prefixes, as many as there is room for.
    pub(crate) fn keep(
        &mut self,
        found: &Found,
        wanted: &[Wanted],
        mut row_of: impl FnMut(usize) -> R,
    ) {
        self.make_room(wanted.len());
        let mut nodes: HashMap<usize, Node> = found.nodes.iter().copied().enumerate().collect();
        for prefix in wanted {
            if self.entries.len() >= self.capacity {
                break;
            }
            let parent = prefix.parent.map_or(Some(&ROOT), |row| nodes.get(&row));
            let Some(parent) = parent.copied() else {
                continue;
            };
            self.newest += 1;
            let key = (parent, prefix.token);
            self.children.insert(key, self.newest);
            let entry = Entry {
                key,
                used: self.batch,
                row: row_of(prefix.row),
            };
            self.entries.insert(self.newest, entry);
            nodes.insert(prefix.row, self.newest);
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
struct Met {
    hasher: RandomState,
    recent: HashSet<u64>,
    before: HashSet<u64>,
}

/// Digests in each of the two sets: some ten thousand texts, two megabytes.
const RECENT: usize = 1 << 16;

impl Met {
    /// The digest of a prefix, from that of the prefix before.
    fn digest(&self, before: u64, token: u32) -> u64 {
        self.hasher.hash_one((before, token))
    }

    /// Whether the prefix was seen before. From now on it was.
    fn again(&mut self, digest: u64) -> bool {
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

    /// Plans a batch over what is kept, and keeps what it wants of it: the tokens that each row stands for tell whether
    /// it is read by the right texts. Returns the rows computed.
    fn run(cache: &mut PrefixCache<Tokens>, sequences: &[&[u32]]) -> usize {
        let found = cache.find(sequences);
        let plan = Plan::behind(&found.cached, sequences);
        let mut rows: Vec<Option<Tokens>> = found
            .nodes
            .iter()
            .map(|node| Some(cache.row(*node).clone()))
            .collect();
        rows.resize(found.nodes.len() + plan.rows(), None);
        for (b, sequence) in sequences.iter().enumerate() {
            for end in 1..=sequence.len() {
                let row = usize::try_from(plan.kv_index[b * plan.length + end - 1]).unwrap();
                let expected = &sequence[..end];
                let stands_for = rows[row].get_or_insert_with(|| expected.to_vec());
                assert_eq!(stands_for, expected);
            }
        }
        let wanted = cache.wanted(sequences, &found, &plan);
        cache.keep(&found, &wanted, |row| rows[row].clone().unwrap());
        assert!(cache.entries.len() <= cache.capacity);
        assert_eq!(cache.entries.len(), cache.children.len());
        let parents = cache.entries.values().map(|entry| entry.key.0);
        assert!(
            parents
                .filter(|p| *p != ROOT)
                .all(|p| cache.entries.contains_key(&p))
        );
        plan.rows()
    }

    #[test]
    fn a_prefix_is_kept_when_it_is_met_again() {
        let mut cache = PrefixCache::new(10);
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
        let mut cache = PrefixCache::new(10);
        for _ in 0..3 {
            run(&mut cache, &[&[1, 2, 3]]);
        }
        assert_eq!(run(&mut cache, &[&[1, 2]]), 1);
        assert_eq!(run(&mut cache, &[&[1, 2], &[1, 2, 3]]), 2);
    }

    #[test]
    fn what_was_not_read_for_longest_is_forgotten_first() {
        let mut cache = PrefixCache::new(4);
        let twice = |cache: &mut PrefixCache<Tokens>, a, b| {
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
    fn nothing_is_kept_without_room() {
        let mut cache = PrefixCache::new(0);
        for _ in 0..3 {
            assert_eq!(run(&mut cache, &[&[1, 2, 9]]), 3);
        }
    }

    #[test]
    fn what_was_met_long_ago_is_new_again() {
        let mut met = Met::default();
        assert!(!met.again(1));
        assert!(met.again(1));
        (2..).take(2 * RECENT).for_each(|digest| {
            met.again(digest);
        });
        assert!(!met.again(1));
        assert!(met.recent.len() <= RECENT && met.before.len() <= RECENT);
    }

    proptest! {
        #[test]
        fn every_text_reads_the_rows_of_its_own_prefixes(
            batches in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(0u32..3, 1..7), 1..6), 1..12),
            capacity in 0usize..20,
        ) {
            let mut cache = PrefixCache::new(capacity);
            for batch in &batches {
                let sequences: Vec<&[u32]> = batch.iter().map(Vec::as_slice).collect();
                run(&mut cache, &sequences);
            }
        }
    }
}
