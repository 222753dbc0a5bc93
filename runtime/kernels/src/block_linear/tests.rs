//! Against sums in plain code.

use proptest::prelude::*;

use super::*;
use crate::codes::UNSIGNED_ZERO;
use crate::parallel::Sequential;
use crate::random::numbers;

/// A layer in plain matrices.
struct Plain {
    bits: Bits,
    block: usize,
    inputs: usize,
    outputs: usize,
    /// `[rows, inputs]`, from -127 to 127.
    codes: Vec<i32>,
    /// `[rows, blocks]`.
    scales: Vec<f32>,
    /// `[outputs, inputs]`.
    weights: Vec<u8>,
    /// `[outputs, blocks]`.
    weight_scales: Vec<f32>,
    /// `[outputs, blocks]`.
    zeros: Vec<u8>,
    bias: Option<Vec<f32>>,
}

impl Plain {
    fn blocks(&self) -> usize {
        self.inputs / self.block
    }

    /// The output, and the sum of the absolute values of its blocks.
    fn expected(&self, row: usize, output: usize) -> [f64; 2] {
        let blocks = self.blocks();
        let sums: Vec<f64> = (0..blocks)
            .map(|b| {
                let zero = i32::from(self.zeros[output * blocks + b]);
                let products = (b * self.block..(b + 1) * self.block).map(|k| {
                    let weight = i32::from(self.weights[output * self.inputs + k]);
                    self.codes[row * self.inputs + k] * (weight - zero)
                });
                f64::from(products.sum::<i32>())
                    * f64::from(self.scales[row * blocks + b])
                    * f64::from(self.weight_scales[output * blocks + b])
            })
            .collect();
        let bias = self
            .bias
            .as_ref()
            .map_or(0.0, |bias| f64::from(bias[output]));
        [
            sums.iter().sum::<f64>() + bias,
            sums.iter().map(|sum| sum.abs()).sum(),
        ]
    }

    /// Computes some rows.
    fn compute(&self, set: InstructionSet, rows: [usize; 2], zeros: bool) -> Vec<f32> {
        let blocks = self.blocks();
        let layout = Layout::SIGNED_VECTORS;
        let codes = &self.codes[rows[0] * self.inputs..rows[1] * self.inputs];
        let unsigned: Vec<u8> = codes
            .iter()
            .map(|c| (c + i32::from(UNSIGNED_ZERO)) as u8)
            .collect();
        let count = rows[1] - rows[0];
        let mut strips = vec![0; layout.len(count, self.inputs)];
        let size = layout.height * self.inputs;
        for (rows, strip) in unsigned.chunks(size).zip(strips.chunks_mut(size)) {
            layout.arrange(rows, self.inputs, strip);
        }
        let sums: Vec<i32> = codes.chunks(self.block).map(|b| b.iter().sum()).collect();
        let zero_points = panels_of_blocks(&self.zeros, blocks);
        let layer = BlockLinear {
            codes: &strips,
            scales: &self.scales[rows[0] * blocks..rows[1] * blocks],
            sums: &sums,
            weights: Weights {
                codes: &pack(self.bits, &self.weights, self.inputs),
                bits: self.bits,
                scales: &panels_of_blocks(&self.weight_scales, blocks),
                zeros: zeros.then_some(&zero_points),
                block: self.block,
                inputs: self.inputs,
                outputs: self.outputs,
            },
            bias: self.bias.as_deref(),
        };
        let mut out = vec![f32::NAN; count * self.outputs];
        layer.compute(set, &Sequential, &mut out).unwrap();
        out
    }
}

proptest! {
    /// Integer sums are exact, and their sum in float32 is as exact as that allows.
    #[test]
    fn sums_are_exact(
        rows in 1usize..40,
        block in prop_oneof![Just(32usize), Just(64), Just(128)],
        blocks in 1usize..4,
        outputs in 1usize..60,
        four: bool, zeros: bool, extreme: bool, biased: bool,
        seed: u64,
    ) {
        let bits = if four { Bits::Four } else { Bits::Eight };
        let largest = if four { 15 } else { 255 };
        let inputs = block * blocks;
        let pick = |x: u8| if extreme { if x > 100 { 255 } else { 0 } } else { x };
        let power = |x: u8| [0.25f32, 0.5, 1.0, -1.0][usize::from(x % 4)];
        let plain = Plain {
            bits, block, inputs, outputs,
            codes: numbers(seed, rows * inputs).map(|x| (i32::from(pick(x)) - 128).max(-127)).collect(),
            scales: numbers(seed ^ 1, rows * blocks).map(|x| power(x).abs()).collect(),
            weights: numbers(seed ^ 2, outputs * inputs).map(|x| pick(x) & largest).collect(),
            weight_scales: numbers(seed ^ 3, outputs * blocks).map(power).collect(),
            zeros: match zeros {
                true => numbers(seed ^ 4, outputs * blocks).map(|x| x & largest).collect(),
                false => vec![bits.middle(); outputs * blocks],
            },
            bias: biased.then(|| (0..outputs).map(|n| n as f32 - 5.0).collect()),
        };
        for &set in InstructionSet::available() {
            let out = plain.compute(set, [0, rows], zeros);
            for (i, found) in out.iter().enumerate() {
                let [expected, size] = plain.expected(i / outputs, i % outputs);
                let error = (f64::from(*found) - expected).abs();
                prop_assert!(error <= size / f64::from(1 << 22), "{}: {} {}", set, found, expected);
            }
        }
    }

    /// With any scales, the bits of a row do not depend on the rows beside it.
    #[test]
    fn a_row_is_the_same_in_every_batch(rows in 2usize..40, four: bool, seed: u64) {
        let bits = if four { Bits::Four } else { Bits::Eight };
        let (block, inputs, outputs) = (32, 96, 21);
        let scale = |x: u8| 0.01 + f32::from(x) / 77.0;
        let plain = Plain {
            bits, block, inputs, outputs,
            codes: numbers(seed, rows * inputs).map(|x| (i32::from(x) - 128).max(-127)).collect(),
            scales: numbers(seed ^ 1, rows * 3).map(scale).collect(),
            weights: numbers(seed ^ 2, outputs * inputs).map(|x| x & if four { 15 } else { 255 }).collect(),
            weight_scales: numbers(seed ^ 3, outputs * 3).map(scale).collect(),
            zeros: vec![bits.middle(); outputs * 3],
            bias: None,
        };
        for &set in InstructionSet::available() {
            let all = plain.compute(set, [0, rows], false);
            for first in 0..rows {
                let found = plain.compute(set, [first, rows], false);
                prop_assert_eq!(&found[..], &all[first * outputs..], "{}", set);
            }
        }
    }
}

#[test]
fn sizes_are_checked() {
    let layer = BlockLinear {
        codes: &[0; 12 * 32],
        scales: &[1.0; 2],
        sums: &[0; 2],
        weights: Weights {
            codes: &[0; 256],
            bits: Bits::Four,
            scales: &[1.0; 16],
            zeros: None,
            block: 32,
            inputs: 32,
            outputs: 3,
        },
        bias: None,
    };
    assert_eq!(layer.check(), Ok(()));
    let refused = |layer: BlockLinear<'_>, expected: &str| {
        let message = layer.check().unwrap_err();
        assert!(message.contains(expected), "{message}");
    };
    let weights = layer.weights;
    let with = |weights| BlockLinear { weights, ..layer };
    refused(
        with(Weights {
            block: 0,
            ..weights
        }),
        "blocks of 0",
    );
    refused(
        with(Weights {
            block: 16,
            ..weights
        }),
        "multiple of 32",
    );
    refused(
        with(Weights {
            inputs: 48,
            ..weights
        }),
        "whole blocks",
    );
    refused(
        with(Weights {
            codes: &[0; 255],
            ..weights
        }),
        "weights has 255",
    );
    refused(
        with(Weights {
            bits: Bits::Eight,
            ..weights
        }),
        "instead of 512",
    );
    refused(
        with(Weights {
            zeros: Some(&[0; 3]),
            ..weights
        }),
        "zero points has 3",
    );
    refused(
        with(Weights {
            scales: &[1.0; 3],
            ..weights
        }),
        "weight scales has 3",
    );
    refused(
        BlockLinear {
            sums: &[0],
            ..layer
        },
        "sums has 1",
    );
    refused(
        BlockLinear {
            bias: Some(&[0.0; 2]),
            ..layer
        },
        "bias has 2",
    );
}
