//! The session of a query: on this machine or on a cluster.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use ballista_core::extension::{SessionConfigExt as _, SessionStateExt as _};
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{SessionConfig, SessionContext};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::codec::{LogicalCodec, PhysicalCodec};
use crate::embed::LARGEST_BATCH;

/// The largest message of a cluster: a record batch of 8,192 vectors of 4,096 numbers, and other columns.
pub(crate) const LARGEST_MESSAGE: usize = 256 << 20;
/// How long a connection to the scheduler may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where queries run.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Here,
    /// The scheduler's `HOST:PORT`.
    Cluster(String),
}

impl Place {
    /// Checks that the scheduler can be reached, because Ballista would retry for a while.
    ///
    /// # Errors
    /// It cannot.
    pub(crate) async fn check(&self) -> anyhow::Result<()> {
        let Self::Cluster(address) = self else {
            return Ok(());
        };
        let unreachable = match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
        };
        bail!(
            "--scheduler {address} cannot be reached: {unreachable}: start it with `lexivec sql scheduler`, or correct the address"
        )
    }

    /// A session that knows `embed`.
    ///
    /// # Errors
    /// DataFusion's own.
    pub(crate) fn session(
        &self,
        embed: &ScalarUDF,
        partitions: usize,
    ) -> anyhow::Result<SessionContext> {
        let context = match self {
            Self::Here => {
                SessionContext::new_with_config(settings(SessionConfig::new(), partitions))
            }
            Self::Cluster(address) => {
                let config = SessionConfig::new_with_ballista()
                    .with_ballista_grpc_client_max_message_size(LARGEST_MESSAGE)
                    .with_ballista_logical_extension_codec(Arc::new(LogicalCodec::default()))
                    .with_ballista_physical_extension_codec(Arc::new(PhysicalCodec::default()));
                let state = SessionStateBuilder::new()
                    .with_default_features()
                    .with_config(settings(config, partitions))
                    .build();
                let state = state.upgrade_for_ballista(format!("http://{address}"))?;
                SessionContext::new_with_state(state)
            }
        };
        context.register_udf(embed.clone());
        Ok(context)
    }
}

/// The settings that both places share, so that both compute the same.
fn settings(config: SessionConfig, partitions: usize) -> SessionConfig {
    config
        .with_target_partitions(partitions)
        .with_batch_size(LARGEST_BATCH)
        // Embedding a megabyte of texts takes minutes, so small files are divided, too.
        .set_usize("datafusion.optimizer.repartition_file_min_size", 1)
        // The least and largest number of a Parquet file leave NaN out, and DataFusion takes a column in which they are equal for constant.
        .set_bool("datafusion.execution.collect_statistics", false)
        .set_bool(
            "datafusion.execution.parquet.schema_force_view_types",
            false,
        )
        .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false)
}
