//! The machine as `doctor` reports it: processor, GPUs, libraries, folders.

use std::path::Path;
use std::process::Command;

use lexivec_runtime::{host_memory, system_library};

/// Cores, memory, and the instruction sets that make int8 fast.
pub(crate) fn cpu() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = fs_err::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = info
        .lines()
        .find(|line| line.starts_with("flags"))
        .unwrap_or_default();
    let has = |flag: &str| flags.split_whitespace().any(|f| f == flag);
    let features = [
        ("avx2", "AVX2"),
        ("avx512f", "AVX-512"),
        ("avx512_vnni", "AVX-512 VNNI"),
        ("avx_vnni", "AVX-VNNI"),
        ("avx512_bf16", "AVX-512 BF16"),
        ("amx_int8", "AMX int8"),
        ("amx_bf16", "AMX bf16"),
    ];
    let found: Vec<&str> = features
        .iter()
        .filter(|(flag, _)| has(flag))
        .map(|(_, name)| *name)
        .collect();
    let integer = if has("avx512_vnni") || has("avx_vnni") || has("amx_int8") {
        ""
    } else {
        "; no VNNI: int8 is slower here, and in models for target ort its sums may saturate"
    };
    format!(
        "{cores} cores, {:.0} GiB, {}{integer}",
        host_memory() as f64 / f64::from(1 << 30),
        found.join(", ")
    )
}

pub(super) fn gpus() -> String {
    let query = [
        "--query-gpu=name,memory.total,driver_version",
        "--format=csv,noheader",
    ];
    let Ok(output) = Command::new("nvidia-smi").args(query).output() else {
        return "none (no nvidia-smi)".to_owned();
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    if lines.is_empty() {
        "none".to_owned()
    } else {
        lines.join("; ")
    }
}

pub(super) fn cudnn() -> String {
    system_library("libcudnn.so.9").map_or_else(
        || "none; --ep tensorrt needs it, and padded graphs do on --ep cuda".to_owned(),
        |path| path.display().to_string(),
    )
}

pub(super) fn folder(path: &Path) -> String {
    let size = size(path);
    if size > 0 {
        format!("{} ({:.1} MB)", path.display(), size as f64 / 1e6)
    } else {
        format!("{} (empty)", path.display())
    }
}

fn size(path: &Path) -> u64 {
    let Ok(entries) = fs_err::read_dir(path) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size(&entry.path()),
        // Links are not followed: a hub cache links to its own files.
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |m| m.len()),
        _ => 0,
    });
    sizes.sum()
}
