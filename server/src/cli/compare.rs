//! `lexivec compare`.

use std::process::ExitCode;

use lexivec_convert::compare::{CHUNK, Comparison, Measured, REPORT_FORMAT, Report, Side};

use super::common::SourceArgs;
use super::compare_args::{DataArgs, EndpointArgs, GateArgs, MeasureArgs, OutputArgs};
use super::compute_args::ComputeArgs;
use super::machine;
use super::progress::ConversionBar;
use crate::compare::{Sides, footprint, terminal};
use crate::stdio::{print, say};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A side is a model directory, a checkpoint (folder or hub id: its fp32 graph, on the CPU), or the \
                        address of a server with the OpenAI API: http://host:30000/v1, or http://host:30000/v1#MODEL.\n\
                        Exit code 1 says that a gate failed, or the comparison itself; 2 wrong usage."
)]
pub(crate) struct Args {
    /// What the candidates are held against
    baseline: String,

    /// What is held against it
    #[arg(required = true)]
    candidates: Vec<String>,

    #[command(flatten)]
    data: DataArgs,

    #[command(flatten)]
    measures: MeasureArgs,

    #[command(flatten)]
    gates: GateArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    endpoint: EndpointArgs,

    #[command(flatten)]
    compute: ComputeArgs,

    #[command(flatten)]
    source: SourceArgs,

    /// Measure what loading the side of this number costs, and nothing else; the program calls itself with it
    #[arg(long, env = "LEXIVEC_FOOTPRINT", hide = true)]
    footprint: Option<usize>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.output.check(&args.data.files())?;
    let settings = args.measures.settings()?;
    let gates = args.gates.checked()?;
    let mut options = args.compute.engine_options(CHUNK)?;
    // Speed is that of texts that are new, and here the same ones come round after round.
    options.session.prefix_bytes = 0;
    // A candidate runs beside the baseline.
    options.gpu_memory.engines = 2;
    let given: Vec<String> = std::iter::once(&args.baseline)
        .chain(&args.candidates)
        .cloned()
        .collect();
    let sides = Sides::new(
        given,
        &args.endpoint,
        options,
        &args.source,
        &settings.dimensions,
    )?;
    if let Some(number) = args.footprint {
        let found = footprint::here(&sides.files(number)?, || sides.open(number))?;
        print(&serde_json::to_string(&found)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (data, mut facts) = args.data.read(&settings)?;
    let bar = ConversionBar::of_texts();
    let comparison = Comparison {
        data: &data,
        settings: &settings,
        progress: &bar,
    };

    // A server that cannot be asked is found out before a model is loaded.
    for number in (0..=args.candidates.len()).filter(|n| sides.is_endpoint(*n)) {
        sides.open(number)?;
    }
    let measured = |number: usize| -> anyhow::Result<Measured> {
        let mut side: Side = sides.open(number)?;
        if !sides.is_endpoint(number) {
            match footprint::measure(number, &comparison.speed_texts()) {
                Ok(found) => side.facts.footprint = Some(found),
                Err(error) => side
                    .facts
                    .notes
                    .push(format!("what loading it costs is not known: {error:#}")),
            }
        }
        Ok(comparison.measure(side)?)
    };
    let mut baseline = measured(0)?;
    let mut tokens_told = baseline.tells_lengths();
    let mut candidates = Vec::new();
    for number in 1..=args.candidates.len() {
        let mut candidate = measured(number)?;
        tokens_told |= candidate.tells_lengths();
        candidates.push(comparison.hold(&mut baseline, &mut candidate)?);
    }
    bar.clear();
    if !tokens_told {
        "characters".clone_into(&mut facts.length_unit);
    }
    let report = Report {
        format: REPORT_FORMAT,
        program: concat!("lexivec ", env!("CARGO_PKG_VERSION")).to_owned(),
        machine: machine::cpu(),
        data: facts,
        baseline: comparison.baseline(&baseline),
        gates: candidates.iter().flat_map(|c| gates.judge(c)).collect(),
        candidates,
    };
    print(terminal::write(&report).trim_end())?;
    args.output.write(&report)?;
    let failed: Vec<_> = report.gates.iter().filter(|v| !v.passed).collect();
    for verdict in &failed {
        say!("error: {verdict}");
    }
    Ok(match failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
