//! Which clusters of the tree become the result.

use super::condensed::Tree;
use super::{Options, Selection};

/// Returns the chosen clusters in ascending order. None is below another one.
pub(super) fn select(tree: &Tree, options: &Options) -> Vec<usize> {
    let selected = match options.selection {
        Selection::Eom => excess_of_mass(tree, options.allow_single_cluster),
        Selection::Leaf => leaves(tree),
    };
    if options.epsilon == 0.0 || selected == [0] {
        return selected;
    }
    let mut raised: Vec<usize> = selected
        .into_iter()
        .map(|cluster| raise(tree, cluster, options))
        .collect();
    raised.sort_unstable();
    raised.dedup();
    topmost(tree, |cluster| raised.binary_search(&cluster).is_ok())
}

/// The clusters that are at least as stable as the most stable ones below them together (Campello et al. 2013, section 5).
fn excess_of_mass(tree: &Tree, allow_root: bool) -> Vec<usize> {
    let mut best: Vec<f64> = tree.clusters.iter().map(|c| c.stability).collect();
    let mut is_best = vec![true; best.len()];
    for (cluster, node) in tree.clusters.iter().enumerate().rev() {
        let below: f64 = node.children.iter().flatten().map(|c| best[*c]).sum();
        if below > best[cluster] {
            is_best[cluster] = false;
            best[cluster] = below;
        }
    }
    is_best[0] &= allow_root;
    topmost(tree, |cluster| is_best[cluster])
}

/// The clusters that do not split. The root is none.
fn leaves(tree: &Tree) -> Vec<usize> {
    let clusters = tree.clusters.iter().enumerate().skip(1);
    let leaves = clusters.filter(|(_, cluster)| cluster.children.is_none());
    leaves.map(|(index, _)| index).collect()
}

/// The accepted clusters that are below no accepted one.
fn topmost(tree: &Tree, accepted: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut is_below = vec![false; tree.clusters.len()];
    let mut found = Vec::new();
    for (index, cluster) in tree.clusters.iter().enumerate() {
        if is_below[index] || accepted(index) {
            if !is_below[index] {
                found.push(index);
            }
            for child in cluster.children.iter().flatten() {
                is_below[*child] = true;
            }
        }
    }
    found
}

/// The nearest cluster above, or this one, that splits from its parent at a distance above epsilon. Without one, it is the root, or the
/// cluster below the root if the root is not allowed.
fn raise(tree: &Tree, mut cluster: usize, options: &Options) -> usize {
    let splits_at = |cluster: usize| 1.0 / tree.clusters[cluster].birth;
    if splits_at(cluster) >= options.epsilon {
        return cluster;
    }
    loop {
        let parent = tree.clusters[cluster].parent;
        if parent == 0 {
            return if options.allow_single_cluster {
                0
            } else {
                cluster
            };
        }
        if splits_at(parent) > options.epsilon {
            return parent;
        }
        cluster = parent;
    }
}
