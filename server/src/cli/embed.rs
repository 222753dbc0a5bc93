//! `lexivec embed`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Instant;

use lexivec_models::Precision;
use lexivec_runtime::{Engine, Request, Truncate};

use super::bars;
use super::common::{DomainArgs, SourceArgs, TextArgs, counted};
use super::compute_args::ComputeArgs;
use super::{Usage, resolve};
use crate::embed::{Done, Format, Job, MOST_TEXTS, OnError, Settings};
use crate::prefix::Choice;
use crate::stdio::say;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each row of the input gets one row of the output, in the same order: a row without a text, or one that cannot \
                  be read, is an error that names its line, unless --skip-empty or --on-error skip leaves it out. Files are \
                  checked before a model is loaded.\n\
                  A job that ends early (Ctrl-C, a crash, a bad row on standard input) leaves OUTPUT.partial, in \
                  OUTPUT.partial.json how far it is, and the list of --errors as ERRORS.partial. The same command \
                  with --resume continues there, if model, settings and the rows that were read are the same; what \
                  was computed since the last 1,024 texts is lost."
)]
pub(crate) struct Args {
    /// Model directory, checkpoint folder, or hub id
    #[arg(env = "LEXIVEC_MODEL")]
    model: String,

    /// Files to read: .txt (a text per line), .jsonl or .ndjson, .csv; `-` is standard input. Default: standard input, as .txt
    files: Vec<PathBuf>,

    /// Output file, .jsonl or .npy. Default: standard output, as .jsonl
    #[arg(short, long, env = "LEXIVEC_OUTPUT", value_name = "FILE")]
    output: Option<PathBuf>,

    /// Continue the unfinished job that left OUTPUT.partial; without one, begin at the first row
    #[arg(long, env = "LEXIVEC_RESUME")]
    resume: bool,

    /// Leave out rows whose text is empty, white space or null, and say how many. The rows behind them
    /// move up. Default: an empty row is an error
    #[arg(long, env = "LEXIVEC_SKIP_EMPTY")]
    skip_empty: bool,

    /// What to do with a row that cannot be read, is empty, or is too long: `stop`, or `skip`, which leaves it out and writes
    /// it to --errors. `index` in .jsonl counts such rows, too
    #[arg(
        long,
        env = "LEXIVEC_ON_ERROR",
        value_name = "stop|skip",
        default_value = "stop",
        hide_possible_values = true
    )]
    on_error: OnError,

    /// File of the rows that --on-error skip leaves out: a JSON object per line with index, place, error and text. Default:
    /// OUTPUT.errors.jsonl; where the output is no file, lines on standard error. It is written as FILE.partial until the job ends,
    /// and an older one stays where no row is left out
    #[arg(long, env = "LEXIVEC_ERRORS", value_name = "FILE")]
    errors: Option<PathBuf>,

    #[command(flatten)]
    places: TextArgs,

    /// Instruction put before each text, in your words
    #[arg(long, env = "LEXIVEC_INSTRUCTION", conflicts_with_all = ["domain", "prompt_name"])]
    instruction: Option<String>,

    /// Domain whose instruction is put before each text: general, medical, legal, finance, engineering, code
    #[arg(long, env = "LEXIVEC_DOMAIN", conflicts_with = "prompt_name")]
    domain: Option<String>,

    /// A prompt of the checkpoint's, put before each text
    #[arg(long, env = "LEXIVEC_PROMPT_NAME")]
    prompt_name: Option<String>,

    /// Width of the vectors, 1 to the model's; cut, then normalised. Default: the model's
    #[arg(short, long, env = "LEXIVEC_DIMENSIONS")]
    dimensions: Option<usize>,

    /// Cut texts that are too long instead of refusing them
    #[arg(long, env = "LEXIVEC_TRUNCATE")]
    truncate: bool,

    /// Precision a checkpoint is converted to on first use. Default: fp32 on cpu and openvino, fp16 on GPUs
    #[arg(short, long, env = "LEXIVEC_PRECISION")]
    precision: Option<Precision>,

    #[command(flatten)]
    domains: DomainArgs,

    #[command(flatten)]
    compute: ComputeArgs,

    #[command(flatten)]
    source: SourceArgs,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let options = args.compute.engine_options(MOST_TEXTS)?;
    let format = Format::of(args.output.as_deref()).map_err(Usage)?;
    if args.errors.is_some() && args.on_error == OnError::Stop {
        return Err(Usage("--errors is for --on-error skip: give that as well".to_owned()).into());
    }
    if args.resume && args.output.is_none() {
        let reason = "--resume continues a file: name it with --output";
        return Err(Usage(reason.to_owned()).into());
    }
    let texts = args.places.reader(&args.files)?;
    if texts.reads_stdin() && std::io::stdin().is_terminal() {
        say!("reading texts from the terminal, one per line; Ctrl-D ends");
    }
    let settings = Settings {
        output: args.output.as_deref(),
        errors: args.errors.as_deref(),
        on_error: args.on_error,
        skip_empty: args.skip_empty,
        resume: args.resume,
    };
    let job = Job::open(texts, format, &settings)?;
    let found = resolve::model(&args.model, args.precision, &args.compute, &args.source)?;
    if let Some(note) = &found.note {
        say!("note: {note}");
    }
    let engine = Engine::open(&found.dir, &options)?;
    engine.check_dimensions(args.dimensions)?;
    let least = engine.model().dimensions.min;
    if args.dimensions.is_some_and(|d| d < least) {
        say!(
            "warning: the model was trained for {least} dimensions and more; fewer work, and mean less"
        );
    }
    let choice = Choice {
        instruction: args.instruction.as_deref(),
        domain: args.domain.as_deref(),
        prompt_name: args.prompt_name.as_deref(),
    };
    let prefix = choice.resolve(engine.model(), &args.domains.load()?)?;
    let template = Request {
        prompt: prefix,
        dimensions: args.dimensions,
        truncate: if args.truncate {
            Truncate::End
        } else {
            Truncate::Refuse
        },
        ..Request::text("")
    };
    let errors = job.errors().map(|path| path.display().to_string());
    let bar = bars::texts(job.rows);
    let started = Instant::now();
    let done = job.run(&engine, &template, |count| bar.set_position(count as u64));
    bar.finish_and_clear();
    let done = done?;
    let computed = done.texts - done.resumed;
    let rate = computed as f64 / started.elapsed().as_secs_f64();
    say!("{} texts, {rate:.0} texts/s", done.texts);
    report(&done, errors.as_deref(), engine.model().max_length);
    Ok(())
}

/// Says which rows are not what one might expect.
fn report(done: &Done, errors: Option<&str>, max_length: usize) {
    if done.resumed > 0 {
        say!("{} of them were there already", done.resumed);
    }
    if done.empty > 0 {
        say!("warning: {} left out", counted(done.empty, "empty row"));
    }
    if done.rejected > 0 {
        let place = errors.map_or(String::new(), |path| {
            format!(": {path} says which, and why")
        });
        say!("warning: {} left out{place}", counted(done.rejected, "row"));
    }
    if done.truncated > 0 {
        say!(
            "warning: {} cut to the model's {max_length} tokens",
            counted(done.truncated, "text")
        );
    }
}
