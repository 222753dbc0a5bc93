//! Principal components, projection, clusters and map of vectors from a file.

use anyhow::ensure;
use lexivec_terms::clusters::{Cluster, describe};
use lexivec_terms::hdbscan::{Clustering, Options};
use lexivec_terms::pca::{Components, Moments, Pca};
use lexivec_terms::{Neighbours, Projection, Search, layout, normalise};
use ndarray::{Array2, s};
use serde::Serialize;

use super::Vectors;

/// How many near clusters of each cluster are listed.
const NEAR: usize = 5;
/// How many terms the trustworthiness of a map is estimated from.
const TRUST_SAMPLE: usize = 300;
/// How many terms the recall of an approximate search is measured on.
const RECALL_SAMPLE: usize = 1000;

/// How vectors are reduced, clustered and placed.
#[derive(Debug)]
pub(crate) struct Settings {
    /// How many principal components are kept.
    pub(crate) components: Components,
    /// The digest of the vectors' model, if it is known.
    pub(crate) model: Option<String>,
    pub(crate) search: Search,
    pub(crate) clusters: Options,
    pub(crate) map: MapKind,
    /// The seed of the map.
    pub(crate) seed: u64,
}

/// How terms get their places on the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MapKind {
    /// Each term is near its nearest neighbours, by a method like UMAP
    Neighbours,
    /// The first two principal components
    Pca,
    /// No map
    None,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Analysis {
    pub(crate) pca: Pca,
    pub(crate) projection: Projection,
    pub(crate) search: SearchSummary,
    pub(crate) map: Option<Map>,
    pub(crate) clustering: Clustering,
    pub(crate) clusters: Vec<Cluster>,
}

/// How neighbours were searched.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct SearchSummary {
    pub(crate) kind: Search,
    /// The share of the nearest neighbours that were found: 1 for an exact search, else measured on some terms.
    pub(crate) recall: f64,
}

/// A place for each term.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) kind: MapKind,
    pub(crate) places: Array2<f32>,
    /// How far its neighbours can be trusted, by [`layout::trustworthiness`]. `None` if there are too few terms.
    pub(crate) trust: Option<Trust>,
}

/// The trustworthiness of a map.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Trust {
    /// Neighbours of each term that are compared.
    pub(crate) neighbours: usize,
    pub(crate) trustworthiness: f64,
}

/// Analyses all vectors. `stage` is told what happens.
///
/// # Errors
/// The file cannot be read, or the vectors or settings make no analysis possible.
pub(crate) fn analyse(
    vectors: &Vectors,
    settings: &Settings,
    mut stage: impl FnMut(&str),
) -> anyhow::Result<Analysis> {
    stage("principal components");
    let mut moments = Moments::new(vectors.width())?;
    vectors.for_each_block(|_, block| Ok(moments.push(block)?))?;
    let pca = moments.decompose()?;
    let projection = pca.projection(settings.components, settings.model.clone())?;

    stage("projection");
    let mut reduced = Array2::zeros((vectors.rows(), projection.output_width()));
    vectors.for_each_block(|first, block| {
        let coordinates = projection.coordinates(block)?;
        let rows = first..first + coordinates.nrows();
        reduced.slice_mut(s![rows, ..]).assign(&coordinates);
        Ok(())
    })?;
    let plane = plane(&reduced);
    normalise(&mut reduced)?;

    stage("neighbours");
    let options = &settings.clusters;
    // The map needs no more neighbours than a clustering lists.
    let listed = options.listed(reduced.nrows());
    let neighbours = Neighbours::find_by(settings.search, reduced.view(), listed, options.metric)?;
    let search = SearchSummary {
        kind: settings.search,
        recall: match settings.search {
            Search::Exact => 1.0,
            Search::Approximate => neighbours.recall(reduced.view(), RECALL_SAMPLE)?,
        },
    };
    stage("clusters");
    let clustering = options.cluster_with(reduced.view(), &neighbours)?;
    ensure!(
        clustering.labels.len() == reduced.nrows(),
        "the clustering lost rows"
    );
    let clusters = describe(reduced.view(), &clustering, NEAR)?;

    stage("map");
    let places = match settings.map {
        MapKind::Neighbours => Some(layout::place(&neighbours, plane.view(), settings.seed)?),
        MapKind::Pca => Some(plane),
        MapKind::None => None,
    };
    drop(neighbours);
    let map = places.map(|places| -> anyhow::Result<Map> {
        Ok(Map {
            kind: settings.map,
            trust: trust(&reduced, options, &places)?,
            places,
        })
    });
    Ok(Analysis {
        pca,
        projection,
        search,
        map: map.transpose()?,
        clustering,
        clusters,
    })
}

/// The first two coordinates of each row. The second one is 0 if there is one component.
fn plane(coordinates: &Array2<f32>) -> Array2<f32> {
    let mut plane = Array2::zeros((coordinates.nrows(), 2));
    let axes = coordinates.ncols().min(2);
    plane
        .slice_mut(s![.., ..axes])
        .assign(&coordinates.slice(s![.., ..axes]));
    plane
}

fn trust(
    reduced: &Array2<f32>,
    options: &Options,
    places: &Array2<f32>,
) -> anyhow::Result<Option<Trust>> {
    let half = reduced.nrows().div_ceil(2);
    let neighbours = layout::NEIGHBOURS.min(half.saturating_sub(1));
    if neighbours == 0 {
        return Ok(None);
    }
    let trustworthiness = layout::trustworthiness(
        reduced.view(),
        options.metric,
        places.view(),
        neighbours,
        TRUST_SAMPLE,
    )?;
    Ok(Some(Trust {
        neighbours,
        trustworthiness,
    }))
}
