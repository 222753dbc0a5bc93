//! The condensed tree: only splits into two parts of the smallest cluster size or more make new clusters. Smaller parts leave their cluster.

use std::collections::VecDeque;

use super::linkage::Merge;

/// A cluster of the tree. Densities (λ) are one over a distance.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cluster {
    /// The cluster that it splits from. The root is cluster 0, and its own parent.
    pub(super) parent: usize,
    /// The clusters that it splits into.
    pub(super) children: Option<[usize; 2]>,
    /// The density at which it splits from its parent; 0 for the root.
    pub(super) birth: f64,
    /// The highest density at which rows or a pair of clusters leave it.
    pub(super) death: f64,
    /// The highest finite one of them.
    pub(super) finite_death: f64,
    /// The sum over its rows of the density at which they leave, less that at its birth ("excess of mass").
    pub(super) stability: f64,
}

/// Where a row leaves the tree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Leaving {
    /// The last cluster that the row is in.
    pub(super) cluster: usize,
    /// The density at which it leaves. Infinite if other rows have no distance to it.
    pub(super) density: f64,
}

/// The condensed tree.
#[derive(Debug)]
pub(super) struct Tree {
    /// A parent is before its children.
    pub(super) clusters: Vec<Cluster>,
    pub(super) rows: Vec<Leaving>,
}

impl Tree {
    /// Condenses the single-linkage tree of at least two rows.
    pub(super) fn new(merges: &[Merge], min_cluster_size: usize) -> Self {
        let rows = merges.len() + 1;
        let nowhere = Leaving {
            cluster: 0,
            density: 0.0,
        };
        let mut tree = Self {
            clusters: vec![Cluster::new(0, 0.0)],
            rows: vec![nowhere; rows],
        };
        let merge = |node: u32| {
            (node as usize)
                .checked_sub(rows)
                .map(|index| &merges[index])
        };
        let size = |node: u32| merge(node).map_or(1, |merge| merge.size as usize);
        let mut waiting = VecDeque::from([((rows + merges.len() - 1) as u32, 0)]);
        while let Some((node, cluster)) = waiting.pop_front() {
            let Some(Merge {
                children, distance, ..
            }) = merge(node)
            else {
                continue;
            };
            let density = 1.0 / distance;
            let is_large = children.map(|child| size(child) >= min_cluster_size);
            // Rows without distance between them are not two clusters.
            if is_large == [true, true] && *distance > 0.0 {
                let parts = tree.split(cluster, density, children.map(size));
                waiting.extend(children.iter().copied().zip(parts));
                continue;
            }
            for (child, is_large) in children.iter().zip(is_large) {
                if is_large {
                    waiting.push_back((*child, cluster));
                } else {
                    tree.leave(*child, merge, Leaving { cluster, density });
                }
            }
        }
        tree
    }

    /// Splits a cluster into two of these sizes.
    fn split(&mut self, parent: usize, density: f64, sizes: [usize; 2]) -> [usize; 2] {
        let next = self.clusters.len();
        self.clusters[parent].children = Some([next, next + 1]);
        for size in sizes {
            self.clusters[parent].lose(size, density);
            self.clusters.push(Cluster::new(parent, density));
        }
        [next, next + 1]
    }

    /// Lets all rows below a node leave.
    fn leave<'a>(&mut self, node: u32, merge: impl Fn(u32) -> Option<&'a Merge>, leaving: Leaving) {
        let mut nodes = vec![node];
        while let Some(node) = nodes.pop() {
            match merge(node) {
                Some(merge) => nodes.extend(merge.children),
                None => {
                    self.rows[node as usize] = leaving;
                    self.clusters[leaving.cluster].lose(1, leaving.density);
                }
            }
        }
    }
}

impl Cluster {
    fn new(parent: usize, birth: f64) -> Self {
        Self {
            parent,
            children: None,
            birth,
            death: 0.0,
            finite_death: 0.0,
            stability: 0.0,
        }
    }

    /// Counts rows that leave.
    fn lose(&mut self, rows: usize, density: f64) {
        self.stability += (density - self.birth) * rows as f64;
        self.death = self.death.max(density);
        if density.is_finite() {
            self.finite_death = self.finite_death.max(density);
        }
    }
}
