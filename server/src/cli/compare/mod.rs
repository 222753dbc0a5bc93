//! `lexivec compare`.

mod args;
mod data_args;
mod footprint;
mod pair_files;
mod systems;

use std::process::ExitCode;

use lexivec_evaluate::{CHUNK, Comparison, ComparisonReport, MeasuredSystem, REPORT_FORMAT};

use super::common::SourceArgs;
use super::compute_args::ComputeArgs;
use super::machine;
use super::progress::ConversionBar;
use crate::stdio::{print, print_exactly, say};
use args::{EndpointArgs, GateArgs, MeasureArgs, OutputArgs};
use data_args::DataArgs;
use systems::Systems;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A system is a model directory, a checkpoint (folder or hub id; it runs as its fp32 graph on the CPU), or the \
                        address of a server with the OpenAI API: http://host:30000/v1, or http://host:30000/v1#MODEL.\n\
                        Exit codes: 1 if a gate or the comparison failed, 2 for wrong usage."
)]
pub(crate) struct Args {
    /// System that the candidates are compared with
    baseline: String,

    /// Systems that are compared with the baseline
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
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.output.check(&args.data.files())?;
    let settings = args.measures.settings()?;
    let gates = args.gates.checked()?;
    let mut options = args.compute.engine_options(CHUNK)?;
    // The same texts are embedded round after round. A KV cache for prefixes would make them faster than new texts.
    options.session.kv_cache_bytes = 0;
    // A candidate runs beside the baseline.
    options.gpu_memory.engines = 2;
    let given: Vec<String> = std::iter::once(&args.baseline)
        .chain(&args.candidates)
        .cloned()
        .collect();
    let systems = Systems::new(
        given,
        &args.endpoint,
        options,
        &args.source,
        &settings.dimensions,
    )?;
    if let Some(number) = footprint::wanted() {
        let found = footprint::measure_here(&systems.files(number)?, || systems.open(number))?;
        print_exactly(&serde_json::to_string(&found)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (data, mut facts) = args.data.read(&settings)?;
    let bar = ConversionBar::of_texts();
    let comparison = Comparison {
        data: &data,
        settings: &settings,
        progress: &bar,
    };

    // Connects to all servers before it loads a model, so that an unreachable one is reported at once.
    for number in (0..=args.candidates.len()).filter(|n| systems.is_endpoint(*n)) {
        systems.open(number)?;
    }
    let measured = |number: usize| -> anyhow::Result<MeasuredSystem> {
        let mut system = systems.open(number)?;
        if !systems.is_endpoint(number) {
            match footprint::measure(number, &comparison.speed_texts()) {
                Ok(found) => system.facts.footprint = Some(found),
                Err(error) => system
                    .facts
                    .notes
                    .push(format!("its footprint could not be measured: {error:#}")),
            }
        }
        Ok(comparison.measure(system)?)
    };
    let mut baseline = measured(0)?;
    let mut tokens_reported = baseline.reports_lengths();
    let mut candidates = Vec::new();
    for number in 1..=args.candidates.len() {
        let mut candidate = measured(number)?;
        tokens_reported |= candidate.reports_lengths();
        candidates.push(comparison.compare(&mut baseline, &mut candidate)?);
    }
    bar.clear();
    if !tokens_reported {
        "characters".clone_into(&mut facts.length_unit);
    }
    let report = ComparisonReport {
        format: REPORT_FORMAT,
        program: concat!("lexivec ", env!("CARGO_PKG_VERSION")).to_owned(),
        machine: machine::cpu(),
        data: facts,
        baseline: comparison.baseline(&baseline),
        gates: candidates.iter().flat_map(|c| gates.judge(c)).collect(),
        candidates,
    };
    print(report.to_terminal().trim_end())?;
    args.output.write(&report)?;
    let failed: Vec<_> = report.gates.iter().filter(|v| !v.passed).collect();
    for verdict in &failed {
        say!("error: {}: {verdict}", args::flag_of(verdict.gate));
    }
    Ok(match failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
