//! `lexivec terms`.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use lexivec_models::Manifest;
use lexivec_runtime::{Engine, ModelInfo, Prompt, Request};

use super::analysis_args::{AnalysisArgs, PairArgs};
use super::column_args::ColumnArgs;
use super::vector_args::VectorArgs;
use super::{Usage, progress};
use crate::embed::{self, Job, OnError, OutputFormat};
use crate::stdio::{print, print_exactly, say};
use crate::terms::{
    Folder, Origin, Pairs, Plan, Report, Summary, Terms, Vectors, analyse, check_columns,
};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The folder --output gets terms.csv (the columns of FILE, and cluster, probability, x and y), clusters.csv (a row per \
                  cluster: the term that labels it, size, languages, domains, near clusters), report.html (a page with the map and the \
                  clusters, which needs no network), projection.safetensors (the principal components), pairs.csv (--pairs), and vectors.npy unless --vectors names a file. Cluster -1 is \
                  noise: terms that are in no cluster. A column of FILE with the name of an added one is an error. If embedding ends \
                  early, the same command continues it."
)]
pub(crate) struct Args {
    /// File of terms: .csv or .tsv, whose first row names the columns; .jsonl, whose fields are the columns; .parquet or .arrow; or .txt with a term per line
    file: PathBuf,

    /// Folder for the results
    #[arg(short, long, env = "LEXIVEC_TERMS_OUTPUT", value_name = "DIR")]
    output: PathBuf,

    /// Model directory, checkpoint folder, or hub id that embeds the terms
    #[arg(short, long, env = "LEXIVEC_MODEL", value_name = "MODEL")]
    model: Option<String>,

    /// Vectors of the terms, a .npy or .parquet file that `lexivec embed` wrote, or an .arrow file, instead of --model. Row n belongs to term n. If both are
    /// given, and the file names its model, it must be --model
    #[arg(long, env = "LEXIVEC_TERMS_VECTORS", value_name = "FILE")]
    vectors: Option<PathBuf>,

    /// Replace files in --output that exist. Without this flag they are an error. Other files in the folder stay
    #[arg(long, env = "LEXIVEC_TERMS_FORCE")]
    force: bool,

    /// Print a summary as JSON
    #[arg(long, env = "LEXIVEC_TERMS_JSON")]
    json: bool,

    #[command(flatten)]
    columns: ColumnArgs,

    #[command(flatten)]
    analysis: AnalysisArgs,

    #[command(flatten)]
    pairs: PairArgs,

    #[command(flatten)]
    embedding: VectorArgs,
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
    let left_out = left_out(&terms, args);
    if !left_out.is_empty() {
        say!(
            "note: {}: columns that hold neither texts nor numbers are left out: {}",
            args.file.display(),
            left_out.join(", ")
        );
    }
    // Before hours of work.
    let rows = terms.rows().len();
    args.analysis.clusters().check(rows)?;
    args.analysis.components().check()?;
    check_columns(&terms, args.analysis.map())?;
    let pairs = args.pairs.options(args.analysis.search(rows))?;
    let plan = Plan {
        terms: &args.file,
        vectors: args.vectors.as_deref(),
        has_pairs: pairs.is_some(),
        force: args.force,
    };
    let folder = Folder::create(&args.output, plan)?;
    let mut settings = args.analysis.described(rows);
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
    let analysis = analyse(&vectors, &args.analysis.settings(model, rows), |stage| {
        bar.set_message(stage.to_owned());
    });
    let pairs = pairs.filter(|_| analysis.is_ok()).map(|options| {
        bar.set_message("pairs");
        Pairs::find(&terms, &vectors, &options)
    });
    bar.finish_and_clear();
    let analysis = analysis?;
    let pairs = pairs.transpose()?;
    let summary = Summary::new(&terms, &analysis, pairs.as_ref())?;
    let report = Report {
        terms: &terms,
        analysis: &analysis,
        summary: &summary,
        origin: &Origin {
            file: name(&args.file),
            settings,
        },
    };
    folder.write(&terms, &analysis, pairs.as_ref(), &report)?;
    match args.json {
        true => print_exactly(&serde_json::to_string_pretty(&summary)?),
        false => print(&summary.to_text()),
    }
}

/// The columns that the results lack, except the vectors, which nobody misses there.
fn left_out<'a>(terms: &'a Terms, args: &Args) -> Vec<&'a str> {
    let columns = terms.left_out().iter().map(String::as_str);
    columns
        .filter(|column| *column != args.columns.vector_column)
        .collect()
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
    let job = vectors_job(terms, &folder.vectors(), &args.columns.vector_column)?;
    let (engine, template) = args.embedding.open(model, &options)?;
    run_job(job, &engine, &template)?;
    let prompt = match template.prompt {
        Prompt::None => "none".to_owned(),
        Prompt::Instruction(prompt) | Prompt::Verbatim(prompt) => prompt,
    };
    Ok((engine.model().digest.clone(), prompt))
}

/// The job that embeds terms into a .npy file. It continues an unfinished one.
///
/// # Errors
/// The file cannot be written.
pub(super) fn vectors_job(
    terms: &Terms,
    output: &Path,
    vector_column: &str,
) -> anyhow::Result<Job> {
    let settings = embed::Settings {
        output: Some(output),
        errors: None,
        on_error: OnError::Stop,
        skip_empty: false,
        projection: None,
        vector_column,
        part_rows: None,
        resume: true,
    };
    Job::open(terms.reader()?, OutputFormat::Npy, &settings)
}

/// Runs a job with a bar of its progress.
///
/// # Errors
/// Those of [`Job::run`].
pub(super) fn run_job(job: Job, engine: &Engine, template: &Request<'_>) -> anyhow::Result<()> {
    let bar = progress::text_bar(job.rows);
    let done = job.run(engine, template, |count| bar.set_position(count as u64));
    bar.finish_and_clear();
    done.map(drop)
}
