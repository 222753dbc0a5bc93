//! The summary of an analysis, for the terminal, for programs, and for the report.

use lexivec_terms::Search;
use lexivec_terms::agreement::{adjusted_rand, purity};
use lexivec_terms::hdbscan::NOISE;
use serde::Serialize;

use super::analysis::{MapKind, SearchSummary, Trust};
use super::pairs::PairCounts;
use super::{Analysis, Pairs, Terms};

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    terms: usize,
    dimensions: usize,
    /// Principal components that were kept, and the share of the variance that they explain.
    components: usize,
    explained_variance: f64,
    /// How many components explain 90, 95 and 99 % of the variance.
    components_for: [Needed; 3],
    /// How neighbours were searched.
    search: SearchSummary,
    clusters: usize,
    noise: usize,
    /// The map, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    map: Option<MapSummary>,
    /// Agreement of clusters with the column of domains, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    domains: Option<Agreement>,
    /// Pairs of similar terms, if they were searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pairs: Option<PairCounts>,
    largest: Vec<Largest>,
}

/// How many components explain a share of the variance.
#[derive(Debug, Serialize)]
struct Needed {
    share: f64,
    components: usize,
}

#[derive(Debug, Serialize)]
struct Agreement {
    /// Among clustered terms that have a domain.
    purity: Option<f64>,
    /// Among all terms that have a domain. Noise is one group.
    adjusted_rand: f64,
}

#[derive(Debug, Serialize)]
struct MapSummary {
    kind: MapKind,
    #[serde(flatten)]
    trust: Option<Trust>,
}

#[derive(Debug, Serialize)]
struct Largest {
    cluster: usize,
    label: String,
    size: usize,
}

impl Summary {
    /// Summarises an analysis, with the first few clusters, which are the largest.
    pub(crate) fn new(
        terms: &Terms,
        analysis: &Analysis,
        pairs: Option<&Pairs>,
    ) -> anyhow::Result<Self> {
        let labels = &analysis.clustering.labels;
        let shares = [0.9, 0.95, 0.99];
        let domains = terms.domains();
        let known = domains.iter().zip(labels);
        let (domains, of_domains): (Vec<&str>, Vec<i32>) = known
            .filter_map(|(domain, label)| Some(((*domain)?, *label)))
            .unzip();
        Ok(Self {
            terms: labels.len(),
            dimensions: analysis.projection.input_width(),
            components: analysis.projection.output_width(),
            explained_variance: analysis.projection.explained_share(),
            components_for: shares.map(|share| Needed {
                share,
                components: analysis.pca.components_for(share),
            }),
            search: analysis.search,
            clusters: analysis.clustering.clusters,
            noise: labels.iter().filter(|label| **label == NOISE).count(),
            map: analysis.map.as_ref().map(|map| MapSummary {
                kind: map.kind,
                trust: map.trust,
            }),
            domains: match domains.is_empty() {
                true => None,
                false => Some(Agreement {
                    purity: purity(&of_domains, &domains)?,
                    adjusted_rand: adjusted_rand(&of_domains, &domains)?,
                }),
            },
            pairs: pairs.map(Pairs::counts),
            largest: analysis
                .clusters
                .iter()
                .take(20)
                .map(|cluster| Largest {
                    cluster: cluster.cluster,
                    label: terms.term(cluster.medoid).to_owned(),
                    size: cluster.size,
                })
                .collect(),
        })
    }

    /// The summary as text, a few lines.
    pub(crate) fn to_text(&self) -> String {
        let share = 100.0 * self.explained_variance;
        let mut text = format!(
            "{} terms: {} clusters, {} terms in none\n{} of {} dimensions kept, {share:.1} % of the variance",
            self.terms, self.clusters, self.noise, self.components, self.dimensions
        );
        if self.search.kind == Search::Approximate {
            text += &format!(
                "\napproximate search: {:.1} % of the nearest terms found",
                100.0 * self.search.recall
            );
        }
        if let Some(trust) = self.map.as_ref().and_then(|map| map.trust) {
            let share = 100.0 * trust.trustworthiness;
            text += &format!(
                "\nmap: {share:.1} % trustworthy for {} neighbours",
                trust.neighbours
            );
        }
        if let Some(domains) = &self.domains {
            let purity = domains
                .purity
                .map_or(String::new(), |purity| format!("purity {purity:.3}, "));
            text += &format!(
                "\ndomains: {purity}adjusted Rand index {:.3}",
                domains.adjusted_rand
            );
        }
        if let Some(pairs) = self.pairs {
            text += &format!(
                "\npairs: {} duplicates, {} translations",
                pairs.duplicates, pairs.translations
            );
            if self.search.kind == Search::Approximate {
                text += &format!(", {:.1} % of all", 100.0 * pairs.recall);
            }
        }
        for cluster in &self.largest {
            text += &format!(
                "\n{:>6}  {:>6} terms  {}",
                cluster.cluster, cluster.size, cluster.label
            );
        }
        text
    }
}
