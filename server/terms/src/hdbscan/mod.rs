//! HDBSCAN: clusters of varying density, and noise.
//!
//! The algorithm is that of Campello, Moulavi & Sander 2013, "Density-Based Clustering Based on Hierarchical Density Estimates", with the
//! cluster tree of McInnes & Healy 2017, "Accelerated Hierarchical Density Based Clustering":
//!
//! ```text
//! Neighbours ──▶ core distances ──▶ spanning_tree ──▶ linkage ──▶ condensed ──▶ selection ──▶ labels
//!                                   of mutual          merges,      clusters     excess of
//!                                   reachability       sorted       and rows     mass, leaves
//! ```
//!
//! Labels and probabilities agree with `HDBSCAN` of scikit-learn 1.9, with these exceptions:
//!
//! * Edges of equal mutual reachability are frequent, because all edges within a row's core distance have it. They decide which of two
//!   clusters such a row joins. Here the shorter distance decides. In scikit-learn the order of rows decides, so that its result changes
//!   when rows are permuted (an adjusted Rand index of 0.76 to 1 in the data of the tests).
//! * Equal rows never are two clusters. If a cluster has equal rows, the other rows' probabilities are relative to their own highest
//!   density, and not 0.

mod condensed;
mod labels;
mod linkage;
mod selection;
mod spanning_tree;
mod union_find;

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use self::spanning_tree::{Graph, spanning_tree};
use crate::space::Space;
use crate::{Error, Metric, Neighbours, Result};

/// The label of rows that belong to no cluster.
pub const NOISE: i32 = -1;

/// How many neighbours of each row are listed at least. Longer lists resolve more edges of the spanning tree without a search.
const LISTED: usize = 32;
// A map is drawn from the lists of a clustering.
const _: () = assert!(LISTED >= crate::layout::NEIGHBOURS);

/// How rows are clustered.
///
/// ```
/// use lexivec_terms::hdbscan::{NOISE, Options};
/// use ndarray::array;
///
/// let rows = array![[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [0.0, 1.0], [0.1, 1.0], [0.2, 1.0], [-1.0, -1.0]];
/// let options = Options { min_cluster_size: 3, min_samples: Some(2), ..Options::default() };
/// let clustering = options.cluster(rows.view())?;
/// assert_eq!(clustering.labels, [0, 0, 0, 1, 1, 1, NOISE]);
/// # Ok::<(), lexivec_terms::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The smallest group of rows that is a cluster, from 2.
    pub min_cluster_size: usize,
    /// How many rows, the row itself included, lie within a row's core distance: from 1 to the number of rows. Larger numbers declare more
    /// rows noise. `None` is `min_cluster_size`. Memory: 16 bytes for each row and sample, at least 512 bytes for each row.
    pub min_samples: Option<usize>,
    /// The distance.
    pub metric: Metric,
    /// How clusters are chosen from the tree.
    pub selection: Selection,
    /// Clusters that split at a distance below this one stay together (Malzer & Baum 2020, "A Hybrid Approach To Hierarchical
    /// Density-based Cluster Selection"). In units of the metric; 0 has no effect.
    pub epsilon: f64,
    /// Whether all rows may be one cluster. Then a row is noise if it leaves at a distance above `epsilon`, or, if that is 0, before the
    /// first split.
    pub allow_single_cluster: bool,
}

/// How clusters are chosen from the tree of clusters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Selection {
    /// The clusters that persist over the largest range of densities: "excess of mass".
    #[default]
    Eom,
    /// The leaves of the tree: more and smaller clusters.
    Leaf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            min_cluster_size: 5,
            min_samples: None,
            metric: Metric::default(),
            selection: Selection::default(),
            epsilon: 0.0,
            allow_single_cluster: false,
        }
    }
}

/// A label and a probability for each row.
#[derive(Debug, Clone, PartialEq)]
pub struct Clustering {
    /// The cluster of each row: from 0, the largest cluster first, those of equal size by their first row; [`NOISE`] if the row is in no
    /// cluster.
    pub labels: Vec<i32>,
    /// How strongly each row belongs to its cluster, from 0 to 1: the density at which it leaves, relative to the highest density in the
    /// cluster. 0 for noise.
    pub probabilities: Vec<f64>,
    /// How many clusters there are.
    pub clusters: usize,
}

impl Options {
    /// Clusters the rows, `[rows, width]`, by an exact search.
    ///
    /// Work: at least `rows² * width` multiplications, a few times as many where lists of neighbours leave edges open. Memory beside the
    /// rows: the lists of neighbours (see the field `min_samples`), and at most 200 MB for edges between components.
    ///
    /// # Errors
    /// A setting is outside its range, there are fewer than two rows or fewer than `min_samples`, a number is not finite, a row is too
    /// long or (cosine) too short, or there are too many rows.
    pub fn cluster(&self, rows: ArrayView2<'_, f32>) -> Result<Clustering> {
        self.check(rows.nrows())?;
        let neighbours = Neighbours::find(rows, self.listed(rows.nrows()), self.metric)?;
        self.cluster_with(rows, &neighbours)
    }

    /// How many neighbours of each of `rows` rows [`cluster`](Self::cluster) lists.
    #[must_use]
    pub fn listed(&self, rows: usize) -> usize {
        let others = rows.saturating_sub(1);
        LISTED.max(self.min_samples().saturating_sub(1)).min(others)
    }

    /// Clusters rows whose neighbours are known already: at least [`listed`](Self::listed) of each, by the same distance. If these are
    /// those of an approximate search, so are the clusters: rows that are in no list of each other count as far apart.
    ///
    /// # Errors
    /// As [`cluster`](Self::cluster), or the neighbours are those of another number of rows, too few, or of another distance.
    pub fn cluster_with(
        &self,
        rows: ArrayView2<'_, f32>,
        neighbours: &Neighbours,
    ) -> Result<Clustering> {
        self.check(rows.nrows())?;
        neighbours.check(rows.nrows(), self.listed(rows.nrows()), self.metric)?;
        let space = Space::new(rows, self.metric)?;
        let core = core_distances(neighbours, self.min_samples());
        let edges = spanning_tree(&Graph {
            space: &space,
            neighbours,
            core: &core,
        });
        let merges = linkage::linkage(edges, self.metric);
        let tree = condensed::Tree::new(&merges, self.min_cluster_size);
        let selected = selection::select(&tree, self);
        Ok(labels::label(&tree, &selected, self.epsilon))
    }

    fn min_samples(&self) -> usize {
        self.min_samples.unwrap_or(self.min_cluster_size)
    }

    /// Checks the settings for this many rows, before vectors are computed for them.
    ///
    /// # Errors
    /// A setting is outside its range, there are fewer than two rows or fewer than `min_samples`.
    pub fn check(&self, rows: usize) -> Result<()> {
        let min_samples = self.min_samples();
        if self.min_cluster_size < 2 {
            let size = self.min_cluster_size;
            return Err(Error::setting(
                "the smallest cluster size",
                size,
                "at least 2",
            ));
        }
        if min_samples == 0 {
            return Err(Error::setting("the number of samples", 0, "at least 1"));
        }
        if !self.epsilon.is_finite() || self.epsilon < 0.0 {
            let range = "a finite number, at least 0";
            return Err(Error::setting("epsilon", self.epsilon, range));
        }
        let needed = min_samples.max(2);
        if rows < needed {
            return Err(Error::TooFewRows {
                rows: rows as u64,
                needed: needed as u64,
                purpose: "clusters with this many samples (min_samples): ask for fewer",
            });
        }
        Ok(())
    }
}

/// The squared distance of each row to its neighbour number `min_samples`, where the row itself is number 1.
fn core_distances(neighbours: &Neighbours, min_samples: usize) -> Vec<f64> {
    let core = |row| {
        let list = neighbours.squared(row);
        let place = min_samples.checked_sub(2)?;
        // The list of an approximate search may be shorter.
        list.get(place).or(list.last())
    };
    let core = |row| core(row).map_or(0.0, |(squared, _)| *squared);
    (0..neighbours.len()).map(core).collect()
}

#[cfg(test)]
mod tests;
