//! What loading a model costs, measured in a process of its own: what one model leaves behind in an allocator would
//! otherwise be taken off the next one's.
//!
//! The process is this program with the same arguments and one more, `--footprint SIDE`. It reads the texts as JSON from its
//! standard input, since files such as pipes can be read once, and answers with a line of JSON.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail};
use lexivec_convert::compare::{Footprint, Side};

/// The hidden flag.
pub(crate) const FLAG: &str = "--footprint";

/// Has another process measure the side of this number (the baseline is 0) on these texts.
///
/// # Errors
/// The process does not start, or fails: its own message is the error.
pub(crate) fn measure(side: usize, texts: &[&str]) -> anyhow::Result<Footprint> {
    let program = std::env::current_exe()?;
    let mut process = Command::new(program)
        .args(std::env::args_os().skip(1))
        .arg(format!("{FLAG}={side}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = process.stdin.take() {
        // A process that ends before it has read them says why.
        let _ = stdin.write_all(&serde_json::to_vec(texts)?);
    }
    let output = process.wait_with_output()?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("{}", message.lines().last().unwrap_or("the process failed"));
    }
    serde_json::from_slice(&output.stdout).context("the process gave no answer")
}

/// Measures in this process: loads a side and embeds the texts of standard input with it.
///
/// # Errors
/// The side does not load or embed, or the system does not tell a process's memory.
pub(crate) fn here(
    files: &[PathBuf],
    open: impl FnOnce() -> anyhow::Result<Side>,
) -> anyhow::Result<Footprint> {
    let texts: Vec<String> = serde_json::from_reader(std::io::stdin())
        .context("standard input does not hold the texts as a JSON array")?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for file in files {
        read_through(file)?;
    }
    let before = resident("VmRSS:")?;
    let started = Instant::now();
    let mut side = open()?;
    let load_seconds = started.elapsed().as_secs_f64();
    let loaded = resident("VmRSS:")?;
    side.embed(&texts)?;
    let peak = resident("VmHWM:")?;
    Ok(Footprint {
        load_seconds,
        loaded_bytes: loaded.saturating_sub(before),
        peak_bytes: peak.saturating_sub(before),
    })
}

/// Puts a file into the page cache, so that what is timed is not the disk.
fn read_through(path: &Path) -> anyhow::Result<()> {
    std::io::copy(&mut fs_err::File::open(path)?, &mut std::io::sink())?;
    Ok(())
}

/// A figure of this process's memory, in bytes, as Linux tells it.
fn resident(field: &str) -> anyhow::Result<u64> {
    let status = fs_err::read_to_string("/proc/self/status")
        .context("this system does not tell a process's memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes =
        line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    Ok(kibibytes.context("/proc/self/status does not tell a process's memory")? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_used_is_seen() {
        let before = resident("VmRSS:").unwrap();
        let block = vec![1u8; 64 << 20];
        let grown = resident("VmRSS:").unwrap() - before;
        assert!(grown > 60 << 20, "{grown}");
        assert!(resident("VmHWM:").unwrap() >= before + grown);
        drop(block);
        assert!(resident("VmNothing:").is_err());
    }
}
