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
                    let factors = solution.basis.factors.as_deref();
                    factors.filter(|_| smoothed)
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

    /// Whether a group is rotated that is quantised with these precisions.
    pub(super) fn rotates(&self, precisions: &[LinearPrecision]) -> bool {
        let mut groups = self.layers.iter().flatten().zip(precisions);
        groups.any(|(solution, precision)| {
            *precision != LinearPrecision::Fp32 && solution.basis.rotation.is_some()
        })
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
                    smoothing: solution.basis.strength.filter(|_| !float),
                    rotation: solution.basis.rotation.filter(|_| !float),
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lexivec_models::{Checkpoint, Target};
    use lexivec_runtime::Library;

    use super::super::layer_pass::{Batches, LayerPass};
    use super::super::{solution_store, solve};
    use super::*;
    use crate::reference::data_folder;
    use crate::weights::Weights;

    #[test]
    fn a_rotated_layer_computes_what_the_layer_computes() {
        let nano = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/nano");
        let checkpoint = Checkpoint::open(&nano).unwrap();
        let d = &checkpoint.decoder;
        let weights = Weights::open(&checkpoint).unwrap();
        let texts: Vec<Vec<u32>> = (0..30).map(|i| (i..i + 9).collect()).collect();
        let batches = Batches::new(&texts);
        let data = data_folder(&checkpoint.weights).unwrap();
        let library = Library::load(None, false).unwrap();
        let pass = LayerPass::new(library, d, &weights, data, &batches);
        let embedded = pass.embed(&batches).unwrap();

        let scheme = Scheme::Channels { rotates: true };
        let mut expected = embedded.clone();
        let seen = pass.observe(0, &batches, &mut expected).unwrap();
        let solve = |(group, inputs): (LinearGroup, _)| {
            let weights = group.weights(d, &weights).unwrap();
            solve::solve(group, d, scheme, inputs, weights)
        };
        let solved: Vec<_> = seen.into_iter().map(solve).collect();
        assert!(solved.iter().any(|s| s.basis.rotation.is_some()));
        let dir = tempfile::tempdir().unwrap();
        let groups = LinearGroup::of_layer(0);
        solution_store::write_layer(dir.path(), &groups, &solved).unwrap();
        let solutions = LayerSolutions {
            decoder: d,
            scheme,
            first: 0,
            layers: vec![solution_store::read_layer(dir.path(), &groups, scheme, d).unwrap()],
        };

        let (quantized, folding) = solutions.assemble(0..1, |_| LinearPrecision::Int8x2);
        // By lexivec's own operators, and by a product with the matrix of the rotation. ONNX Runtime's integer products saturate where
        // a CPU lacks VNNI.
        for (target, allowed) in [(Target::Cpu, 1e-3), (Target::Ort, 1e-2)] {
            let pass = pass.with_products_of(target);
            let mut network = pass.open(0, &folding, &quantized).unwrap();
            let mut found = embedded.clone();
            pass.run_layer(&mut network, &batches.plans, &mut found, &[])
                .unwrap();
            let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>();
            let pairs = expected.concat().into_iter().zip(found.concat());
            let error = square(&mut pairs.map(|(e, f)| e - f));
            let size = square(&mut expected.concat().into_iter());
            assert!(error < allowed * size, "{target}: {error} of {size}");
        }
    }
}
