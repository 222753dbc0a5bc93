//! `lexivec doctor`: what was found, and what to do about what is missing.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use lexivec_models::{cache_dir, endpoint, hub_cache, reachable};
use lexivec_runtime::{
    Library, ModelInfo, Provider, fit, memory::BatchSize, probe, system_library,
};
use serde::Serialize;

use super::compute_args::ComputeArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A model directory: says what it will take of the GPUs' memory, with --ep cuda
    #[arg(env = "LEXIVEC_MODEL")]
    model: Option<PathBuf>,

    /// Print JSON instead of a table
    #[arg(long, env = "LEXIVEC_JSON")]
    json: bool,

    #[command(flatten)]
    compute: ComputeArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    /// For information.
    Note,
    /// Serving would fail.
    Failed,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    status: Status,
    value: String,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut findings = Vec::new();
    let mut add = |what: &str, status, value: String| {
        findings.push(Finding {
            what: what.to_owned(),
            status,
            value,
        })
    };
    add("lexivec", Status::Ok, env!("CARGO_PKG_VERSION").to_owned());
    let providers = args.compute.providers()?;
    match Library::load(
        args.compute.library().as_deref(),
        providers.wants_gpu_build(),
    ) {
        Ok(library) => {
            add(
                "onnxruntime",
                Status::Ok,
                format!("{} at {}", library.version(), library.path().display()),
            );
            for provider in Provider::ALL {
                // One that was not asked for and does not start is no fault.
                let missing = if args.compute.ep.contains(&provider) {
                    Status::Failed
                } else {
                    Status::Note
                };
                match probe(library, provider, &providers) {
                    Ok(()) => add(&format!("ep {provider}"), Status::Ok, "starts".to_owned()),
                    Err(error) => add(&format!("ep {provider}"), missing, error.to_string()),
                }
            }
        }
        Err(error) => add("onnxruntime", Status::Failed, error.to_string()),
    }
    add("cpu", Status::Note, cpu());
    add("gpu", Status::Note, gpus());
    add("cudnn", Status::Note, cudnn());
    if args.compute.ep.contains(&Provider::Cuda) {
        match lexivec_runtime::gpus() {
            Ok(gpus) => {
                for gpu in gpus {
                    let value = format!("{} of {} are free", gb(gpu.free), gb(gpu.total));
                    add(&format!("gpu {}", gpu.device), Status::Note, value);
                }
            }
            Err(error) => add("gpu memory", Status::Failed, error),
        }
        // A server's environment may name a model that the hub has.
        if let Some(dir) = args.model.as_deref().filter(|dir| dir.is_dir()) {
            match prediction(dir, &args.compute) {
                Ok(value) => add("model", Status::Ok, value),
                Err(error) => add("model", Status::Failed, error.to_string()),
            }
        }
    }
    let hub = reachable(Duration::from_secs(3));
    let hub = hub.map_or_else(
        |e| format!("not reachable ({e}); what is cached still serves"),
        |()| "reachable".to_owned(),
    );
    add("hub", Status::Note, format!("{}: {hub}", endpoint()));
    add("hub cache", Status::Note, folder(&hub_cache()));
    match cache_dir() {
        Ok(dir) => add("cache", Status::Note, folder(&dir)),
        Err(error) => add("cache", Status::Failed, error.to_string()),
    }

    if args.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        for finding in &findings {
            let mark = match finding.status {
                Status::Ok => "ok",
                Status::Note => "-",
                Status::Failed => "FAILED",
            };
            println!("{:15} {mark:6} {}", finding.what, finding.value);
        }
    }
    let failed = findings.iter().any(|f| f.status == Status::Failed);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Cores, memory, and the instructions that int8 products profit from.
pub(super) fn cpu() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = fs_err::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = info
        .lines()
        .find(|line| line.starts_with("flags"))
        .unwrap_or_default();
    let has = |flag: &str| flags.split_whitespace().any(|f| f == flag);
    let features = [
        ("avx2", "AVX2"),
        ("avx512f", "AVX-512"),
        ("avx512_vnni", "AVX-512 VNNI"),
        ("avx_vnni", "AVX-VNNI"),
        ("avx512_bf16", "AVX-512 BF16"),
        ("amx_int8", "AMX int8"),
        ("amx_bf16", "AMX bf16"),
    ];
    let found: Vec<&str> = features
        .iter()
        .filter(|(flag, _)| has(flag))
        .map(|(_, name)| *name)
        .collect();
    let memory = fs_err::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = memory
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<f64>().ok())
        .unwrap_or(0.0);
    let integer = if has("avx512_vnni") || has("avx_vnni") || has("amx_int8") {
        ""
    } else {
        "; no VNNI: int8 is slower here, and its 16-bit sums may saturate"
    };
    format!(
        "{cores} cores, {:.0} GiB, {}{integer}",
        total / f64::from(1 << 20),
        found.join(", ")
    )
}

/// What one session of a model takes of a GPU's memory, and what follows from it.
fn prediction(dir: &Path, compute: &ComputeArgs) -> anyhow::Result<String> {
    let mut options = compute.engine_options(1)?;
    let mut info = ModelInfo::read(dir)?;
    let padding = options.limits.max_padding;
    let Some(fit) = fit(dir, &mut info, &mut options)? else {
        return Ok("free GPU memory is unknown, so batches are not bounded by it".to_owned());
    };
    let may_take = format!("may take {} of GPU {}", gb(fit.session), fit.gpu.device);
    let Some(model) = &fit.model else {
        return Ok(format!(
            "{may_take}; its needs are unknown, because it was not converted with `--ep cuda`"
        ));
    };
    let batch = BatchSize::worst(fit.max_tokens, padding, fit.max_length);
    Ok(format!(
        "{} of weights, up to {} for a batch of {} tokens; texts of up to {} tokens; {may_take}",
        gb(model.weights()),
        gb(model.activations(batch)),
        fit.max_tokens,
        fit.max_length,
    ))
}

fn gb(bytes: usize) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}

fn gpus() -> String {
    let query = [
        "--query-gpu=name,memory.total,driver_version",
        "--format=csv,noheader",
    ];
    let Ok(output) = Command::new("nvidia-smi").args(query).output() else {
        return "none (no nvidia-smi)".to_owned();
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    if lines.is_empty() {
        "none".to_owned()
    } else {
        lines.join("; ")
    }
}

fn cudnn() -> String {
    system_library("libcudnn.so.9").map_or_else(
        || "none; --ep tensorrt needs it, and padded graphs do on --ep cuda".to_owned(),
        |path| path.display().to_string(),
    )
}

fn folder(path: &Path) -> String {
    let size = size(path);
    if size > 0 {
        format!("{} ({:.1} MB)", path.display(), size as f64 / 1e6)
    } else {
        format!("{} (empty)", path.display())
    }
}

fn size(path: &Path) -> u64 {
    let Ok(entries) = fs_err::read_dir(path) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size(&entry.path()),
        // Links are not followed: a hub cache links to its own files.
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |m| m.len()),
        _ => 0,
    });
    sizes.sum()
}
