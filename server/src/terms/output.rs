//! The files of an analysis, in one folder, and its summary.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lexivec_terms::agreement::{adjusted_rand, purity};
use lexivec_terms::clusters::counts;
use lexivec_terms::hdbscan::NOISE;
use serde::Serialize;

use super::{Analysis, Terms};
use crate::embed::Partial;
use crate::paths::check_output;

const TERMS: &str = "terms.csv";
const CLUSTERS: &str = "clusters.csv";
const PROJECTION: &str = "projection.safetensors";

/// How many values of a column, such as languages, a row of clusters.csv lists.
const MOST_VALUES: usize = 10;

/// The folder that an analysis writes.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Creates the folder if it does not exist. `vectors` are those that are not computed.
    ///
    /// # Errors
    /// It cannot be created, or an input is one of the files that would be written.
    pub(crate) fn create(
        path: &Path,
        terms: &Path,
        vectors: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let folder = Self(path.to_owned());
        let inputs = || std::iter::once(terms).chain(vectors);
        for name in [TERMS, CLUSTERS, PROJECTION] {
            check_output(&folder.0.join(name), inputs())?;
        }
        if vectors.is_none() {
            check_output(&folder.vectors(), inputs())?;
        }
        fs_err::create_dir_all(path)?;
        Ok(folder)
    }

    /// The file of vectors.
    pub(crate) fn vectors(&self) -> PathBuf {
        self.0.join("vectors.npy")
    }

    /// Writes `terms.csv`, `clusters.csv` and `projection.safetensors`. Each file appears when it is complete.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn write(&self, terms: &Terms, analysis: &Analysis) -> anyhow::Result<()> {
        self.table(TERMS, |table| write_terms(table, terms, analysis))?;
        self.table(CLUSTERS, |table| write_clusters(table, terms, analysis))?;
        let projection = self.0.join(PROJECTION);
        Ok(analysis.projection.save(&projection)?)
    }

    /// Writes a table as `lexivec embed` writes vectors: the file appears when it is complete.
    fn table(
        &self,
        name: &str,
        write: impl FnOnce(&mut csv::Writer<&mut Partial>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let path = self.0.join(name);
        let mut file = Partial::create(&path)?;
        let mut table = csv::Writer::from_writer(&mut file);
        write(&mut table)
            .and_then(|()| Ok(table.flush()?))
            .with_context(|| format!("{}: it cannot be written", path.display()))?;
        drop(table);
        file.finish(b"")
    }
}

/// The input's columns, and cluster (-1: noise), probability, x, y.
fn write_terms(
    table: &mut csv::Writer<&mut Partial>,
    terms: &Terms,
    analysis: &Analysis,
) -> anyhow::Result<()> {
    let added = ["cluster", "probability", "x", "y"];
    table.write_record(terms.columns().iter().map(String::as_str).chain(added))?;
    for (row, fields) in terms.rows().iter().enumerate() {
        let [x, y] = analysis.map[row];
        let cluster = analysis.clustering.labels[row].to_string();
        let probability = format!("{:.4}", analysis.clustering.probabilities[row]);
        let added = [cluster, probability, x.to_string(), y.to_string()];
        let added = added.iter().map(String::as_bytes);
        table.write_record(fields.iter().chain(added))?;
    }
    Ok(())
}

/// A row a cluster. Lists within a field are separated by semicolons: `en:12; zh:9`.
fn write_clusters(
    table: &mut csv::Writer<&mut Partial>,
    terms: &Terms,
    analysis: &Analysis,
) -> anyhow::Result<()> {
    let listed = |values: &[Option<&str>]| -> anyhow::Result<Vec<String>> {
        let counts = counts(&analysis.clustering, values)?;
        let list = |counts: &Vec<(&str, usize)>| {
            let first = counts.iter().take(MOST_VALUES);
            let list: Vec<String> = first
                .map(|(value, count)| format!("{value}:{count}"))
                .collect();
            list.join("; ")
        };
        Ok(counts.iter().map(list).collect())
    };
    let (languages, domains) = (listed(&terms.languages())?, listed(&terms.domains())?);
    table.write_record([
        "cluster",
        "label",
        "size",
        "probability",
        "languages",
        "domains",
        "nearest",
    ])?;
    for cluster in &analysis.clusters {
        let near = cluster.nearest.iter();
        let near: Vec<String> = near
            .map(|near| format!("{}:{:.3}", near.cluster, near.similarity))
            .collect();
        table.write_record([
            cluster.cluster.to_string().as_str(),
            terms.term(cluster.medoid),
            &cluster.size.to_string(),
            &format!("{:.4}", cluster.mean_probability),
            &languages[cluster.cluster],
            &domains[cluster.cluster],
            &near.join("; "),
        ])?;
    }
    Ok(())
}

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
    clusters: usize,
    noise: usize,
    /// Agreement of clusters with the column of domains, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    domains: Option<Agreement>,
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
struct Largest {
    cluster: usize,
    label: String,
    size: usize,
}

impl Summary {
    /// Summarises an analysis, with the first few clusters, which are the largest.
    pub(crate) fn new(terms: &Terms, analysis: &Analysis) -> anyhow::Result<Self> {
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
            clusters: analysis.clustering.clusters,
            noise: labels.iter().filter(|label| **label == NOISE).count(),
            domains: match domains.is_empty() {
                true => None,
                false => Some(Agreement {
                    purity: purity(&of_domains, &domains)?,
                    adjusted_rand: adjusted_rand(&of_domains, &domains)?,
                }),
            },
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
        if let Some(domains) = &self.domains {
            let purity = domains
                .purity
                .map_or(String::new(), |purity| format!("purity {purity:.3}, "));
            text += &format!(
                "\ndomains: {purity}adjusted Rand index {:.3}",
                domains.adjusted_rand
            );
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
