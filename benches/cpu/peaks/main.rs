//! Measures what this machine's cores can do at most, for `make bench-cpu`: prints one JSON object.
//!
//! Integer and floating-point loops work on registers alone, with as many independent accumulators as hide the latency of an
//! instruction. The fastest instruction set counts. The bandwidth is that of reading a buffer far larger than the caches. All
//! cores work at once; each figure is the best of several runs, because other processes can only lower it.
#![allow(missing_docs)]
// SIMD intrinsics and tile instructions. Each `unsafe` block relies on a feature that was detected before.
#![allow(unsafe_code)]

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use serde_json::json;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
#[cfg(target_arch = "x86_64")]
mod x86;

/// A loop over registers: its instruction set, and the operations (a multiplication and an addition are two) of `steps` steps.
struct Loop {
    name: &'static str,
    operations_per_step: usize,
    run: fn(usize),
}

/// The loops that this processor can run, by the type of their factors.
#[derive(Default)]
struct Loops {
    int8: Vec<Loop>,
    bf16: Vec<Loop>,
    fp32: Vec<Loop>,
}

impl Loops {
    fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        return x86::detect();
        #[cfg(target_arch = "aarch64")]
        return aarch64::detect();
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        return Self::default();
    }
}

const RUNS: usize = 7;
const STEPS: usize = 2_000_000;
/// Bytes that each thread reads.
const BUFFER: usize = 256 << 20;

/// Runs `work` on every core at once and returns the seconds that the slowest took in the best run.
fn best(threads: usize, work: impl Fn() + Sync) -> f64 {
    let mut best = f64::INFINITY;
    let start = Barrier::new(threads);
    for _ in 0..RUNS {
        let times = std::thread::scope(|scope| {
            let one = || {
                start.wait();
                let began = Instant::now();
                work();
                began.elapsed().as_secs_f64()
            };
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
            let times = running.into_iter().map(|thread| thread.join());
            times
                .map(|t| t.unwrap_or(f64::INFINITY))
                .fold(0.0, f64::max)
        });
        best = best.min(times);
    }
    best
}

/// Returns the fastest loop as JSON, or null if there is none.
fn fastest(threads: usize, loops: &[Loop]) -> serde_json::Value {
    let rates = loops.iter().map(|l| {
        let seconds = best(threads, || (l.run)(STEPS));
        (
            (threads * STEPS * l.operations_per_step) as f64 / seconds,
            l.name,
        )
    });
    match rates.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((rate, name)) => json!({"operations_per_s": rate, "by": name}),
        None => serde_json::Value::Null,
    }
}

/// Bytes per second that all cores read.
fn bandwidth(threads: usize) -> f64 {
    let buffer = vec![1u64; BUFFER / size_of::<u64>()];
    let seconds = best(threads, || {
        let mut sums = [0u64; 16];
        for piece in black_box(&buffer).chunks_exact(sums.len()) {
            for (sum, number) in sums.iter_mut().zip(piece) {
                *sum = sum.wrapping_add(*number);
            }
        }
        black_box(sums);
    });
    (threads * BUFFER) as f64 / seconds
}

fn main() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let loops = Loops::detect();
    let peaks = json!({
        "threads": threads,
        "int8": fastest(threads, &loops.int8),
        "bf16": fastest(threads, &loops.bf16),
        "fp32": fastest(threads, &loops.fp32),
        "read_bytes_per_s": bandwidth(threads),
    });
    let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{peaks}\n"));
}
