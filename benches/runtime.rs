//! Measures the parts of the runtime that only compute: planning a batch and selecting one.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lexivec_runtime::batch::{Limits, select};
use lexivec_runtime::plan::Plan;

/// Returns 256 texts of 64 tokens, each of which begins with one of four instructions of 12 tokens.
fn texts() -> Vec<Vec<u32>> {
    (0..256u32)
        .map(|i| {
            let instruction = (0..12).map(|t| 100 * (i % 4) + t);
            let text = (0..52).map(|t| (i * 7919 + t * 104_729) % 16_000);
            instruction.chain(text).collect()
        })
        .collect()
}

fn runtime(c: &mut Criterion) {
    let texts = texts();
    let sequences: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let tokens: usize = texts.iter().map(Vec::len).sum();
    let mut group = c.benchmark_group("runtime");
    group.throughput(Throughput::Elements(tokens as u64));
    group.bench_function("plan 256 x 64 tokens", |b| {
        b.iter(|| Plan::new(black_box(&sequences)))
    });
    let limits = Limits::default();
    group.bench_function("select from 256 texts", |b| {
        b.iter(|| select(black_box(&sequences).iter().map(|s| s.len()), &limits));
    });
    group.finish();
}

criterion_group!(benches, runtime);
criterion_main!(benches);
