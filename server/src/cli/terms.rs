//! `lexivec terms`.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use lexivec_models::Manifest;
use lexivec_runtime::{ModelInfo, Prompt};
use lexivec_terms::Metric;
use lexivec_terms::hdbscan::{Options, Selection};
use lexivec_terms::pca::Components;

use super::column_args::ColumnArgs;
use super::vector_args::VectorArgs;
use super::{Usage, progress};
use crate::embed::{self, Job, OnError, OutputFormat};
use crate::stdio::{print, print_exactly, say};
use crate::terms::{Folder, MapKind, Origin, Report, Settings, Summary, Terms, Vectors, analyse};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The folder --output gets terms.csv (the columns of FILE, and cluster, probability, x and y), clusters.csv (a row per \
                  cluster: the term that labels it, size, languages, domains, near clusters), report.html (a page with the map and the \
                  clusters, which needs no network), projection.safetensors (the principal components), and vectors.npy unless --vectors names a file. Cluster -1 is noise: terms that are in no cluster. If \
                  embedding ends early, the same command continues it."
)]
pub(crate) struct Args {
    /// File of terms: .csv or .tsv, whose first row names the columns; .jsonl, whose fields are the columns; .parquet; or .txt with a term per line
    file: PathBuf,

    /// Folder for the results
    #[arg(short, long, env = "LEXIVEC_TERMS_OUTPUT", value_name = "DIR")]
    output: PathBuf,

    /// Model directory, checkpoint folder, or hub id that embeds the terms
    #[arg(short, long, env = "LEXIVEC_MODEL", value_name = "MODEL")]
    model: Option<String>,

    /// Vectors of the terms, a .npy or .parquet file that `lexivec embed` wrote, instead of --model. Row n belongs to term n. If both are
    /// given, and the file names its model, it must be --model
    #[arg(long, env = "LEXIVEC_TERMS_VECTORS", value_name = "FILE")]
    vectors: Option<PathBuf>,

    /// Print a summary as JSON
    #[arg(long, env = "LEXIVEC_TERMS_JSON")]
    json: bool,

    #[command(flatten)]
    columns: ColumnArgs,

    #[command(flatten)]
    analysis: AnalysisArgs,

    #[command(flatten)]
    embedding: VectorArgs,
}

/// The flags of principal components and HDBSCAN.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Analysis")]
struct AnalysisArgs {
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

impl AnalysisArgs {
    fn components(&self) -> Components {
        match self.pca {
            Some(count) => Components::Count(count),
            None => Components::Variance(self.variance.unwrap_or(0.95)),
        }
    }

    fn settings(&self, model: Option<String>) -> Settings {
        Settings {
            components: self.components(),
            model,
            clusters: self.clusters(),
            map: self.map,
            seed: self.seed,
        }
    }

    fn clusters(&self) -> Options {
        Options {
            min_cluster_size: self.min_cluster_size,
            min_samples: self.min_samples,
            metric: self.metric,
            selection: self.selection,
            epsilon: self.epsilon,
            allow_single_cluster: self.allow_single_cluster,
        }
    }
}

/// Where the vectors come from.
enum Source<'a> {
    File(&'a Path),
    Model(&'a str),
}

/// A file of vectors wins over a model, which may be set by a variable.
fn source(args: &Args) -> Result<Source<'_>, Usage> {
    match (&args.vectors, &args.model) {
        (Some(path), _) => Ok(Source::File(path)),
        (None, Some(model)) => Ok(Source::Model(model)),
        (None, None) => Err(Usage(
            "name the model that embeds the terms with --model, or their vectors with --vectors"
                .to_owned(),
        )),
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let source = source(args)?;
    let terms = Terms::read(&args.file, &args.columns.names())?;
    if !terms.left_out().is_empty() {
        say!(
            "note: {}: columns that hold neither texts nor numbers are left out: {}",
            args.file.display(),
            terms.left_out().join(", ")
        );
    }
    // Before hours of work.
    args.analysis.clusters().check(terms.rows().len())?;
    args.analysis.components().check()?;
    let folder = Folder::create(&args.output, &args.file, args.vectors.as_deref())?;
    let mut settings = described(args);
    let (vectors, model) = match source {
        Source::File(path) => {
            settings.insert(0, ("vectors", path.display().to_string()));
            (path.to_owned(), None)
        }
        Source::Model(model) => {
            let (digest, prompt) = embed(args, model, &terms, &folder)?;
            settings.insert(0, ("model", model.to_owned()));
            settings.insert(1, ("prompt", prompt));
            (folder.vectors(), Some(digest))
        }
    };
    let vectors = Vectors::open(&vectors, &args.columns.vector_column)?;
    let model = match model {
        Some(digest) => Some(digest),
        None => model_of(&vectors, args)?,
    };
    terms.check_vectors(&vectors)?;
    let bar = progress::stage_bar();
    let analysis = analyse(&vectors, &args.analysis.settings(model), |stage| {
        bar.set_message(stage.to_owned());
    });
    bar.finish_and_clear();
    let analysis = analysis?;
    let summary = Summary::new(&terms, &analysis)?;
    let report = Report {
        terms: &terms,
        analysis: &analysis,
        summary: &summary,
        origin: &Origin {
            file: name(&args.file),
            settings,
        },
    };
    folder.write(&terms, &analysis, &report)?;
    match args.json {
        true => print_exactly(&serde_json::to_string_pretty(&summary)?),
        false => print(&summary.to_text()),
    }
}

/// The settings of the analysis, for readers of the report.
fn described(args: &Args) -> Vec<(&'static str, String)> {
    let analysis = &args.analysis;
    let samples = analysis.min_samples.unwrap_or(analysis.min_cluster_size);
    let named = |name: &'static str, value: String| (name, value);
    vec![
        named(
            "principal components",
            match analysis.components() {
                Components::Count(count) => count.to_string(),
                Components::Variance(share) => format!("{share} of the variance"),
            },
        ),
        named("smallest cluster", analysis.min_cluster_size.to_string()),
        named("samples", samples.to_string()),
        named("distance", format!("{:?}", analysis.metric).to_lowercase()),
        named(
            "selection",
            format!("{:?}", analysis.selection).to_lowercase(),
        ),
        named("epsilon", analysis.epsilon.to_string()),
        named("map", format!("{:?}", analysis.map).to_lowercase()),
        named("seed", analysis.seed.to_string()),
    ]
}

/// The last part of a path.
fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// The digest of the model that a file of vectors names.
///
/// # Errors
/// `--model` is a directory of another model.
fn model_of(vectors: &Vectors, args: &Args) -> anyhow::Result<Option<String>> {
    let Some(digest) = vectors.model() else {
        return Ok(None);
    };
    if let (Some(model), Some(file)) = (&args.model, &args.vectors)
        && Manifest::is_model_dir(Path::new(model))
    {
        let asked = ModelInfo::read(Path::new(model))?.digest;
        ensure!(
            asked == digest,
            "{}: the vectors were computed by the model {digest}, and --model {model} is {asked}: leave one of --vectors and --model out",
            file.display()
        );
    }
    Ok(Some(digest.to_owned()))
}

/// Embeds the terms into the folder, and returns the model's digest and the prompt.
fn embed(
    args: &Args,
    model: &str,
    terms: &Terms,
    folder: &Folder,
) -> anyhow::Result<(String, String)> {
    let options = args.embedding.engine_options()?;
    let output = folder.vectors();
    let settings = embed::Settings {
        output: Some(&output),
        errors: None,
        on_error: OnError::Stop,
        skip_empty: false,
        projection: None,
        vector_column: &args.columns.vector_column,
        resume: true,
    };
    let job = Job::open(terms.reader()?, OutputFormat::Npy, &settings)?;
    let (engine, template) = args.embedding.open(model, &options)?;
    let bar = progress::text_bar(job.rows);
    let done = job.run(&engine, &template, |count| bar.set_position(count as u64));
    bar.finish_and_clear();
    done?;
    let prompt = match template.prompt {
        Prompt::None => "none".to_owned(),
        Prompt::Instruction(prompt) | Prompt::Verbatim(prompt) => prompt,
    };
    Ok((engine.model().digest.clone(), prompt))
}
