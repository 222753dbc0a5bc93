//! The memory of this machine, as far as the process may use it.

use sysinfo::{
    CGroupLimits, MemoryRefreshKind, ProcessRefreshKind, ProcessesToUpdate, System, get_current_pid,
};

/// Bytes that this process may use: the machine's memory, or less if a control group limits it.
///
/// ```
/// assert!(lexivec_runtime::host_memory() > 1 << 20);
/// ```
#[must_use]
pub fn host_memory() -> usize {
    let mut system = System::new();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    // A container sees its own group as the root. A service's group is found by its process.
    let groups = [system.cgroup_limits(), group_of_process(&mut system)];
    let limits = groups.into_iter().flatten().map(|group| group.total_memory);
    let bytes = limits
        .filter(|limit| *limit > 0)
        .fold(system.total_memory(), u64::min);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn group_of_process(system: &mut System) -> Option<CGroupLimits> {
    let pid = get_current_pid().ok()?;
    let of_this = ProcessesToUpdate::Some(&[pid]);
    system.refresh_processes_specifics(of_this, true, ProcessRefreshKind::nothing());
    system.process(pid)?.cgroup_limits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_memory() {
        assert!(host_memory() > 64 << 20);
    }
}
