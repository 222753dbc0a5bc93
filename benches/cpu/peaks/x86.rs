//! Loops of AVX2 and AVX-512.

use std::arch::x86_64::*;
use std::hint::black_box;

use crate::{Loop, Loops};

/// Independent accumulators: the products of two ports, each with a latency of up to 5 cycles.
const ACCUMULATORS: usize = 12;

pub(crate) fn detect() -> Loops {
    let mut loops = Loops::default();
    let lanes = |lanes: usize, name, run| Loop {
        name,
        operations_per_step: ACCUMULATORS * 2 * lanes,
        run,
    };
    if is_x86_feature_detected!("avx2") {
        loops.int8.push(lanes(32, "AVX2", int8_avx2));
    }
    if is_x86_feature_detected!("avxvnni") {
        loops.int8.push(lanes(32, "AVX-VNNI", int8_avx_vnni));
    }
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
        loops.int8.push(lanes(64, "AVX-512 VNNI", int8_avx512));
    }
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16") {
        loops.bf16.push(lanes(32, "AVX-512 BF16", bf16_avx512));
    }
    if is_x86_feature_detected!("fma") {
        loops.fp32.push(lanes(8, "FMA", fp32_fma));
    }
    if is_x86_feature_detected!("avx512f") {
        loops.fp32.push(lanes(16, "AVX-512", fp32_avx512));
    }
    #[cfg(target_os = "linux")]
    crate::amx::add_to(&mut loops);
    loops
}

/// Defines a function that applies `$step` to each accumulator, `steps` times.
macro_rules! register_loop {
    ($name:ident, $feature:literal, $zero:expr, $factor:expr, $step:expr) => {
        fn $name(steps: usize) {
            #[target_feature(enable = $feature)]
            fn run(steps: usize) {
                let mut sums = [$zero; ACCUMULATORS];
                let (a, b) = black_box(($factor, $factor));
                for _ in 0..steps {
                    for sum in &mut sums {
                        *sum = $step(*sum, a, b);
                    }
                }
                black_box(sums);
            }
            // SAFETY: `detect` has found the feature.
            unsafe { run(steps) }
        }
    };
}

register_loop!(
    int8_avx2,
    "avx2",
    _mm256_setzero_si256(),
    _mm256_set1_epi8(1),
    // Products of `a` and `b` alone would be the same in each step, and the compiler would compute them once.
    |sum, a, b| {
        let pairs = _mm256_maddubs_epi16(a, sum);
        _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, b))
    }
);
register_loop!(
    int8_avx_vnni,
    "avxvnni",
    _mm256_setzero_si256(),
    _mm256_set1_epi8(1),
    |sum, a, b| _mm256_dpbusd_avx_epi32(sum, a, b)
);
register_loop!(
    int8_avx512,
    "avx512f,avx512vnni",
    _mm512_setzero_si512(),
    _mm512_set1_epi8(1),
    |sum, a, b| _mm512_dpbusd_epi32(sum, a, b)
);
register_loop!(
    bf16_avx512,
    "avx512f,avx512bf16",
    _mm512_setzero_ps(),
    _mm512_cvtne2ps_pbh(_mm512_set1_ps(1.0), _mm512_set1_ps(1.0)),
    |sum, a, b| _mm512_dpbf16_ps(sum, a, b)
);
register_loop!(
    fp32_fma,
    "fma",
    _mm256_setzero_ps(),
    _mm256_set1_ps(1.0),
    |sum, a, b| _mm256_fmadd_ps(a, b, sum)
);
register_loop!(
    fp32_avx512,
    "avx512f",
    _mm512_setzero_ps(),
    _mm512_set1_ps(1.0),
    |sum, a, b| _mm512_fmadd_ps(a, b, sum)
);
