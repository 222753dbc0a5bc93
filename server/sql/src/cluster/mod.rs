//! The processes of a cluster: a scheduler, and executors with a model each.
//!
//! Executors ask the scheduler for tasks (Ballista's pull policy), so nothing but results needs a connection to them. Ballista has no
//! authentication: the ports belong into a private network.

mod executor;
mod scheduler;

pub(crate) use executor::{ExecutorArgs, run as run_executor};
pub(crate) use scheduler::{SchedulerArgs, run as run_scheduler};

/// A port of this machine.
fn address(host: &str, port: u16) -> anyhow::Result<std::net::SocketAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = host.parse::<std::net::IpAddr>();
    let host = host.map_err(|error| {
        anyhow::anyhow!(
            "--host is an IP address of this machine, such as 127.0.0.1 or 0.0.0.0: {error}"
        )
    })?;
    Ok((host, port).into())
}
