//! Compares `lexivec embed` with its engine alone, on the same texts: `cargo bench --bench embed [-- FLAGS]`.
//!
//! The engine runs in this process, with the program's options, and gets all texts in one call, sorted by length. The program reads a .jsonl
//! file and writes a .parquet file. Its time is that of the whole process less that of a process for one text. So neither side counts
//! the loading of the model, and the program's side counts all that it does for the rows: it checks and reads the input, forms chunks, writes
//! the output, flushes it to the disk and renames it. The two take turns, and each round begins with the other one.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::ensure;
use clap::Parser;
use lexivec_benches::process::{ended_children_cpu, own_cpu};
use lexivec_benches::report::{Spread, calm};
use lexivec_benches::server::{program, project};
use lexivec_benches::texts::{Zipf, term};
use lexivec_convert::{ConvertOptions, Silent, convert};
use lexivec_models::{Checkpoint, Precision};
use lexivec_runtime::{Engine, EngineOptions, Provider, Request};
use serde_json::json;

#[derive(Parser)]
struct Args {
    /// Checkpoint or model directory. Default: models/nano
    #[arg(long)]
    model: Option<PathBuf>,
    /// Precision that a checkpoint is converted to, without calibration
    #[arg(long, default_value = "int8")]
    precision: Precision,
    /// Number of rounds; the table shows medians and ranges over rounds
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Number of texts, instead of each load's own
    #[arg(long)]
    texts: Option<u64>,
    /// Measures only loads whose name contains this text
    #[arg(long, default_value = "")]
    only: String,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Name, number of texts, and the most terms of a text. The number of terms follows Zipf's law, so most texts are short.
const LOADS: [(&str, u64, usize); 2] = [("single terms", 10_000, 1), ("1 to 16 terms", 3_000, 16)];

/// What a side took for all texts.
struct Took {
    seconds: f64,
    cpu: f64,
}

/// Different texts, of which no two share a term.
fn texts(count: u64, most_terms: usize) -> Vec<String> {
    let zipf = Zipf::new(most_terms, 1.0);
    let text = |number| {
        let first = number * most_terms as u64;
        let terms: Vec<String> = (first..=first + zipf.draw(number)).map(term).collect();
        terms.join(", ")
    };
    (0..count).map(text).collect()
}

/// Opens the engine with the options of `lexivec embed`, and room in the queue for all texts.
fn open(model: &Path, texts: usize) -> anyhow::Result<Engine> {
    let options = EngineOptions {
        queue: texts,
        ..EngineOptions::default()
    };
    Ok(Engine::open(model, &options)?)
}

fn run_engine(engine: &Engine, texts: &[&str]) -> anyhow::Result<Took> {
    let requests: Vec<_> = texts.iter().map(|text| Request::text(*text)).collect();
    let (began, cpu) = (Instant::now(), own_cpu()?);
    black_box(engine.embed(&requests)?);
    Ok(Took {
        seconds: began.elapsed().as_secs_f64(),
        cpu: own_cpu()? - cpu,
    })
}

/// Embeds a file, and counts the program's start as well.
fn run_program(program: &Path, model: &Path, input: &Path) -> anyhow::Result<Took> {
    let mut command = Command::new(program);
    command.arg("embed").arg(model).arg(input);
    command.arg("--output").arg(input.with_extension("parquet"));
    command.stdin(Stdio::null());
    let (began, cpu) = (Instant::now(), ended_children_cpu()?);
    let done = command.output()?;
    let took = Took {
        seconds: began.elapsed().as_secs_f64(),
        cpu: ended_children_cpu()? - cpu,
    };
    let errors = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{command:?}: {errors}");
    Ok(took)
}

fn write(path: &Path, texts: &[String]) -> anyhow::Result<()> {
    let mut file = std::io::BufWriter::new(fs_err::File::create(path)?);
    for text in texts {
        writeln!(file, "{}", json!({"text": text}))?;
    }
    Ok(file.flush()?)
}

/// Returns the model directory: that of the flags, or one that their checkpoint is converted to in `dir`.
fn model(args: &Args, dir: &Path) -> anyhow::Result<PathBuf> {
    let source = args.model.clone().unwrap_or_else(|| project("models/nano"));
    if source.join("lexivec.json").exists() {
        return Ok(source);
    }
    let options = ConvertOptions {
        calibration: None,
        verify: false,
        ..ConvertOptions::for_provider(Provider::Cpu, Some(args.precision))
    };
    let model = dir.join("model");
    convert(&Checkpoint::open(&source)?, &model, &options, &Silent)?;
    Ok(model)
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // Only for `calm`: the engine blocks this thread, which a runtime's thread may not.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let dir = tempfile::tempdir()?;
    let (program, model) = (program()?, model(&args, dir.path())?);
    let [one, all] = ["one.jsonl", "all.jsonl"].map(|name| dir.path().join(name));
    write(&one, &["heart".to_owned()])?;
    println!(
        "| texts | number | texts/s: engine | texts/s: embed | start, s | embed / engine | CPU of embed / engine |\n\
         |---|---|---|---|---|---|---|"
    );
    for (name, count, most_terms) in LOADS {
        if !name.contains(&args.only) {
            continue;
        }
        let texts = texts(args.texts.unwrap_or(count), most_terms);
        write(&all, &texts)?;
        let mut sorted: Vec<&str> = texts.iter().map(String::as_str).collect();
        sorted.sort_by_key(|text| text.len());
        let engine = open(&model, texts.len())?;
        let mut rounds = Vec::new();
        // The first round warms up and does not count.
        for round in 0..=args.rounds {
            runtime.block_on(calm())?;
            let before = match round % 2 {
                0 => Some(run_engine(&engine, &sorted)?),
                _ => None,
            };
            let start = run_program(&program, &model, &one)?;
            let whole = run_program(&program, &model, &all)?;
            let alone = match before {
                Some(before) => before,
                None => run_engine(&engine, &sorted)?,
            };
            if round > 0 {
                rounds.push((alone, start, whole));
            }
        }
        let spread =
            |value: &dyn Fn(&(Took, Took, Took)) -> f64| Spread::of(rounds.iter().map(value));
        let number = texts.len() as f64;
        let rate = spread(&|(alone, _, _)| number / alone.seconds);
        let embed = spread(&|(_, start, whole)| number / (whole.seconds - start.seconds));
        let starts = spread(&|(_, start, _)| start.seconds);
        let ratio = |(alone, start, whole): &(Took, Took, Took)| {
            alone.seconds / (whole.seconds - start.seconds)
        };
        let cpu = |(alone, start, whole): &(Took, Took, Took)| (whole.cpu - start.cpu) / alone.cpu;
        println!(
            "| {name} | {number} | {rate} | {embed} | {starts} | {} | {} |",
            precise(spread(&ratio)),
            precise(spread(&cpu)),
        );
    }
    Ok(())
}

/// A spread with three decimal places.
fn precise(Spread { median, min, max }: Spread) -> String {
    format!("{median:.3} ({min:.3} to {max:.3})")
}
