//! Against sums in plain code.

use proptest::prelude::*;

use super::*;
use crate::parallel::Sequential;
use crate::random::numbers;

proptest! {
    #[test]
    fn sums_are_exact(rows in 0usize..70, depth in prop_oneof![1usize..40, (1usize..4).prop_map(|quarters| 16 * quarters)], outputs in 1usize..90, extreme: bool, added: bool, seed: u64) {
        let inputs = depth * DEPTH;
        let extreme = |x: u8| if extreme { if x > 100 { 255 } else { 1 } } else { x.max(1) };
        let codes: Vec<u8> = numbers(seed, rows * inputs).map(extreme).collect();
        // Weights are symmetric: -127 to 127.
        let plain: Vec<i8> = numbers(!seed, inputs * outputs).map(|x| (extreme(x) as i8).max(-127)).collect();
        let (packed, sums) = pack(&plain, inputs);
        let scales: Vec<f32> = (0..outputs).map(|n| 0.01 + n as f32 / 1000.0).collect();
        let row_scales: Vec<f32> = (0..rows).map(|m| 0.5 + m as f32).collect();
        let bias: Vec<f32> = (0..outputs).map(|n| n as f32 - 5.0).collect();
        let fine: Vec<u8> = numbers(seed ^ 5, rows * inputs).map(extreme).collect();
        for &set in InstructionSet::available() {
            let layout = Layout::of(set, inputs);
            let arranged = [&codes, &fine].map(|codes| {
                let mut strips = vec![0; layout.len(rows, inputs)];
                let size = layout.height * inputs;
                for (rows, strip) in codes.chunks(size).zip(strips.chunks_mut(size)) {
                    layout.arrange(rows, inputs, strip);
                }
                strips
            });
            let linear = Linear {
                codes: &arranged[0],
                fine: added.then_some(&arranged[1]),
                scales: &row_scales,
                weights: Weights { codes: &packed, scales: &scales, sums: &sums, inputs },
                bias: added.then_some(&bias),
            };
            let mut out = vec![f32::NAN; rows * outputs];
            linear.compute(set, &Sequential, &mut out).unwrap();
            for m in 0..rows {
                for n in 0..outputs {
                    let sum: i32 = (0..inputs)
                        .map(|k| (i32::from(codes[m * inputs + k]) - 128) * i32::from(plain[n * inputs + k]))
                        .sum();
                    let mut expected = sum as f32 * (row_scales[m] * scales[n]);
                    if added {
                        let sum: i32 = (0..inputs)
                            .map(|k| (i32::from(fine[m * inputs + k]) - 128) * i32::from(plain[n * inputs + k]))
                            .sum();
                        expected += bias[n];
                        expected += sum as f32 * (row_scales[m] / crate::codes::FINER * scales[n]);
                    }
                    prop_assert_eq!(out[m * outputs + n], expected, "{} at {}, {}", set, m, n);
                }
            }
        }
    }
}

#[test]
fn sizes_are_checked() {
    let weights = Weights {
        codes: &[0; 64],
        scales: &[1.0; 3],
        sums: &[0; 3],
        inputs: 4,
    };
    let linear = Linear {
        codes: &[128; 48],
        fine: None,
        scales: &[1.0; 2],
        weights,
        bias: None,
    };
    assert_eq!(linear.check(InstructionSet::Portable), Ok(()));
    let refused = |linear: Linear<'_>, expected: &str| {
        let message = linear.check(InstructionSet::Portable).unwrap_err();
        assert!(message.contains(expected), "{message}");
    };
    refused(
        Linear {
            codes: &[128; 7],
            ..linear
        },
        "codes has 7 values instead of 48",
    );
    refused(
        Linear {
            weights: Weights {
                inputs: 6,
                ..weights
            },
            ..linear
        },
        "multiple of 4",
    );
    refused(
        Linear {
            weights: Weights {
                codes: &[0; 63],
                ..weights
            },
            ..linear
        },
        "weights has 63",
    );
    refused(
        Linear {
            bias: Some(&[0.0; 2]),
            ..linear
        },
        "bias has 2",
    );
}

#[test]
fn a_row_whose_scale_is_no_number_gives_none() {
    let weights = Weights {
        codes: &[1; 64],
        scales: &[1.0; 3],
        sums: &[4; 3],
        inputs: 4,
    };
    for &set in InstructionSet::available() {
        let linear = Linear {
            codes: &[Layout::of(set, 4).zero; 48],
            fine: None,
            scales: &[f32::NAN, 1.0],
            weights,
            bias: None,
        };
        let mut out = [0.0; 6];
        linear.compute(set, &Sequential, &mut out).unwrap();
        assert!(out[..3].iter().all(|x| x.is_nan()) && out[3..] == [0.0; 3]);
    }
}
