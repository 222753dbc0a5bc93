//! `lexivec serve`.

use std::io::IsTerminal as _;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use anyhow::Context as _;
use lexivec_models::Precision;
use lexivec_runtime::{Engine, Request};
use tracing_subscriber::EnvFilter;

use super::common::{ComputeArgs, DomainArgs, HubArgs};
use super::{Usage, resolve};
use crate::http::{self, AppState, HttpSettings, ServedModel};
use crate::interrupt;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model directory, checkpoint folder, or hub id such as Qwen/Qwen3-Embedding-0.6B. A checkpoint is converted on
    /// first use into the cache folder
    #[arg(env = "LEXIVEC_MODEL")]
    model: String,

    /// Precision of that conversion. Default: fp32 on cpu, which is exact; fp16 on cuda and tensorrt
    #[arg(short, long, env = "LEXIVEC_PRECISION")]
    precision: Option<Precision>,

    /// Name of the model in requests and answers. Default: the checkpoint's name
    #[arg(long, env = "LEXIVEC_SERVED_MODEL_NAME", value_name = "NAME")]
    served_model_name: Option<String>,

    /// Address to listen on. The default takes connections from this machine alone, since there is no password;
    /// 0.0.0.0 takes them from everywhere
    #[arg(long, env = "LEXIVEC_HOST", default_value = "127.0.0.1")]
    host: IpAddr,

    /// Port to listen on; 0 takes a free one
    #[arg(long, env = "LEXIVEC_PORT", default_value_t = 30_000)]
    port: u16,

    /// Texts that may be accepted and not yet answered; a request beyond gets 429 at once. 8192 is four requests of
    /// the largest size
    #[arg(
        long,
        env = "LEXIVEC_QUEUE",
        value_name = "TEXTS",
        default_value_t = 8192
    )]
    queue: usize,

    /// Largest request body in bytes; 32 MiB holds 2048 texts of 8 pages each
    #[arg(long, env = "LEXIVEC_BODY_LIMIT", value_name = "BYTES", default_value_t = 32 << 20)]
    body_limit: usize,

    /// Seconds that accepted requests may take to finish after SIGTERM or Ctrl-C
    #[arg(
        long,
        env = "LEXIVEC_SHUTDOWN_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = 30
    )]
    shutdown_timeout: u64,

    /// What is logged: error, warn, info (a line per request), debug
    #[arg(long, env = "LEXIVEC_LOG", default_value = "info")]
    log: String,

    #[command(flatten)]
    domains: DomainArgs,

    #[command(flatten)]
    compute: ComputeArgs,

    #[command(flatten)]
    hub: HubArgs,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    if args.queue == 0 {
        return Err(Usage("--queue must be at least 1".to_owned()).into());
    }
    // ONNX Runtime tells of every device and library it looks at.
    let filter = EnvFilter::try_new(format!("{},ort=warn", args.log))
        .map_err(|e| Usage(format!("--log: {e}")))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let options = args.compute.engine_options(args.queue)?;
    let instructions = args.domains.load()?;
    // Before the model is loaded, which may take minutes: a port that is taken is known at once.
    let listener = TcpListener::bind((args.host, args.port)).with_context(|| {
        format!(
            "cannot listen on {}:{} (--host, --port)",
            args.host, args.port
        )
    })?;
    let dir = resolve::model(&args.model, args.precision, &args.compute, &args.hub)?;
    let engine = Engine::open(&dir, &options)?;
    // The first run allocates and, on a GPU, compiles; no client should wait for that.
    engine.embed(&[Request::text("warm-up")])?;

    let name = args
        .served_model_name
        .unwrap_or_else(|| engine.model().name.clone());
    let provider = options.session.providers.first().name();
    eprintln!(
        "{}",
        banner(
            &name,
            provider,
            &engine,
            &listener.local_addr()?.to_string()
        )
    );
    let state = AppState {
        models: vec![ServedModel::new(name, Arc::new(engine), provider)],
        instructions,
    };
    let settings = HttpSettings {
        body_limit: args.body_limit,
        shutdown_timeout: Duration::from_secs(args.shutdown_timeout),
        ..HttpSettings::default()
    };
    let _listening = interrupt::listen();
    let server = http::run(listener, Data::new(state), settings, interrupt::wait());
    actix_web::rt::System::new().block_on(server)?;
    tracing::info!("stopped");
    Ok(())
}

fn banner(name: &str, provider: &str, engine: &Engine, address: &str) -> String {
    let model = engine.model();
    let precision = model
        .precision
        .map_or("of another exporter", Precision::as_str);
    format!(
        "\nserving {name} ({precision} on {provider}, {} dimensions, up to {} tokens) at http://{address}/v1\n\n  \
         curl http://{address}/v1/embeddings -H 'Content-Type: application/json' \\\n    \
         -d '{{\"model\": \"{name}\", \"input\": \"cardiac arrest\", \"domain\": \"medical\"}}'\n",
        model.hidden_size, model.max_length
    )
}
