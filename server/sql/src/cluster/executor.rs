//! `lexivec sql executor`: computes tasks with one model, which all tasks of the process share.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use datafusion::execution::SessionStateBuilder;

use super::address;
use crate::cli::ModelArgs;
use crate::codec::{LogicalCodec, PhysicalCodec};
use crate::embed::{Description, Loaded};
use crate::session::LARGEST_MESSAGE;

/// Tasks of a process at a time. While the engine computes the texts of one, the other one reads and writes.
const TASKS: usize = 2;
/// The part of the memory that joins and sorts may take before they use the disk. The model needs the rest.
const POOL: f64 = 0.25;
/// Seconds for which an executor waits for its scheduler to start.
const PATIENCE: u16 = 60;

#[derive(Debug, clap::Args)]
pub(crate) struct ExecutorArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// Address of the scheduler
    #[arg(long, env = "LEXIVEC_SCHEDULER", value_name = "HOST:PORT", default_value = "127.0.0.1:50050", value_parser = host_and_port)]
    scheduler: (String, u16),

    /// IP address to listen at. Ballista has no authentication, so choose an address of a private network
    #[arg(long, env = "LEXIVEC_SQL_HOST", default_value = "127.0.0.1")]
    host: String,

    /// Port at which results are fetched
    #[arg(long, env = "LEXIVEC_SQL_PORT", default_value_t = 50051)]
    port: u16,

    /// Name or address by which clients and other executors reach this machine. Default: the address from which it connects to the
    /// scheduler
    #[arg(long, env = "LEXIVEC_ADVERTISE", value_name = "HOST")]
    advertise: Option<String>,

    /// Folder of results that were not fetched yet. Default: a new folder in TMPDIR
    #[arg(long, env = "LEXIVEC_WORK_DIR", value_name = "DIR")]
    work_dir: Option<PathBuf>,
}

/// All functions that a query may name. Ballista's default leaves out those of lists, such as `cosine_distance`.
fn functions() -> BallistaFunctionRegistry {
    let state = SessionStateBuilder::new().with_default_features().build();
    BallistaFunctionRegistry::from(&state)
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let parsed = text
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    parsed
        .filter(|(host, _)| !host.is_empty())
        .ok_or_else(|| format!("`{text}` is no HOST:PORT, such as 10.0.0.5:50050"))
}

/// Computes until the process is stopped.
///
/// # Errors
/// The port cannot be opened, or the scheduler cannot be reached.
pub(crate) async fn run(args: &ExecutorArgs, model: Loaded) -> anyhow::Result<()> {
    address(&args.host, args.port)?;
    // Ballista only logs a port that is taken, and a folder in which nothing can be written.
    drop(
        TcpListener::bind((args.host.as_str(), args.port))
            .with_context(|| format!("port {} of {} cannot be opened", args.port, args.host))?,
    );
    let (scheduler_host, scheduler_port) = args.scheduler.clone();
    let temporary = match &args.work_dir {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("lexivec-sql-").tempdir()?),
    };
    let work_dir = args
        .work_dir
        .as_deref()
        .or_else(|| Some(temporary.as_ref()?.path()));
    let work_dir = work_dir
        .and_then(|folder| folder.to_str())
        .context("--work-dir is not UTF-8")?;
    tempfile::tempfile_in(work_dir).with_context(|| format!("--work-dir {work_dir}"))?;
    let description = Description::new(model.info(), false);
    let largest = u32::try_from(LARGEST_MESSAGE)?;
    let config = ExecutorProcessConfig {
        bind_host: args.host.clone(),
        external_host: args.advertise.clone(),
        port: args.port,
        scheduler_host,
        scheduler_port,
        scheduler_connect_timeout_seconds: PATIENCE,
        vcores: TASKS,
        task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
        work_dir: Some(work_dir.to_owned()),
        memory_pool_fraction: POOL,
        grpc_max_decoding_message_size: largest,
        grpc_max_encoding_message_size: largest,
        override_function_registry: Some(Arc::new(functions())),
        override_logical_codec: Some(Arc::new(LogicalCodec::default())),
        override_physical_codec: Some(Arc::new(PhysicalCodec::with_model(
            description,
            Arc::new(model),
        ))),
        ..ExecutorProcessConfig::default()
    };
    eprintln!("the executor serves results at {}:{}", args.host, args.port);
    let ran = start_executor_process(Arc::new(config)).await;
    ran.map_err(|error| anyhow!("the executor at {}:{} ended: {error}", args.host, args.port))
}
