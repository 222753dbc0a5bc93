//! `lexivec embed`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::bail;
use lexivec_models::Precision;
use lexivec_runtime::{Caller, Engine, Request, Truncate};

use super::bars;
use super::common::{DomainArgs, SourceArgs, TextArgs};
use super::compute_args::ComputeArgs;
use super::{Usage, resolve};
use crate::embed::{Format, Text, Writer};
use crate::prefix::Choice;

/// Texts read, sorted by length and embedded together.
const CHUNK: usize = 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model directory, checkpoint folder, or hub id
    #[arg(env = "LEXIVEC_MODEL")]
    model: String,

    /// Files to read: .txt (a text per line), .jsonl, .csv. Default: standard input, as .txt
    files: Vec<PathBuf>,

    /// Output file, .jsonl or .npy. Default: standard output, as .jsonl
    #[arg(short, long, env = "LEXIVEC_OUTPUT", value_name = "FILE")]
    output: Option<PathBuf>,

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
    let options = args.compute.engine_options(CHUNK)?;
    let format = Format::of(args.output.as_deref()).map_err(Usage)?;
    let mut texts = args.places.reader(&args.files)?;
    if args.files.is_empty() && std::io::stdin().is_terminal() {
        eprintln!("reading texts from the terminal, one per line; Ctrl-D ends");
    }
    let found = resolve::model(&args.model, args.precision, &args.compute, &args.source)?;
    if let Some(note) = &found.note {
        eprintln!("note: {note}");
    }
    let engine = Engine::open(&found.dir, &options)?;
    engine.check_dimensions(args.dimensions)?;
    let least = engine.model().dimensions.min;
    if args.dimensions.is_some_and(|d| d < least) {
        eprintln!(
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
        prefix,
        dimensions: args.dimensions,
        truncate: if args.truncate {
            Truncate::End
        } else {
            Truncate::Refuse
        },
        ..Request::text("")
    };

    let mut writer = Writer::create(args.output.as_deref(), format)?;
    let bar = bars::texts();
    let started = Instant::now();
    let (mut count, mut truncated) = (0usize, 0usize);
    loop {
        let chunk = texts
            .by_ref()
            .take(CHUNK)
            .collect::<anyhow::Result<Vec<_>>>()?;
        if chunk.is_empty() {
            break;
        }
        count += chunk.len();
        truncated += embed(&engine, &template, &chunk, &mut writer)?;
        bar.set_position(count as u64);
    }
    bar.finish_and_clear();
    if count == 0 {
        bail!("there is no text in the input: nothing was written");
    }
    writer.finish()?;
    let rate = count as f64 / started.elapsed().as_secs_f64();
    eprintln!("{count} texts, {rate:.0} texts/s");
    if truncated > 0 {
        eprintln!(
            "warning: {truncated} texts were cut to the model's {} tokens",
            engine.model().max_length
        );
    }
    Ok(())
}

/// Embeds a chunk; texts of like length run together, and are written in the order they were read.
fn embed(
    engine: &Engine,
    template: &Request<'_>,
    chunk: &[Text],
    writer: &mut Writer,
) -> anyhow::Result<usize> {
    let mut order: Vec<usize> = (0..chunk.len()).collect();
    order.sort_by_key(|i| chunk[*i].text.len());
    let mut encodings = vec![None; chunk.len()];
    for (text, encoding) in chunk.iter().zip(&mut encodings) {
        let request = Request {
            input: lexivec_runtime::Input::Text(text.text.as_str().into()),
            ..template.clone()
        };
        let encoded = engine
            .encode(&request)
            .map_err(|e| anyhow::anyhow!("{}: {e}", text.place))?;
        *encoding = Some(encoded);
    }
    let sequences = order
        .iter()
        .filter_map(|i| encodings[*i].as_ref().map(|e| e.ids.clone()))
        .collect();
    let mut embeddings = vec![None; chunk.len()];
    for (i, reply) in order
        .iter()
        .zip(engine.submit(sequences, Caller::default(), None)?)
    {
        let answer = reply
            .blocking_recv()
            .unwrap_or(Err(lexivec_runtime::Error::ShuttingDown));
        let answer = answer.map_err(|e| anyhow::anyhow!("{}: {e}", chunk[*i].place))?;
        if let Some(encoding) = &encodings[*i] {
            embeddings[*i] = Some(engine.finish(&answer, encoding, template.dimensions, true));
        }
    }
    let mut truncated = 0;
    for (text, embedding) in chunk.iter().zip(embeddings.iter().flatten()) {
        truncated += usize::from(embedding.truncated);
        writer.write(&text.text, &embedding.vector)?;
    }
    Ok(truncated)
}
