//! Disjoint sets.

/// Sets of numbers, each with a representative.
#[derive(Debug)]
pub(super) struct UnionFind {
    parents: Vec<u32>,
    sizes: Vec<u32>,
    sets: usize,
}

impl UnionFind {
    /// Starts with a set for each number below `count`.
    pub(super) fn new(count: usize) -> Self {
        Self {
            parents: (0..count as u32).collect(),
            sizes: vec![1; count],
            sets: count,
        }
    }

    /// How many sets there are.
    pub(super) fn sets(&self) -> usize {
        self.sets
    }

    /// The representative of the number's set.
    pub(super) fn find(&mut self, mut number: u32) -> u32 {
        while self.parents[number as usize] != number {
            let above = self.parents[self.parents[number as usize] as usize];
            self.parents[number as usize] = above;
            number = above;
        }
        number
    }

    /// How many numbers are in the set of this representative.
    pub(super) fn size(&self, representative: u32) -> u32 {
        self.sizes[representative as usize]
    }

    /// Joins two sets, and returns the representative of the new one. `None` if they are the same set.
    pub(super) fn join(&mut self, a: u32, b: u32) -> Option<u32> {
        let (a, b) = (self.find(a), self.find(b));
        if a == b {
            return None;
        }
        let (large, small) = match self.size(a) >= self.size(b) {
            true => (a, b),
            false => (b, a),
        };
        self.parents[small as usize] = large;
        self.sizes[large as usize] += self.sizes[small as usize];
        self.sets -= 1;
        Some(large)
    }
}
