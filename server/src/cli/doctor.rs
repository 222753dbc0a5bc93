//! `lexivec doctor`: reports the state of the machine, and says how to install what is missing.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use lexivec_models::secrets::without_password;
use lexivec_models::text::message;
use lexivec_models::{Manifest, cache_dir, endpoint, find, hub_cache, is_hub_id, reachable};
use lexivec_runtime::{
    BatchSize, Library, ModelInfo, Provider, ProviderSettings, fit, limit_length, probe,
};
use serde::Serialize;

use super::compute_args::ComputeArgs;
use super::machine;
use crate::hints::with_hint;
use crate::stdio::{print, print_exactly};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model directory to check. The report says whether --ep can serve it and, with --ep cuda, how much memory of the GPUs it
    /// will take
    #[arg(env = "LEXIVEC_MODEL")]
    model: Option<PathBuf>,

    /// Print JSON instead of a table
    #[arg(long, env = "LEXIVEC_JSON")]
    json: bool,

    #[command(flatten)]
    compute: ComputeArgs,
}

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    /// Information only.
    Note,
    /// Serving would fail.
    Failed,
}

/// A line of the report.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    status: Status,
    value: String,
}

/// The findings, in the order in which they are printed.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, what: &str, status: Status, value: String) {
        let what = what.to_owned();
        self.0.push(Finding {
            what,
            status,
            value,
        });
    }

    fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            return print_exactly(&serde_json::to_string_pretty(&self.0)?);
        }
        for finding in &self.0 {
            let mark = match finding.status {
                Status::Ok => "ok",
                Status::Note => "-",
                Status::Failed => "FAILED",
            };
            print(&format!(
                "{:15} {mark:6} {}",
                finding.what,
                message(&finding.value)
            ))?;
        }
        Ok(())
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut found = Findings::default();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    found.add("lexivec", Status::Ok, version);
    let providers = args.compute.providers()?;
    look_at_providers(&args.compute, &providers, &mut found);
    found.add("cpu", Status::Note, machine::cpu());
    found.add("gpu", Status::Note, machine::gpus());
    found.add("cudnn", Status::Note, machine::cudnn());
    if args.compute.ep.contains(&Provider::Cuda) {
        match lexivec_runtime::gpus() {
            Ok(gpus) => {
                for gpu in gpus {
                    let value = format!("{} of {} are free", gb(gpu.free), gb(gpu.total));
                    found.add(&format!("gpu {}", gpu.device), Status::Note, value);
                }
            }
            Err(error) => found.add("gpu memory", Status::Failed, error),
        }
    }
    if let Some(model) = &args.model {
        let (status, value) = match look_at_model(model, &args.compute, &providers) {
            Ok(finding) => finding,
            Err(error) => (Status::Failed, with_hint(&error)),
        };
        found.add("model", status, value);
    }
    let hub = reachable(Duration::from_secs(3));
    let hub = hub.map_or_else(
        |e| format!("not reachable ({e}); what is cached still serves"),
        |()| "reachable".to_owned(),
    );
    found.add(
        "hub",
        Status::Note,
        format!("{}: {hub}", without_password(&endpoint())),
    );
    found.add("hub cache", Status::Note, machine::folder(&hub_cache()));
    match cache_dir() {
        Ok(dir) => found.add("cache", Status::Note, machine::folder(&dir)),
        Err(error) => found.add("cache", Status::Failed, error.to_string()),
    }
    found.print(args.json)?;
    let failed = found.0.iter().any(|f| f.status == Status::Failed);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Checks that ONNX Runtime loads and its providers start: those of --ep on every GPU of --devices.
fn look_at_providers(compute: &ComputeArgs, providers: &ProviderSettings, found: &mut Findings) {
    let library = Library::load(compute.library().as_deref(), providers.wants_gpu_build());
    let library = match library {
        Ok(library) => library,
        Err(error) => return found.add("onnxruntime", Status::Failed, with_hint(&error.into())),
    };
    let value = format!(
        "{} at {} ({})",
        library.version(),
        library.path().display(),
        library.origin()
    );
    found.add("onnxruntime", Status::Ok, value);
    for provider in Provider::ALL {
        // A provider that --ep does not name may be missing.
        let asked = compute.ep.contains(&provider);
        let missing = match asked {
            true => Status::Failed,
            false => Status::Note,
        };
        let devices = match asked && provider.on_gpu() {
            true => &compute.devices[..],
            false => &compute.devices[..1],
        };
        for device in devices {
            let what = match devices.len() {
                1 => format!("ep {provider}"),
                _ => format!("ep {provider}, {device}"),
            };
            let on_device = ProviderSettings {
                device: *device,
                ..providers.clone()
            };
            match probe(library, provider, &on_device) {
                Ok(()) => found.add(&what, Status::Ok, "starts".to_owned()),
                Err(error) => found.add(&what, missing, with_hint(&error.into())),
            }
        }
    }
}

/// Checks that the providers can serve the model in a folder, and predicts its memory on a GPU.
fn look_at_model(
    dir: &Path,
    compute: &ComputeArgs,
    providers: &ProviderSettings,
) -> anyhow::Result<(Status, String)> {
    let name = dir.display();
    if !dir.is_dir() {
        return Ok(missing_folder(&name.to_string()));
    }
    if let super::SourceKind::Checkpoint { .. } = super::source_kind(&name.to_string(), false)? {
        let value = format!("{name}: not a model directory; `serve` converts a checkpoint first");
        return Ok((Status::Note, value));
    }
    let mut value = "ONNX export of another tool".to_owned();
    if Manifest::is_model_dir(dir) {
        let form = Manifest::read(dir)?.form();
        providers.check(form)?;
        value = format!("{}, target {}", form.precision, form.target);
    }
    if providers.first() == Provider::Cuda {
        value = format!("{value}; {}", prediction(dir, compute)?);
    }
    if providers.first() == Provider::Cpu {
        let mut info = ModelInfo::read(dir)?;
        limit_length(&mut info, &compute.engine_options(1)?);
        value = format!("{value}; texts of up to {} tokens", info.max_length);
    }
    Ok((Status::Ok, value))
}

/// A model that is not a folder: the environment of a server may name one that `serve` downloads.
fn missing_folder(name: &str) -> (Status, String) {
    match is_hub_id(name) || find(name).is_some() {
        true => (
            Status::Note,
            format!("{name}: not a folder on this machine; `serve` looks for it on the hub"),
        ),
        false => (
            Status::Failed,
            format!(
                "{name}: there is no such folder, and it is not a hub id such as Qwen/Qwen3-Embedding-0.6B"
            ),
        ),
    }
}

/// Predicts the GPU memory of one session of a model, and the limits that follow from it.
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
