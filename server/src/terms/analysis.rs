//! Principal components, projection and clusters of vectors from a file.

use anyhow::ensure;
use lexivec_terms::clusters::{Cluster, describe};
use lexivec_terms::hdbscan::{Clustering, Options};
use lexivec_terms::pca::{Components, Moments, Pca};
use lexivec_terms::{Projection, normalise};
use ndarray::{Array2, s};

use super::Npy;

/// How many near clusters of each cluster are listed.
const NEAR: usize = 5;

/// How vectors are reduced.
#[derive(Debug)]
pub(crate) struct Reduction {
    /// How many principal components are kept.
    pub(crate) components: Components,
    /// The digest of the vectors' model, if it is known.
    pub(crate) model: Option<String>,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Analysis {
    pub(crate) pca: Pca,
    pub(crate) projection: Projection,
    /// The first two coordinates of each row, for a map. The second one is 0 if there is one component.
    pub(crate) map: Vec<[f32; 2]>,
    pub(crate) clustering: Clustering,
    pub(crate) clusters: Vec<Cluster>,
}

/// Analyses all vectors. `stage` is told what happens.
///
/// # Errors
/// The file cannot be read, or the vectors or settings make no analysis possible.
pub(crate) fn analyse(
    vectors: &Npy,
    reduction: &Reduction,
    options: &Options,
    mut stage: impl FnMut(&str),
) -> anyhow::Result<Analysis> {
    stage("principal components");
    let mut moments = Moments::new(vectors.width())?;
    vectors.for_each_block(|_, block| Ok(moments.push(block)?))?;
    let pca = moments.decompose()?;
    let projection = pca.projection(reduction.components, reduction.model.clone())?;

    stage("projection");
    let mut reduced = Array2::zeros((vectors.rows(), projection.output_width()));
    vectors.for_each_block(|first, block| {
        let coordinates = projection.coordinates(block)?;
        let rows = first..first + coordinates.nrows();
        reduced.slice_mut(s![rows, ..]).assign(&coordinates);
        Ok(())
    })?;
    let second = |row: usize| reduced.get([row, 1]).copied().unwrap_or_default();
    let map = (0..reduced.nrows()).map(|row| [reduced[[row, 0]], second(row)]);
    let map: Vec<[f32; 2]> = map.collect();
    normalise(&mut reduced)?;

    stage("clusters");
    let clustering = options.cluster(reduced.view())?;
    ensure!(
        clustering.labels.len() == map.len(),
        "the clustering lost rows"
    );
    let clusters = describe(reduced.view(), &clustering, NEAR)?;
    Ok(Analysis {
        pca,
        projection,
        map,
        clustering,
        clusters,
    })
}
