//! `lexivec embed`.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use lexivec_runtime::Truncate;

use super::Usage;
use super::common::{TextArgs, counted};
use super::progress;
use super::vector_args::VectorArgs;
use crate::embed::{Done, InputFormat, Job, OnError, OutputFormat, Settings, is_url};
use crate::projections::ProjectionFile;
use crate::stdio::say;

/// The command's name.
pub(super) const NAME: &str = "embed";

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each row of the input gives one row of the output, in the same order. A row without a text, or one that cannot be \
                  read, is an error that names its line; --skip-empty and --on-error skip leave such rows out. Files are checked \
                  before a model is loaded. Of objects in stores, only the first one is: the others are checked when their turn comes. Objects are \
                  copied to unnamed files in TMPDIR (/tmp), which needs room for two: the one that is read, and the next one.\n\
                  Object stores need a build with the feature object-store. They take credentials and settings from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, \
                  AWS_ENDPOINT_URL (with AWS_ALLOW_HTTP=true it may be http://), AWS_SKIP_SIGNATURE=true for public buckets; \
                  GOOGLE_APPLICATION_CREDENTIALS; AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY; or those of the virtual machine, \
                  the container or the web identity.\n\
                  A job that ends early (Ctrl-C, a crash, a bad row on standard input) leaves three files: OUTPUT.partial; \
                  OUTPUT.partial.json, which records how far the job came; and ERRORS.partial, if rows were left out. The same \
                  command with --resume continues the job if the model, the settings and the rows read so far are the same. The \
                  job loses at most the last 2,048 texts; with a .parquet output also those of up to five minutes before them, \
                  as long as a row group is not full. With --part-rows these \
                  files are in the folder, beside the parts that are complete."
)]
pub(crate) struct Args {
    /// Model directory, checkpoint folder, or hub id. A first argument that is a file of texts is read as input, if
    /// LEXIVEC_MODEL or the configuration file names the model
    #[arg(env = "LEXIVEC_MODEL")]
    model: String,

    /// Files to read: .txt (a text per line), .jsonl or .ndjson, .csv, .tsv, .parquet, .arrow or .feather; `-` is standard input. A folder
    /// stands for its files, and a quoted pattern such as 'terms/*.csv' for the files that match it, both in the order of their names. `*`
    /// and `?` match no slash, and `**/` matches any number of folders.
    /// s3://BUCKET/KEY, gs://BUCKET/KEY and az://CONTAINER/KEY name objects in stores, folders of them (s3://BUCKET/terms/) and
    /// patterns ('s3://BUCKET/terms/*.parquet'), in builds with the feature object-store. Default: standard input, as .txt
    files: Vec<PathBuf>,

    /// Output file: .jsonl, .npy, or .parquet, which has the columns of .csv, .tsv, .parquet and .arrow inputs and a column of vectors. Default:
    /// standard output, as .jsonl
    #[arg(short, long, env = "LEXIVEC_OUTPUT", value_name = "FILE")]
    output: Option<PathBuf>,

    /// Write a folder of parts instead of one file: with --output terms.parquet, terms.parquet/part-00000.parquet and so on. A part ends
    /// with the first chunk of at most 1,024 texts that reaches N rows. Each part is complete or absent, and
    /// _manifest.json lists the complete ones with their rows and SHA-256, and names the model and the settings
    #[arg(long, env = "LEXIVEC_PART_ROWS", value_name = "N", value_parser = part_rows, requires = "output")]
    part_rows: Option<usize>,

    /// Continue the unfinished job that left OUTPUT.partial. If there is none, the job starts at the first row. A folder of --part-rows
    /// that is complete stays, which is no error if input and settings are the same
    #[arg(long, env = "LEXIVEC_RESUME")]
    resume: bool,

    /// Leave out rows whose text is empty, white space or null, and report their number. The rows after them move up. Default:
    /// an empty row is an error
    #[arg(long, env = "LEXIVEC_SKIP_EMPTY")]
    skip_empty: bool,

    /// What happens to a row that cannot be read, is empty, or is too long: `stop` ends the job, `skip` leaves the row out.
    /// Rows that are left out go to --errors. `index` in .jsonl counts them, too
    #[arg(
        long,
        env = "LEXIVEC_ON_ERROR",
        value_name = "stop|skip",
        default_value = "stop",
        hide_possible_values = true
    )]
    on_error: OnError,

    /// File of the rows that --on-error skip leaves out: a JSON object per line with index, place, error and text. It is
    /// written as FILE.partial until the job ends, and an older file stays if no row is left out. Default: OUTPUT.errors.jsonl;
    /// lines on standard error if the output is no file
    #[arg(long, env = "LEXIVEC_ERRORS", value_name = "FILE")]
    errors: Option<PathBuf>,

    #[command(flatten)]
    places: TextArgs,

    /// Truncate texts that are too long instead of rejecting them
    #[arg(long, env = "LEXIVEC_TRUNCATE")]
    truncate: bool,

    /// projection.safetensors that `lexivec terms` wrote: its principal components reduce each vector, which is then normalised. It
    /// must have been computed from this model's vectors. It sets the width of the vectors, so it excludes --dimensions
    #[arg(
        long,
        env = "LEXIVEC_PROJECTION",
        value_name = "FILE",
        conflicts_with = "dimensions"
    )]
    projection: Option<PathBuf>,

    /// Name of the column of vectors in a .parquet output
    #[arg(
        long,
        env = "LEXIVEC_VECTOR_COLUMN",
        value_name = "NAME",
        default_value = "embedding"
    )]
    vector_column: String,

    #[command(flatten)]
    vectors: VectorArgs,
}

fn part_rows(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(rows) if rows > 0 => Ok(rows),
        _ => Err("a part has at least 1 row".to_owned()),
    }
}

/// Whether an argument names a file of texts, or standard input, and not a model.
pub(super) fn is_file_of_texts(path: &Path) -> bool {
    is_url(path) || !path.is_dir() && (path.exists() || InputFormat::of(path).is_ok())
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if is_file_of_texts(Path::new(&args.model)) {
        return Err(Usage(format!(
            "{0} is a file of texts, not a model: name the model before it, as in `lexivec embed MODEL {0}`, or set LEXIVEC_MODEL",
            args.model
        ))
        .into());
    }
    let options = args.vectors.engine_options()?;
    let written = [&args.output, &args.errors].into_iter().flatten();
    if let Some(url) = written.into_iter().find(|path| is_url(path)) {
        return Err(Usage(format!(
            "{}: lexivec writes no object stores: write to this machine, and upload the file or the folder of --part-rows",
            url.display()
        ))
        .into());
    }
    let format = OutputFormat::of(args.output.as_deref()).map_err(Usage)?;
    if args.errors.is_some() && args.on_error == OnError::Stop {
        return Err(Usage("--errors needs --on-error skip: add it".to_owned()).into());
    }
    if args.resume && args.output.is_none() {
        let reason = "--resume continues a file: name it with --output";
        return Err(Usage(reason.to_owned()).into());
    }
    let is_stream =
        |path: &Path| path == Path::new("-") || path.exists() && !path.is_dir() && !path.is_file();
    if args.part_rows.is_some() && args.output.as_deref().is_none_or(is_stream) {
        let reason = "--part-rows writes a folder: name it with --output";
        return Err(Usage(reason.to_owned()).into());
    }
    let texts = args.places.reader(&args.files)?;
    if texts.reads_stdin() && std::io::stdin().is_terminal() {
        say!("reading texts from the terminal, one per line; Ctrl-D ends");
    }
    let projection = args.projection.as_deref();
    let projection = projection.map(ProjectionFile::load).transpose()?;
    let projection = projection.map(Arc::new);
    let settings = Settings {
        projection: projection.clone(),
        output: args.output.as_deref(),
        errors: args.errors.as_deref(),
        on_error: args.on_error,
        skip_empty: args.skip_empty,
        vector_column: &args.vector_column,
        part_rows: args.part_rows,
        resume: args.resume,
    };
    let job = Job::open(texts, format, &settings)?;
    let (engine, mut template) = args.vectors.open(&args.model, &options)?;
    if args.truncate {
        template.truncate = Truncate::End;
    }
    if let Some(file) = &projection {
        file.check(&engine)?;
        template.dimensions = Some(file.projection().input_width());
    }
    let errors = job.errors().map(|path| path.display().to_string());
    let bar = progress::text_bar(job.rows);
    let started = Instant::now();
    let done = job.run(&engine, &template, |count| bar.set_position(count as u64));
    bar.finish_and_clear();
    let done = done?;
    let computed = done.texts - done.resumed;
    let rate = computed as f64 / started.elapsed().as_secs_f64();
    let noun = if done.texts == 1 { "text" } else { "texts" };
    match computed {
        0 => say!("note: the output has all {} {noun} already", done.texts),
        _ => say!("{} {noun}, {rate:.0} texts/s", done.texts),
    }
    report(&done, errors.as_deref(), engine.model().max_length);
    Ok(())
}

/// Reports the rows that were resumed, left out or truncated.
fn report(done: &Done, errors: Option<&str>, max_length: usize) {
    if done.resumed > 0 && done.resumed < done.texts {
        say!("{} of them were in the unfinished output", done.resumed);
    }
    if done.empty > 0 {
        say!("warning: {} left out", counted(done.empty, "empty row"));
    }
    if done.rejected > 0 {
        let place = errors.map_or(String::new(), |path| format!(": {path} lists them"));
        say!("warning: {} left out{place}", counted(done.rejected, "row"));
    }
    if done.truncated > 0 {
        say!(
            "warning: {} truncated to the model's {max_length} tokens",
            counted(done.truncated, "text")
        );
    }
}
