//! `lexivec convert`.

use std::path::PathBuf;

use anyhow::bail;
use lexivec::default_calibration;
use lexivec_convert::{AccuracyTarget, Calibration, ConversionReport, ConvertOptions, convert};
use lexivec_models::{
    AttentionForm, Blocks, Compute, Layout, LinearPrecision, Precision, Quantization, Target,
    Verification, WeightStorage,
};
use lexivec_runtime::{Provider, unservable, unsupported};

use super::common::{CheckpointArgs, all_texts, library};
use super::progress::ConversionBar;
use super::{Usage, engines, resolve};
use crate::embed::Reader;
use crate::interrupt;
use crate::paths::resolve_links;
use crate::stdio::{self, say};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Checkpoint folder, or hub id such as Qwen/Qwen3-Embedding-4B
    #[arg(env = "LEXIVEC_SOURCE")]
    source: String,

    /// Output folder. With several precisions, the parent of their folders. Default: ./NAME-PRECISION
    #[arg(short, long, env = "LEXIVEC_OUTPUT", value_name = "DIR")]
    output: Option<PathBuf>,

    /// Precision: fp32, fp16, bf16, fp8, int8, int8-weight or int4-weight; may be repeated. The default fp32 is exact and runs everywhere.
    /// int8 is the fastest on CPUs. fp16 and bf16 are for GPUs, fp8 for CUDA. int8-weight and int4-weight make the smallest files
    #[arg(
        short,
        long,
        env = "LEXIVEC_PRECISION",
        value_delimiter = ',',
        default_value = "fp32"
    )]
    precision: Vec<Precision>,

    /// Execution provider that will serve the model: cpu, cuda, tensorrt, tensorrt-rtx or openvino. It decides the operators and
    /// the meaning of a precision: int8 is integer arithmetic on cpu and tensorrt, and 8-bit weights with float16 activations on
    /// cuda
    #[arg(
        long,
        env = "LEXIVEC_EP",
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "cpu"
    )]
    ep: Vec<Provider>,

    /// Operator set: `cpu` (lexivec's own operators), `ort` (ONNX Runtime's), `cuda`, `tensorrt`, or `standard` for other tools, which
    /// has only operators of ONNX opset 23.
    /// Default: that of --ep
    #[arg(long, env = "LEXIVEC_TARGET")]
    target: Option<Target>,

    /// Form of attention for --ep cuda: `standard` needs the least memory; `grouped` runs fewer kernels and answers single short
    /// texts about 8 % faster
    #[arg(long, env = "LEXIVEC_ATTENTION", default_value_t = AttentionForm::Standard)]
    attention: AttentionForm,

    /// Inputs and outputs: `packed` is lexivec's own, without padding; `padded` (input_ids, attention_mask ->
    /// sentence_embedding, last_hidden_state) is for other tools
    #[arg(long, env = "LEXIVEC_LAYOUT", default_value_t = Layout::Packed)]
    layout: Layout,

    /// File of texts like those that the model will embed, for calibrating a quantised or fp16 model: .txt (one text per line),
    /// .jsonl or .csv (field or column `text`). A few hundred texts are plenty. Default: a built-in set of terms, sentences and
    /// code in many languages
    #[arg(long, env = "LEXIVEC_CALIBRATION", value_name = "FILE")]
    calibration: Option<PathBuf>,

    /// Least cosine to fp32 that a quantised model must reach on every calibration text. The fewest linear groups that suffice
    /// are computed more finely; `lexivec inspect` shows which. 0 computes none more finely. Default: 0.999; for fp8 0.99, and
    /// 0.995 in the mean; for int4-weight 0.95, and 0.99 in the mean, as far as 100 MB more allow
    #[arg(long, env = "LEXIVEC_CALIBRATION_COSINE", value_name = "COSINE")]
    min_cosine: Option<f64>,

    /// Skip calibration and round weights to nearest. That takes seconds instead of minutes, and makes a far less accurate model.
    /// Values that are too large for fp16 are not rescaled
    #[arg(long, env = "LEXIVEC_NO_CALIBRATION")]
    no_calibration: bool,

    /// Weights that share a scale in int8-weight and int4-weight: 32, 64 or 128. Smaller blocks are more accurate, larger ones
    /// store fewer scales
    #[arg(long, env = "LEXIVEC_BLOCK_SIZE", value_name = "WEIGHTS", default_value_t = Blocks::default().size, value_parser = block_size)]
    block_size: usize,

    /// Give each block of int8-weight and int4-weight a zero point besides its scale. The model becomes a little more accurate, a
    /// little larger, and slower on some GPUs
    #[arg(long, env = "LEXIVEC_ZERO_POINTS")]
    zero_points: bool,

    /// Type of activations of int8-weight and int4-weight: fp32 or fp16. Default: fp32 for --ep cpu, fp16 for GPUs
    #[arg(long, env = "LEXIVEC_COMPUTE")]
    compute: Option<Compute>,

    /// Replace a model directory at the output path
    #[arg(long, env = "LEXIVEC_FORCE")]
    force: bool,

    /// Skip verification, which compares the result with the fp32 graph of the same checkpoint
    #[arg(long, env = "LEXIVEC_NO_VERIFY")]
    no_verify: bool,

    /// ONNX Runtime's library for calibration and verification; see `lexivec serve --help`
    #[arg(long, env = "LEXIVEC_ONNXRUNTIME", value_name = "PATH")]
    onnxruntime: Option<PathBuf>,

    #[command(flatten)]
    checkpoint: CheckpointArgs,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut precisions = args.precision.clone();
    precisions.sort_unstable();
    precisions.dedup();
    if precisions.len() != args.precision.len() {
        return Err(Usage("--precision names a precision twice".to_owned()).into());
    }
    let calibration = args.calibration()?;
    let provider = args.ep.first().copied().unwrap_or(Provider::Cpu);
    let onnxruntime = library(args.onnxruntime.as_ref());
    engines::prepare(provider, onnxruntime.as_deref());
    let checkpoint = resolve::checkpoint(&args.source, &args.checkpoint)?;
    for note in &checkpoint.notes {
        say!("note: {note}");
    }
    for precision in &args.precision {
        let name = checkpoint.source.name.rsplit('/').next().unwrap_or("model");
        let output = match &args.output {
            Some(dir) if args.precision.len() > 1 => dir.join(precision.as_str()),
            Some(dir) => dir.clone(),
            None if provider == Provider::Cpu => PathBuf::from(format!("{name}-{precision}")),
            None => PathBuf::from(format!("{name}-{precision}-{provider}")),
        };
        let output = resolve_links(&output)?;
        let options = ConvertOptions {
            calibration: calibration.clone(),
            ..args.options(provider, *precision)
        };
        let options = match args.target {
            Some(_) => options,
            None => {
                say_if_for_another_provider(&options);
                options.suited_to(&checkpoint.decoder)
            }
        };
        let _listening = interrupt::listen();
        let bar = ConversionBar::default();
        let report = convert(&checkpoint, &output, &options, &bar);
        bar.clear();
        let report = report?;
        print(options.precision, &report)?;
        // The notes of the checkpoint have been printed above.
        for note in report
            .notes
            .iter()
            .filter(|n| !checkpoint.notes.contains(n))
        {
            stdio::print(&format!("  note: {note}"))?;
        }
        if report.quantization.as_ref().is_some_and(missed_target) {
            stdio::print("  hint: `--min-cosine` reaches a least cosine whatever it costs")?;
        }
        engines::build(provider, &report.dir, onnxruntime.as_deref())?;
    }
    Ok(())
}

/// Says so if the default target of a precision is another provider's. A machine without a GPU may convert for one.
fn say_if_for_another_provider(options: &ConvertOptions) {
    let ConvertOptions {
        provider, target, ..
    } = options;
    let form = options.form();
    if unservable(form).is_none()
        && let Some(reason) = unsupported(*provider, form)
    {
        say!(
            "note: this model is for GPUs (target {target}). {reason} to serve it with --ep {provider}"
        );
    }
}

impl Args {
    /// The options that suit the provider best, unless flags say otherwise.
    fn options(&self, provider: Provider, precision: Precision) -> ConvertOptions {
        let options = ConvertOptions::for_provider(provider, Some(precision));
        ConvertOptions {
            target: self.target.unwrap_or(options.target),
            attention: self.attention,
            layout: self.layout,
            blocks: Blocks {
                size: self.block_size,
                zero_points: self.zero_points,
                compute: self.compute.unwrap_or(options.blocks.compute),
            },
            verify: !self.no_verify,
            force: self.force,
            onnxruntime: library(self.onnxruntime.as_ref()),
            ..options
        }
    }

    /// How models are calibrated; `None` for --no-calibration.
    fn calibration(&self) -> anyhow::Result<Option<Calibration>> {
        if self.min_cosine.is_some_and(|c| !(0.0..1.0).contains(&c)) {
            return Err(Usage("--min-cosine must be at least 0 and below 1".to_owned()).into());
        }
        if self.no_calibration && self.calibration.is_some() {
            let reason = "--no-calibration and --calibration exclude each other: give one of them";
            return Err(Usage(reason.to_owned()).into());
        }
        if self.no_calibration {
            return Ok(None);
        }
        let mut calibration = Calibration {
            accuracy_target: self.min_cosine.map(AccuracyTarget::at_least),
            ..default_calibration()
        };
        if let Some(file) = &self.calibration {
            let texts =
                Reader::new(std::slice::from_ref(file), None, "text", "text").map_err(Usage)?;
            let texts = all_texts(texts)?.into_iter();
            calibration.texts = texts.map(|text| text.text).collect();
            if calibration.texts.iter().all(|t| t.trim().is_empty()) {
                bail!("{}: the file holds no text", file.display());
            }
        }
        Ok(Some(calibration))
    }
}

fn block_size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok();
    let sizes = Blocks::SIZES;
    size.filter(|size| sizes.contains(size))
        .ok_or_else(|| format!("a block has {sizes:?} weights"))
}

fn print(precision: Precision, report: &ConversionReport) -> anyhow::Result<()> {
    let weights = match report.weights {
        WeightStorage::Own => "in model.onnx.data",
        WeightStorage::Linked => "the checkpoint's own safetensors, hard-linked",
        WeightStorage::Cloned => {
            "the checkpoint's own safetensors, cloned: they share its disk blocks"
        }
        WeightStorage::Copied => "the checkpoint's own safetensors, copied (another file system)",
    };
    let mut text = format!(
        "{} ({precision})\n  {:.1} MB in {:.1} s; weights: {weights}\n",
        report.dir.display(),
        report.bytes as f64 / 1e6,
        report.seconds
    );
    if let Some(quantization) = &report.quantization {
        text += &format!("  {}\n", calibrated(quantization));
    }
    stdio::print(&format!("{text}  {}", verification(&report.verification)))
}

/// Whether a calibration missed its accuracy target.
fn missed_target(q: &Quantization) -> bool {
    q.min_cosine < q.min_cosine_asked || q.mean_cosine < q.mean_cosine_asked
}

/// One line about the result of a calibration.
pub(crate) fn calibrated(q: &Quantization) -> String {
    let count = |precision| {
        q.linear_groups
            .iter()
            .filter(|p| p.precision == precision)
            .count()
    };
    let counts = LinearPrecision::ALL
        .iter()
        .map(|p| (count(*p), p))
        .filter(|(count, _)| *count > 0)
        .map(|(count, precision)| format!("{count} {precision}"));
    format!(
        "calibrated on {} texts ({} tokens): cosine min {:.6}, mean of held-out texts {:.6}; linear groups: {}",
        q.texts,
        q.tokens,
        q.min_cosine,
        q.mean_cosine,
        counts.collect::<Vec<_>>().join(", ")
    )
}

/// One line about the outcome of a verification.
pub(crate) fn verification(outcome: &Verification) -> String {
    match outcome {
        Verification::Passed {
            against,
            on,
            texts,
            min_cosine,
            mean_cosine,
            worst_text,
        } => format!(
            "verified on {on} against {against}, {texts} texts: cosine min {min_cosine:.6}, mean {mean_cosine:.6}; worst: {worst_text:?}"
        ),
        Verification::Skipped { reason } => format!("not verified: {reason}"),
    }
}
