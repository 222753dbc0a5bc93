//! The basis in which the input of a linear group is quantised. Two changes of the basis leave the group's function as it is:
//!
//! * *Smoothing* (SmoothQuant, arXiv 2211.10438) divides channels of the input by factors, and multiplies the weights by them. The factors
//!   are folded into the weights that compute the input, so they cost nothing at run time.
//! * A *rotation* (QuaRot, arXiv 2404.00456) multiplies blocks of the input, and of each row of the weights, by random signs and a Hadamard
//!   matrix. It spreads outliers of tokens and channels over their block. The signs are folded like factors; the operator that quantises the
//!   input applies the matrix (`lexivec_kernels::hadamard`).

use lexivec_kernels::hadamard;
use lexivec_models::Decoder;

use super::linear_group::LinearGroup;
use crate::matrix::Matrix;

/// Candidate strengths of smoothing, besides none: 0 evens out weights, 1 activations.
const STRENGTHS: [f32; 6] = [0.3, 0.45, 0.55, 0.65, 0.75, 0.85];
/// The same before a rotation, which evens out most of both.
pub(super) const STRENGTHS_BEFORE_ROTATION: [f32; 2] = [0.55, 0.8];
/// The largest smoothing factor; its inverse is the smallest.
const LARGEST_FACTOR: f32 = 1e4;
/// The seed of the random signs. The manifest records it.
pub(super) const SEED: u64 = 1;

/// The basis of a linear group's input.
#[derive(Debug, Clone, Default)]
pub(super) struct Basis {
    /// The strength of smoothing.
    pub(super) strength: Option<f32>,
    /// The divisor of each input channel: the factor of smoothing, with a random sign before a rotation. `None` if all are 1.
    pub(super) factors: Option<Vec<f32>>,
    /// The width of the blocks that are rotated, if any.
    pub(super) rotation: Option<usize>,
}

impl Basis {
    /// All bases with smoothing and without a rotation, for the largest magnitudes of each input channel's activations and weights.
    pub(super) fn smoothed(activations: &[f32], weights: &[f32]) -> impl Iterator<Item = Self> {
        STRENGTHS.into_iter().map(|strength| Self {
            strength: Some(strength),
            factors: Some(factors(activations, weights, strength)),
            rotation: None,
        })
    }

    /// All bases with a rotation, with smoothing and without. None if the group is too narrow.
    pub(super) fn rotated(
        group: LinearGroup,
        d: &Decoder,
        activations: &[f32],
        weights: &[f32],
    ) -> impl Iterator<Item = Self> {
        let rotation = hadamard::widest_block(group.inputs(d));
        let strengths = STRENGTHS_BEFORE_ROTATION.into_iter().map(Some);
        let strengths = [None].into_iter().chain(strengths);
        let signs = signs(group, d);
        let basis = move |strength: Option<f32>| {
            let factors = match strength {
                None => signs.clone(),
                Some(strength) => {
                    let factors = factors(activations, weights, strength);
                    factors.iter().zip(&signs).map(|(f, s)| f * s).collect()
                }
            };
            Self {
                strength,
                factors: Some(factors),
                rotation,
            }
        };
        strengths.filter(move |_| rotation.is_some()).map(basis)
    }

    /// The weights `[out, in]` and inputs `[tokens, in]` of the group in this basis. Their product is what it was.
    pub(super) fn change(&self, mut weights: Matrix, mut inputs: Matrix) -> (Matrix, Matrix) {
        if let Some(factors) = &self.factors {
            let inverse: Vec<f32> = factors.iter().map(|f| 1.0 / f).collect();
            weights.scale_columns(factors);
            inputs.scale_columns(&inverse);
        }
        if let Some(block) = self.rotation {
            weights.rotate_rows(block);
            inputs.rotate_rows(block);
        }
        (weights, inputs)
    }
}

/// The smoothing factors of input channels: `|x|^strength / |w|^(1 - strength)`, with a geometric mean of 1.
fn factors(activations: &[f32], weights: &[f32], strength: f32) -> Vec<f32> {
    let floor =
        |values: &[f32]| values.iter().fold(0f32, |m, v| m.max(*v)) * 1e-5 + f32::MIN_POSITIVE;
    let (least_x, least_w) = (floor(activations), floor(weights));
    let logs: Vec<f32> = activations
        .iter()
        .zip(weights)
        .map(|(x, w)| strength * x.max(least_x).ln() - (1.0 - strength) * w.max(least_w).ln())
        .collect();
    let mean = logs.iter().map(|l| f64::from(*l)).sum::<f64>() / logs.len() as f64;
    logs.iter()
        .map(|l| {
            (l - mean as f32)
                .exp()
                .clamp(1.0 / LARGEST_FACTOR, LARGEST_FACTOR)
        })
        .collect()
}

/// A random sign for each input channel, the same for channels with the same source.
fn signs(group: LinearGroup, d: &Decoder) -> Vec<f32> {
    let sign = |channel: usize| {
        // SplitMix64 (doi 10.1145/2660193.2660195).
        let steps = (channel as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut x = SEED.wrapping_add(steps);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        if (x ^ (x >> 31)) & 1 == 0 { 1.0 } else { -1.0 }
    };
    let mut signs: Vec<f32> = (0..group.inputs(d)).map(sign).collect();
    group.tie(d, &mut signs, |first, _| first);
    signs
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lexivec_models::Checkpoint;

    use super::*;

    fn numbers(seed: u64, count: usize) -> Vec<f32> {
        let number = |i: u64| {
            let x = (i + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (x >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count as u64).map(number).collect()
    }

    fn largest(matrix: &Matrix) -> f32 {
        matrix.values.iter().fold(0.0, |m, v| m.max(v.abs()))
    }

    #[test]
    fn a_rotation_keeps_the_product_and_spreads_outliers() {
        let nano = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/nano");
        let d = &Checkpoint::open(&nano).unwrap().decoder;
        for group in LinearGroup::of_layer(0) {
            let n = group.inputs(d);
            let (weights, mut inputs) = (
                Matrix::new(n, numbers(1, 5 * n)),
                Matrix::new(n, numbers(2, 3 * n)),
            );
            inputs.values[n + 7] = 300.0;
            let expected = inputs.times_transposed(&weights);
            let (x, w) = (inputs.column_maxima(), weights.column_maxima());
            let rotated: Vec<Basis> = Basis::rotated(group, d, &x, &w).collect();
            assert_eq!(rotated.len(), 3);
            for basis in rotated {
                let (weights, changed) = basis.change(weights.clone(), inputs.clone());
                let found = changed.times_transposed(&weights);
                for (e, f) in expected.values.iter().zip(&found.values) {
                    assert!(
                        (e - f).abs() <= 1e-6 * largest(&expected),
                        "{group:?}: {e} {f}"
                    );
                }
                if basis.strength.is_none() {
                    assert!(largest(&changed) < 0.2 * largest(&inputs), "{group:?}");
                }
            }
        }
    }

    #[test]
    fn query_heads_that_share_a_value_head_share_its_signs() {
        let nano = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/nano");
        let d = &Checkpoint::open(&nano).unwrap().decoder;
        let [_, output, ..] = LinearGroup::of_layer(0);
        let signs = signs(output, d);
        assert_eq!(signs[..d.head_dim], signs[d.head_dim..2 * d.head_dim]);
        let positive = signs.iter().filter(|s| **s > 0.0).count();
        assert!(
            (signs.len() / 3..signs.len() * 2 / 3).contains(&positive),
            "{positive}"
        );
    }
}
