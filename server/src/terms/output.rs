//! The files of an analysis, in one folder.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use lexivec_terms::clusters::counts;

use super::{Analysis, MapKind, Pairs, Report, Terms};
use crate::embed::Partial;
use crate::paths::check_output;

const TERMS: &str = "terms.csv";
const CLUSTERS: &str = "clusters.csv";
const PROJECTION: &str = "projection.safetensors";
const REPORT: &str = "report.html";
const PAIRS: &str = "pairs.csv";
const VECTORS: &str = "vectors.npy";

/// The columns that `terms.csv` gets after those of the input, and those of a map.
const ADDED: [&str; 2] = ["cluster", "probability"];
const ADDED_BY_MAP: [&str; 2] = ["x", "y"];

/// How many values of a column, such as languages, a row of clusters.csv lists.
const MOST_VALUES: usize = 10;

/// The folder that an analysis writes.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

/// What decides which files of a folder are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) terms: &'a Path,
    /// The file of vectors, if they are not computed.
    pub(crate) vectors: Option<&'a Path>,
    /// Whether pairs are searched.
    pub(crate) has_pairs: bool,
    /// Whether files that exist are replaced.
    pub(crate) force: bool,
}

impl Folder {
    /// Creates the folder if it does not exist.
    ///
    /// # Errors
    /// It cannot be created, or a file that would be written exists and may not be replaced: an input, a symbolic link, or any file
    /// without [`force`](Plan::force).
    pub(crate) fn create(path: &Path, plan: Plan<'_>) -> anyhow::Result<Self> {
        let folder = Self(path.to_owned());
        let inputs = || std::iter::once(plan.terms).chain(plan.vectors);
        let names = [TERMS, CLUSTERS, PROJECTION, REPORT].into_iter();
        let names = names.chain(plan.has_pairs.then_some(PAIRS));
        let names = names.chain(plan.vectors.is_none().then_some(VECTORS));
        for file in names.map(|name| folder.0.join(name)) {
            check_output(&file, inputs())?;
            let shown = file.display();
            ensure!(
                !file.is_symlink(),
                "{shown}: this is a symbolic link, and terms writes no file through one: remove it, or choose another --output"
            );
            if file.exists() && !plan.force {
                let vectors = folder.vectors();
                let reuse = match vectors.exists() && plan.vectors.is_none() {
                    true => format!("; --vectors {} uses its vectors again", vectors.display()),
                    false => String::new(),
                };
                bail!("{shown} exists: choose another --output, or replace it with --force{reuse}");
            }
        }
        fs_err::create_dir_all(path)?;
        Ok(folder)
    }

    /// The file of vectors.
    pub(crate) fn vectors(&self) -> PathBuf {
        self.0.join(VECTORS)
    }

    /// Writes `terms.csv`, `clusters.csv`, `projection.safetensors`, `report.html`, and `pairs.csv` if there are pairs. Each file
    /// appears when it is complete.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn write(
        &self,
        terms: &Terms,
        analysis: &Analysis,
        pairs: Option<&Pairs>,
        report: &Report<'_>,
    ) -> anyhow::Result<()> {
        let page = report.to_html()?;
        self.table(TERMS, |table| write_terms(table, terms, analysis))?;
        self.table(CLUSTERS, |table| write_clusters(table, terms, analysis))?;
        if let Some(pairs) = pairs {
            self.table(PAIRS, |table| write_pairs(table, terms, pairs))?;
        }
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

/// The columns that are added to those of the input.
fn added<'a>(has_map: bool) -> impl Iterator<Item = &'a str> {
    let of_map = has_map.then_some(ADDED_BY_MAP);
    ADDED.into_iter().chain(of_map.into_iter().flatten())
}

/// Checks that the input has none of the columns that `terms.csv` gets.
///
/// # Errors
/// It has one.
pub(crate) fn check_columns(terms: &Terms, map: MapKind) -> anyhow::Result<()> {
    for name in added(map != MapKind::None) {
        ensure!(
            !terms.columns().iter().any(|column| column == name),
            "{}: the file has a column `{name}`, and {TERMS} gets one of that name: rename the file's column, or leave it out",
            terms.path().display()
        );
    }
    Ok(())
}

/// The input's columns, and cluster (-1: noise), probability, and x and y if there is a map.
fn write_terms(
    table: &mut csv::Writer<&mut Partial>,
    terms: &Terms,
    analysis: &Analysis,
) -> anyhow::Result<()> {
    let columns = terms.columns().iter().map(String::as_str);
    table.write_record(columns.chain(added(analysis.map.is_some())))?;
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

/// A row a pair. Rows of the input are counted from 0.
fn write_pairs(
    table: &mut csv::Writer<&mut Partial>,
    terms: &Terms,
    pairs: &Pairs,
) -> anyhow::Result<()> {
    let languages = terms.languages();
    table.write_record([
        "kind",
        "cosine",
        "left",
        "right",
        "left_language",
        "right_language",
        "left_row",
        "right_row",
    ])?;
    for (kind, pair) in pairs.iter() {
        table.write_record([
            kind.as_str(),
            &format!("{:.4}", pair.similarity),
            terms.term(pair.left),
            terms.term(pair.right),
            languages[pair.left].unwrap_or_default(),
            languages[pair.right].unwrap_or_default(),
            &pair.left.to_string(),
            &pair.right.to_string(),
        ])?;
    }
    Ok(())
}
