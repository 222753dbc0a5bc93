//! `lexivec serve`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use anyhow::{Context as _, bail};
use lexivec_models::Precision;
use lexivec_runtime::{Engine, EngineOptions, Error, Library, Provider, Request};

use super::address::warn_of_service_link;
use super::cache_args::CacheArgs;
use super::common::{DomainArgs, SourceArgs};
use super::compute_args::ComputeArgs;
use super::default_timeout::{MINIMUM, time_of_longest_text};
use super::http_args::HttpArgs;
use super::logging::LogArgs;
use super::{Usage, resolve};
use crate::http::{self, AppState, Budget, Exporter, ServedModel};
use crate::projections::{Projections, name_and_file};
use crate::stdio::say;
use crate::{interrupt, memory_trim};

/// How long a running batch without a waiting client may take when the server stops.
const LAST_BATCH: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model directory, checkpoint folder, or hub id such as Qwen/Qwen3-Embedding-0.6B. A checkpoint is converted on first use,
    /// and the result is kept in the cache folder
    #[arg(env = "LEXIVEC_MODEL", required_unless_present = "models")]
    model: Option<String>,

    /// Additional model, under a name of its own; may be repeated. Each model has its own sessions and limits. In the configuration
    /// file the key is `models`
    #[arg(long = "model", env = "LEXIVEC_MODELS", value_name = "NAME=MODEL", value_delimiter = ',', value_parser = name_and_model)]
    models: Vec<(String, String)>,

    /// Name of the first model in requests and responses. Default: the checkpoint's name
    #[arg(
        long,
        env = "LEXIVEC_SERVED_MODEL_NAME",
        value_name = "NAME",
        requires = "model"
    )]
    served_model_name: Option<String>,

    /// Precision that a checkpoint is converted to on first use. Choose int8 for the fastest responses on a CPU; fp16 or bf16 on
    /// a GPU. Default: fp32 on cpu and openvino, fp16 on GPUs
    #[arg(short, long, env = "LEXIVEC_PRECISION")]
    precision: Option<Precision>,

    /// Sessions per device. More than one keeps a large GPU busy with a small model; each session has a copy of the weights
    #[arg(long, env = "LEXIVEC_SESSIONS", value_name = "N", default_value_t = EngineOptions::default().sessions)]
    sessions: usize,

    /// Texts of a model that may be in flight at a time: accepted and not answered yet. A request that does not fit gets 429 at
    /// once. A request of more than an eighth of them must leave an eighth free for smaller ones. The default allows four requests
    /// of the largest size and many small ones
    #[arg(
        long,
        env = "LEXIVEC_QUEUE",
        value_name = "TEXTS",
        default_value_t = EngineOptions::default().queue
    )]
    queue: usize,

    /// Seconds that a request may take, waiting included, before it gets 503. Give clients a longer timeout than this. Default:
    /// the time that one text of the maximum length takes, as estimated when a model is loaded, and at least 60
    #[arg(long, env = "LEXIVEC_REQUEST_TIMEOUT", value_name = "SECONDS")]
    request_timeout: Option<u64>,

    /// Seconds after which a running batch counts as stuck and /readyz answers 503. Default: twice --request-timeout
    #[arg(long, env = "LEXIVEC_STUCK_AFTER", value_name = "SECONDS")]
    stuck_after: Option<u64>,

    /// Reject token ids as `input`. A client that tokenises for another model then gets an error instead of wrong vectors
    #[arg(long, env = "LEXIVEC_REFUSE_TOKEN_IDS")]
    refuse_token_ids: bool,

    /// Projection that `lexivec terms` wrote, under a name that requests give as `projection`; may be repeated. Its principal
    /// components reduce the vectors of the model that it was computed from
    #[arg(long = "projection", env = "LEXIVEC_PROJECTIONS", value_name = "NAME=FILE", value_delimiter = ',', value_parser = name_and_file)]
    projections: Vec<(String, PathBuf)>,

    #[command(flatten)]
    http: HttpArgs,

    #[command(flatten)]
    cache: CacheArgs,

    #[command(flatten)]
    logs: LogArgs,

    #[command(flatten)]
    domains: DomainArgs,

    #[command(flatten)]
    compute: ComputeArgs,

    #[command(flatten)]
    source: SourceArgs,
}

impl Args {
    /// Checks all options that need no model.
    fn check(&self) -> Result<EngineOptions, Usage> {
        for (flag, value) in [
            ("--queue", self.queue as u64),
            ("--sessions", self.sessions as u64),
            ("--request-timeout", self.request_timeout.unwrap_or(1)),
            ("--stuck-after", self.stuck_after.unwrap_or(1)),
        ] {
            if value == 0 {
                return Err(Usage(format!("{flag} must be at least 1")));
            }
        }
        let mut options = self.compute.engine_options(self.queue)?;
        options.sessions = self.sessions;
        if let Some(bytes) = self.cache.prefix_cache_bytes {
            options.session.kv_cache_bytes = bytes;
        }
        Ok(options)
    }

    /// How long a request may take: --request-timeout, or the time of the longest text of the slowest model.
    fn request_timeout(&self, models: &[ServedModel], provider: Provider) -> Duration {
        let needed = || {
            models
                .iter()
                .map(|model| time_of_longest_text(&model.engine, provider))
                .max()
        };
        let asked = self.request_timeout.map(Duration::from_secs);
        asked.or_else(needed).unwrap_or(MINIMUM)
    }

    /// The models to serve, each with the name that a flag gives it.
    fn sources(&self) -> Vec<(Option<&str>, &str)> {
        let first = self
            .model
            .as_deref()
            .map(|source| (self.served_model_name.as_deref(), source));
        let further = self.models.iter();
        let further = further.map(|(name, source)| (Some(name.as_str()), source.as_str()));
        first.into_iter().chain(further).collect()
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut options = args.check()?;
    let keys = args.http.keys()?;
    let settings = args.http.settings(keys.are_required())?;
    let tls = args.http.tls()?;
    // Programs that renew certificates may send SIGHUP while models load.
    interrupt::take_hangups();
    let logging = args.logs.init()?;
    let instructions = args.domains.load()?;
    let projections = Projections::load(&args.projections)?;
    // Loading a model takes minutes, so an occupied port is reported first.
    let address = SocketAddr::new(args.http.host, args.http.port);
    warn_of_service_link(address.port());
    let listener = http::listen(address)
        .with_context(|| format!("cannot listen on {address} (--host, --port)"))?;
    raise_open_files(settings.max_connections);
    let exporter = Exporter::install()?;
    // The models share the cache; its keys contain their digests.
    options.cache = Some(args.cache.settings()?);

    let sources = args.sources();
    let found = sources
        .iter()
        .map(|(_, source)| resolve::model(source, args.precision, &options, &args.source));
    let found = found.collect::<anyhow::Result<Vec<_>>>()?;
    let dirs: Vec<PathBuf> = found.iter().map(|found| found.dir.clone()).collect();
    let notes = sources.iter().zip(&found);
    let notes: Vec<String> = notes
        .filter_map(|((_, source), found)| resolve::note(source, found))
        .collect();
    options.gpu_memory.divide(&dirs, options.sessions)?;
    let mut models: Vec<ServedModel> = Vec::new();
    for ((name, source), dir) in sources.into_iter().zip(&dirs) {
        let model = open(dir, name, source, &options)?;
        let taken = models
            .iter()
            .any(|m| m.name.eq_ignore_ascii_case(&model.name));
        if taken {
            let reason = format!(
                "two models are named `{}`: name one differently with --model NAME=…",
                model.name
            );
            return Err(Usage(reason).into());
        }
        models.push(model);
    }
    let gpu = options.session.providers.wants_gpu_build();
    let library = Library::load(options.onnxruntime.as_deref(), gpu)?;
    exporter.show_versions(library.version());
    let engines: Vec<&Engine> = models.iter().map(|model| &*model.engine).collect();
    projections.check(&engines)?;
    let request_timeout = args.request_timeout(&models, options.session.providers.first());
    // A signal may follow as soon as the banner is printed.
    let _listening = interrupt::listen();
    let scheme = args.http.scheme();
    let url = format!("{scheme}://{}", listener.local_addr()?);
    if args.logs.for_programs() {
        let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
        tracing::info!(
            url,
            models = names.join(","),
            request_timeout = request_timeout.as_secs(),
            notes = notes.join(" "),
            "serving"
        );
    } else {
        say!(
            "{}",
            banner(&models, &notes, &url, keys.are_required(), request_timeout)
        );
    }
    let mut state = AppState::new(models, instructions);
    state.projections = projections;
    state.keys = keys;
    state.request_timeout = request_timeout;
    let stuck_after = args.stuck_after.map(Duration::from_secs);
    state.stuck_after = stuck_after.unwrap_or(2 * request_timeout);
    state.refuse_token_ids = args.refuse_token_ids;
    state.tokenizers = settings.tokenizers;
    state.budget = Budget::new(settings.request_memory);
    state.exporter = Some(exporter);
    memory_trim::start();
    let state = Data::new(state);
    let server = http::run(
        listener,
        state.clone(),
        settings,
        tls,
        interrupt::wait(),
        interrupt::hangup,
    );
    actix_web::rt::System::new().block_on(server)?;
    // All clients have been answered or disconnected. At most one batch per session still runs.
    if !state.close(LAST_BATCH) {
        tracing::error!("a batch does not end: the server stops without it");
        drop(logging);
        interrupt::leave(1);
    }
    tracing::info!("stopped");
    Ok(())
}

/// Raises the limit of open files, because each connection takes one. Shells and service managers allow far fewer by default than a
/// server needs.
fn raise_open_files(connections: usize) {
    // Files of the model, logs, Redis and ONNX Runtime.
    const OTHERS: u64 = 256;
    let wanted = connections as u64 + OTHERS;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(allowed) if allowed >= wanted => {}
        Ok(allowed) => tracing::warn!(
            allowed,
            connections,
            "fewer files may be open than --max-connections needs: raise the hard limit (ulimit -Hn)"
        ),
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}

fn open(
    dir: &Path,
    name: Option<&str>,
    source: &str,
    options: &EngineOptions,
) -> anyhow::Result<ServedModel> {
    let mut options = options.clone();
    options.name = name.map(str::to_owned);
    let engine = Engine::open(dir, &options)?;
    // The first run allocates memory and, on a GPU, compiles, so no client should wait for it.
    match engine.embed(&[Request::text("warm-up")]) {
        Err(Error::OutOfMemory { reason }) => bail!(
            "{source} does not run: the device has no memory left for a single short text. Free memory on it, serve fewer \
             --sessions or models, or convert to a smaller precision. {reason}"
        ),
        warm => warm.with_context(|| format!("{source} does not run"))?,
    };
    let name = name.map_or_else(|| engine.model().name.clone(), str::to_owned);
    let provider = options.session.providers.first().name();
    let tokens = engine.batch_tokens();
    Ok(ServedModel::new(name, Arc::new(engine), provider, tokens))
}

fn name_and_model(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, source)) if !name.is_empty() && !source.is_empty() => {
            Ok((name.to_owned(), source.to_owned()))
        }
        _ => Err(format!("`{text}` is not of the form NAME=MODEL")),
    }
}

fn banner(
    models: &[ServedModel],
    notes: &[String],
    url: &str,
    keyed: bool,
    request_timeout: Duration,
) -> String {
    let mut lines = String::new();
    for served in models {
        let model = served.engine.model();
        let precision = model
            .precision
            .map_or("export of another tool", Precision::as_str);
        lines += &format!(
            "\nserving {} ({precision} on {}, {} dimensions, up to {} tokens) at {url}/v1",
            served.name, served.provider, model.hidden_size, model.max_length
        );
    }
    for note in notes {
        lines += &format!("\n  {note}");
    }
    let name = models.first().map_or("", |m| m.name.as_str());
    let key = if keyed {
        " -H 'Authorization: Bearer KEY'"
    } else {
        ""
    };
    format!(
        "{lines}\n\n  curl {url}/v1/embeddings{key} -H 'Content-Type: application/json' \\\n    \
         -d '{{\"model\": \"{name}\", \"input\": \"cardiac arrest\", \"domain\": \"medical\"}}'\n\n  \
         start page {url}/   API {url}/docs/   metrics {url}/metrics\n  \
         a request may take {} s (--request-timeout)\n",
        request_timeout.as_secs()
    )
}
