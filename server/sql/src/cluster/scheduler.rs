//! `lexivec sql scheduler`: plans queries and gives tasks to executors. It needs no model.

use std::sync::Arc;

use anyhow::anyhow;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::start_server;

use super::address;
use crate::codec::{LogicalCodec, PhysicalCodec};
use crate::session::LARGEST_MESSAGE;

/// An executor reports at least every five seconds, and two reports may be late.
const SHORTEST_TIMEOUT: u64 = 11;

#[derive(Debug, clap::Args)]
pub(crate) struct SchedulerArgs {
    /// IP address to listen at. Ballista has no authentication, so choose an address of a private network
    #[arg(long, env = "LEXIVEC_SQL_HOST", default_value = "127.0.0.1")]
    host: String,

    /// Port of clients and executors
    #[arg(long, env = "LEXIVEC_SQL_PORT", default_value_t = 50050)]
    port: u16,

    /// Seconds without a report after which an executor counts as lost, and its tasks are given to others
    #[arg(long, env = "LEXIVEC_EXECUTOR_TIMEOUT", value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(SHORTEST_TIMEOUT..=3600))]
    executor_timeout: u64,
}

/// Serves until the process is stopped.
///
/// # Errors
/// The port cannot be opened.
pub(crate) async fn run(args: &SchedulerArgs) -> anyhow::Result<()> {
    let address = address(&args.host, args.port)?;
    let largest = u32::try_from(LARGEST_MESSAGE)?;
    let config = SchedulerConfig {
        bind_host: args.host.clone(),
        bind_port: args.port,
        external_host: args.host.clone(),
        scheduling_policy: TaskSchedulingPolicy::PullStaged,
        executor_timeout_seconds: args.executor_timeout,
        expire_dead_executor_interval_seconds: (args.executor_timeout / 8).max(1),
        no_executors_grace_period_seconds: args.executor_timeout,
        grpc_server_max_decoding_message_size: largest,
        grpc_server_max_encoding_message_size: largest,
        grpc_client_max_message_size: largest,
        override_logical_codec: Some(Arc::new(LogicalCodec::default())),
        override_physical_codec: Some(Arc::new(PhysicalCodec::default())),
        ..SchedulerConfig::default()
    };
    let cluster = BallistaCluster::new_from_config(&config).await?;
    eprintln!("the scheduler listens at {address}");
    let served = start_server(cluster, address, Arc::new(config)).await;
    served.map_err(|error| anyhow!("the scheduler at {address} ended: {error}"))
}
