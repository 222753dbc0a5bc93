//! Flags of the analysis of terms.

use lexivec_terms::hdbscan::{Options, Selection};
use lexivec_terms::pca::Components;
use lexivec_terms::{Metric, Search, pairs};

use crate::terms::{MapKind, Settings};

/// The flags of principal components and HDBSCAN.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Analysis")]
pub(super) struct AnalysisArgs {
    /// Principal components that are kept
    #[arg(
        long,
        env = "LEXIVEC_TERMS_PCA",
        value_name = "N",
        conflicts_with = "variance"
    )]
    pca: Option<usize>,

    /// Keep as few principal components as explain more than this share of the variance. Default: 0.95, unless --pca is given
    #[arg(long, env = "LEXIVEC_TERMS_VARIANCE", value_name = "SHARE")]
    variance: Option<f64>,

    /// Smallest group of terms that is a cluster
    #[arg(long, env = "LEXIVEC_TERMS_MIN_CLUSTER_SIZE", value_name = "N", default_value_t = Options::default().min_cluster_size)]
    min_cluster_size: usize,

    /// Terms within a term's core distance, itself included. With a larger number, more terms count as noise. Default: --min-cluster-size
    #[arg(long, env = "LEXIVEC_TERMS_MIN_SAMPLES", value_name = "N")]
    min_samples: Option<usize>,

    /// Distance between reduced vectors
    #[arg(long, env = "LEXIVEC_TERMS_METRIC", value_name = "cosine|euclidean", default_value = "cosine", value_parser = metric)]
    metric: Metric,

    /// How clusters are chosen from the tree of clusters: eom keeps those that persist longest, leaf the smallest ones
    #[arg(long, env = "LEXIVEC_TERMS_SELECTION", value_name = "eom|leaf", default_value = "eom", value_parser = selection)]
    selection: Selection,

    /// Clusters that split at a distance below this one stay together, in units of --metric
    #[arg(
        long,
        env = "LEXIVEC_TERMS_EPSILON",
        value_name = "DISTANCE",
        default_value_t = 0.0
    )]
    epsilon: f64,

    /// Allow one cluster of all terms
    #[arg(long, env = "LEXIVEC_TERMS_ALLOW_SINGLE_CLUSTER")]
    allow_single_cluster: bool,

    /// How near terms are found: exact compares all pairs of terms, approximate those of blocks that are near, and measures what that misses.
    /// Default: exact for up to 200,000 terms
    #[arg(long, env = "LEXIVEC_TERMS_SEARCH", value_name = "exact|approximate", value_parser = search)]
    search: Option<Search>,

    /// How the map is drawn: neighbours keeps each term near its nearest neighbours, as UMAP does; pca shows the first two principal
    /// components; none draws no map
    #[arg(long, env = "LEXIVEC_TERMS_MAP", value_name = "neighbours|pca|none", value_enum, default_value_t = MapKind::Neighbours, hide_possible_values = true)]
    map: MapKind,

    /// Seed of the map. The same vectors, settings and seed give the same map
    #[arg(long, env = "LEXIVEC_SEED", value_name = "N", default_value_t = 1)]
    seed: u64,
}

fn metric(name: &str) -> Result<Metric, String> {
    match name {
        "cosine" => Ok(Metric::Cosine),
        "euclidean" => Ok(Metric::Euclidean),
        _ => Err("the distances are cosine and euclidean".to_owned()),
    }
}

fn selection(name: &str) -> Result<Selection, String> {
    match name {
        "eom" => Ok(Selection::Eom),
        "leaf" => Ok(Selection::Leaf),
        _ => Err("the selections are eom and leaf".to_owned()),
    }
}

fn search(name: &str) -> Result<Search, String> {
    match name {
        "exact" => Ok(Search::Exact),
        "approximate" => Ok(Search::Approximate),
        _ => Err("the searches are exact and approximate".to_owned()),
    }
}

impl AnalysisArgs {
    pub(super) fn components(&self) -> Components {
        match self.pca {
            Some(count) => Components::Count(count),
            None => Components::Variance(self.variance.unwrap_or(0.95)),
        }
    }

    /// The search among this many terms.
    pub(super) fn search(&self, terms: usize) -> Search {
        self.search.unwrap_or_else(|| Search::for_rows(terms))
    }

    pub(super) fn settings(&self, model: Option<String>, terms: usize) -> Settings {
        Settings {
            components: self.components(),
            model,
            search: self.search(terms),
            clusters: self.clusters(),
            map: self.map,
            seed: self.seed,
        }
    }

    pub(super) fn clusters(&self) -> Options {
        Options {
            min_cluster_size: self.min_cluster_size,
            min_samples: self.min_samples,
            metric: self.metric,
            selection: self.selection,
            epsilon: self.epsilon,
            allow_single_cluster: self.allow_single_cluster,
        }
    }

    pub(super) fn map(&self) -> MapKind {
        self.map
    }

    /// The settings, for readers of the report.
    pub(super) fn described(&self, terms: usize) -> Vec<(&'static str, String)> {
        let samples = self.min_samples.unwrap_or(self.min_cluster_size);
        let components = match self.components() {
            Components::Count(count) => count.to_string(),
            Components::Variance(share) => format!("{share} of the variance"),
        };
        let lowercase = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
        vec![
            ("principal components", components),
            ("search", lowercase(&self.search(terms))),
            ("smallest cluster", self.min_cluster_size.to_string()),
            ("samples", samples.to_string()),
            ("distance", lowercase(&self.metric)),
            ("selection", lowercase(&self.selection)),
            ("epsilon", self.epsilon.to_string()),
            ("map", lowercase(&self.map)),
            ("seed", self.seed.to_string()),
        ]
    }
}

/// The flags of similar terms.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Duplicates and translations")]
pub(super) struct PairArgs {
    /// Write pairs.csv: the pairs of terms whose vectors have at least this cosine, the most similar first. They are
    /// candidates: a pair counts as a translation if the languages differ, else as a duplicate. Lower the cosine to find more translations,
    /// whose vectors are less alike than those of duplicates. Memory then holds all vectors, which are compared before they are reduced
    #[arg(
        long,
        env = "LEXIVEC_TERMS_PAIRS",
        value_name = "COSINE",
        allow_negative_numbers = true
    )]
    pairs: Option<f64>,

    /// Most partners that --pairs keeps for each term: N duplicates and N translations
    #[arg(
        long,
        env = "LEXIVEC_TERMS_PAIRS_PER_TERM",
        value_name = "N",
        default_value_t = 10,
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    pairs_per_term: u16,
}

impl PairArgs {
    /// How pairs are searched, if they are.
    ///
    /// # Errors
    /// A setting is outside its range.
    pub(super) fn options(&self, search: Search) -> lexivec_terms::Result<Option<pairs::Options>> {
        let Some(least_similarity) = self.pairs else {
            return Ok(None);
        };
        let options = pairs::Options {
            least_similarity,
            most_per_term: self.pairs_per_term.into(),
            search,
        };
        options.check()?;
        Ok(Some(options))
    }
}
