//! The files of an analysis, in one folder.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lexivec_terms::clusters::counts;

use super::{Analysis, Report, Terms};
use crate::embed::Partial;
use crate::paths::check_output;

const TERMS: &str = "terms.csv";
const CLUSTERS: &str = "clusters.csv";
const PROJECTION: &str = "projection.safetensors";
const REPORT: &str = "report.html";

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
        for name in [TERMS, CLUSTERS, PROJECTION, REPORT] {
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

    /// Writes `terms.csv`, `clusters.csv`, `projection.safetensors` and `report.html`. Each file appears when it is complete.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn write(
        &self,
        terms: &Terms,
        analysis: &Analysis,
        report: &Report<'_>,
    ) -> anyhow::Result<()> {
        let page = report.to_html()?;
        self.table(TERMS, |table| write_terms(table, terms, analysis))?;
        self.table(CLUSTERS, |table| write_clusters(table, terms, analysis))?;
        let projection = self.0.join(PROJECTION);
        analysis.projection.save(&projection)?;
        self.file(REPORT, |file| Ok(file.write_all(page.as_bytes())?))
    }

    fn table(
        &self,
        name: &str,
        write: impl FnOnce(&mut csv::Writer<&mut Partial>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.file(name, |file| {
            let mut table = csv::Writer::from_writer(file);
            write(&mut table)?;
            Ok(table.flush()?)
        })
    }

    /// Writes a file as `lexivec embed` writes vectors: it appears when it is complete.
    fn file(
        &self,
        name: &str,
        write: impl FnOnce(&mut Partial) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let path = self.0.join(name);
        let mut file = Partial::create(&path)?;
        write(&mut file).with_context(|| format!("{}: it cannot be written", path.display()))?;
        file.finish(b"")
    }
}

/// The input's columns, and cluster (-1: noise), probability, and x and y if there is a map.
fn write_terms(
    table: &mut csv::Writer<&mut Partial>,
    terms: &Terms,
    analysis: &Analysis,
) -> anyhow::Result<()> {
    let added: &[&str] = match analysis.map {
        Some(_) => &["cluster", "probability", "x", "y"],
        None => &["cluster", "probability"],
    };
    let columns = terms.columns().iter().map(String::as_str);
    table.write_record(columns.chain(added.iter().copied()))?;
    for (row, fields) in terms.rows().iter().enumerate() {
        let mut added = vec![
            analysis.clustering.labels[row].to_string(),
            format!("{:.4}", analysis.clustering.probabilities[row]),
        ];
        if let Some(map) = &analysis.map {
            added.extend(map.places.row(row).iter().map(f32::to_string));
        }
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
