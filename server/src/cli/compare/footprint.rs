//! Measures the footprint of a model in a process of its own, because memory that one model leaves in the allocator would be
//! missing from the next model's figure.
//!
//! The process is this program with the same arguments, and with the number of the system in an environment variable. It reads the
//! texts as JSON from standard input, because input files may be pipes, which can be read only once. It prints a line of JSON.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail};
use lexivec_evaluate::{Footprint, System};

/// The variable that holds the number of the system to measure. It is not for users, so it is no flag.
const VARIABLE: &str = "LEXIVEC_FOOTPRINT";

/// The number of the system that this process shall measure; `None` in the process of a whole comparison.
pub(super) fn wanted() -> Option<usize> {
    std::env::var(VARIABLE).ok()?.parse().ok()
}

/// Measures the system of this number (the baseline is 0) on these texts, in another process.
///
/// # Errors
/// The process does not start or fails. The error is its own message.
pub(super) fn measure(system: usize, texts: &[&str]) -> anyhow::Result<Footprint> {
    let program = std::env::current_exe()?;
    let mut process = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(VARIABLE, system.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = process.stdin.take() {
        // If the process ends before it has read all texts, its own message says why.
        let _ = stdin.write_all(&serde_json::to_vec(texts)?);
    }
    let output = process.wait_with_output()?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let mut lines = message.lines().rev();
        // A hint may follow the error.
        let error = lines.find_map(|line| line.strip_prefix("error: "));
        let message = error.or_else(|| message.lines().last());
        bail!("{}", message.unwrap_or("the process failed"));
    }
    serde_json::from_slice(&output.stdout).context("the process printed no result")
}

/// Measures in this process: loads a system and embeds the texts of standard input with it.
///
/// # Errors
/// The system does not load or embed, or the operating system does not report a process's memory.
pub(super) fn measure_here(
    files: &[PathBuf],
    open: impl FnOnce() -> anyhow::Result<System>,
) -> anyhow::Result<Footprint> {
    let texts: Vec<String> = serde_json::from_reader(std::io::stdin())
        .context("standard input does not hold the texts as a JSON array")?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for file in files {
        read_through(file)?;
    }
    let before = resident("VmRSS:")?;
    let started = Instant::now();
    let mut system = open()?;
    let load_seconds = started.elapsed().as_secs_f64();
    let loaded = resident("VmRSS:")?;
    system.embed(&texts)?;
    let peak = resident("VmHWM:")?;
    Ok(Footprint {
        load_seconds,
        loaded_bytes: loaded.saturating_sub(before),
        peak_bytes: peak.saturating_sub(before),
    })
}

/// Reads a file into the page cache, so that the disk is not timed.
fn read_through(path: &Path) -> anyhow::Result<()> {
    std::io::copy(&mut fs_err::File::open(path)?, &mut std::io::sink())?;
    Ok(())
}

/// A figure of this process's memory in bytes, as Linux reports it.
fn resident(field: &str) -> anyhow::Result<u64> {
    let status = fs_err::read_to_string("/proc/self/status")
        .context("the operating system does not report a process's memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes =
        line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    Ok(kibibytes.context("/proc/self/status does not report a process's memory")? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocated_memory_is_measured() {
        let before = resident("VmRSS:").unwrap();
        let block = vec![1u8; 64 << 20];
        let grown = resident("VmRSS:").unwrap() - before;
        assert!(grown > 60 << 20, "{grown}");
        assert!(resident("VmHWM:").unwrap() >= before + grown);
        drop(block);
        assert!(resident("VmNothing:").is_err());
    }
}
