//! Loops of NEON.

use std::arch::aarch64::{vdupq_n_f32, vfmaq_f32};
use std::hint::black_box;

use crate::{Loop, Loops};

/// Independent accumulators: the products of four ports, each with a latency of 4 cycles.
const ACCUMULATORS: usize = 16;

/// Only float32: the intrinsics of integer dot products are unstable.
pub(crate) fn detect() -> Loops {
    Loops {
        fp32: vec![Loop {
            name: "NEON",
            operations_per_step: ACCUMULATORS * 2 * 4,
            run: fp32,
        }],
        ..Loops::default()
    }
}

fn fp32(steps: usize) {
    // SAFETY: every aarch64 processor has NEON.
    unsafe {
        let mut sums = [vdupq_n_f32(0.0); ACCUMULATORS];
        let (a, b) = black_box((vdupq_n_f32(1.0), vdupq_n_f32(1.0)));
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = vfmaq_f32(*sum, a, b);
            }
        }
        black_box(sums);
    }
}
