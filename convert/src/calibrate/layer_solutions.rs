//! The solutions of some layers, and the quantised linear groups that they make at chosen precisions.

use std::ops::Range;

use lexivec_models::{Decoder, LinearGroupPlan, LinearPrecision};

use super::linear_group::LinearGroup;
use super::rounding_grid::Scheme;
use super::solution_store::{CalibrationSummary, StoredSolution};
use crate::quantized::QuantizedLinears;
use crate::weights::ScaleFolding;

/// The solutions of consecutive layers.
pub(super) struct LayerSolutions<'a> {
    pub(super) decoder: &'a Decoder,
    pub(super) scheme: Scheme,
    /// The first of the layers.
    pub(super) first: usize,
    pub(super) layers: Vec<Vec<StoredSolution>>,
}

impl LayerSolutions<'_> {
    /// The quantised linear groups of these layers at the given precisions, and the folding of their smoothing.
    pub(super) fn assemble(
        &self,
        layers: Range<usize>,
        precision: impl Fn(LinearGroup) -> LinearPrecision,
    ) -> (QuantizedLinears, ScaleFolding) {
        let d = self.decoder;
        let (mut quantized, mut folding) = (QuantizedLinears::default(), ScaleFolding::default());
        for layer in layers {
            let solutions = &self.layers[layer - self.first];
            let groups = LinearGroup::of_layer(layer);
            // A group in float32 reads inputs that are not smoothed.
            let factors: Vec<Option<&[f32]>> = groups
                .iter()
                .zip(solutions)
                .map(|(group, solution)| {
                    let smoothed = precision(*group) != LinearPrecision::Fp32;
                    solution
                        .smoothing
                        .as_ref()
                        .filter(|_| smoothed)
                        .map(|(_, f)| f.as_slice())
                })
                .collect();
            for (group, solution) in groups.iter().zip(solutions) {
                let precision = precision(*group);
                if precision == LinearPrecision::Fp32 {
                    continue;
                }
                let linear = solution.quantized_linear(precision, |scales, per| {
                    for (next, factors) in groups.iter().zip(&factors) {
                        if let (true, Some(factors)) = (next.source() == Some(*group), factors) {
                            next.rescale_source(d, factors, scales, per);
                        }
                    }
                });
                quantized.insert(group.name(), linear);
            }
            for (group, factors) in groups.iter().zip(&factors) {
                if let Some(factors) = factors {
                    group.fold_smoothing(d, factors, &mut folding);
                }
            }
        }
        (quantized, folding)
    }

    /// The manifest's entry for each linear group.
    pub(super) fn report(
        &self,
        precisions: &[LinearPrecision],
        summary: &CalibrationSummary,
    ) -> Vec<LinearGroupPlan> {
        let groups = (0..self.layers.len()).flat_map(LinearGroup::of_layer);
        groups
            .zip(self.layers.iter().flatten())
            .map(|(group, solution)| {
                let precision = precisions[group.index()];
                let float = precision == LinearPrecision::Fp32;
                LinearGroupPlan {
                    name: group.name().trim_end_matches(".weight").to_owned(),
                    precision,
                    smoothing: solution
                        .smoothing
                        .as_ref()
                        .filter(|_| !float)
                        .map(|(s, _)| *s),
                    rounding: if float {
                        "none".to_owned()
                    } else {
                        solution.rounding.clone()
                    },
                    sensitivity: summary.sensitivities[group.index()][0],
                }
            })
            .collect()
    }
}
