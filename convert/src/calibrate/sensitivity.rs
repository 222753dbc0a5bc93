//! The sensitivity of the embedding to each linear group. Copies of a few texts go through the network, each with one group
//! quantised and everything else in float32.

use lexivec_models::LinearPrecision;
use lexivec_runtime::LayerNetwork;
use lexivec_runtime::plan::Plan;
use lexivec_runtime::vector::cosine;

use super::layer_pass::{BATCH_TOKENS, Batches, HiddenStates, LayerPass};
use super::layer_solutions::LayerSolutions;
use super::linear_group::LinearGroup;
use super::rounding_grid::Scheme;
use crate::error::Result;

/// Number of texts that are copied. Every linear group adds a copy that passes through all later layers, and all copies are
/// kept: 280 MB for a 4B model.
const TEXTS: usize = 8;
/// The most tokens of a copied text, for the same reason.
const TOKENS: usize = 12;

/// A pass that measures sensitivities layer by layer.
pub(super) struct SensitivityPass<'a> {
    pass: &'a LayerPass<'a>,
    batches: Batches,
    reference: HiddenStates,
    /// By linear groups and inexact precisions.
    copies: Vec<HiddenStates>,
}

impl<'a> SensitivityPass<'a> {
    pub(super) fn new(pass: &'a LayerPass<'a>, sequences: &[Vec<u32>]) -> Result<Self> {
        let short: Vec<&Vec<u32>> = sequences.iter().filter(|s| s.len() <= TOKENS).collect();
        let from = match short.len() < TEXTS {
            true => sequences.iter().collect(),
            false => short,
        };
        let count = TEXTS.min(from.len());
        let chosen: Vec<Vec<u32>> = (0..count)
            .map(|i| truncated(from[i * from.len() / count]))
            .collect();
        let batches = Batches::new(&chosen);
        Ok(Self {
            reference: pass.embed(&batches)?,
            copies: Vec::new(),
            pass,
            batches,
        })
    }

    /// Moves all copies through a layer, `network`, and adds the copies of its linear groups.
    pub(super) fn run_layer(
        &mut self,
        layer: usize,
        network: &mut LayerNetwork,
        solved: &LayerSolutions<'_>,
    ) -> Result<()> {
        let together = (BATCH_TOKENS / self.batches.packed_tokens().max(1)).max(1);
        for copies in self.copies.chunks_mut(together) {
            run_together(self.pass, network, &self.batches, copies)?;
        }
        for group in LinearGroup::of_layer(layer) {
            for &precision in solved.scheme.inexact() {
                let only = |g: LinearGroup| {
                    if g == group {
                        precision
                    } else {
                        LinearPrecision::Fp32
                    }
                };
                let (quantized, folding) = solved.assemble(layer..layer + 1, only);
                let mut variant = self.pass.open(layer, &folding, &quantized)?;
                let mut states = self.reference.clone();
                self.pass
                    .run_layer(&mut variant, &self.batches.plans, &mut states, &[])?;
                self.copies.push(states);
            }
        }
        self.pass
            .run_layer(network, &self.batches.plans, &mut self.reference, &[])?;
        Ok(())
    }

    /// The sensitivities of all linear groups in the order of the network; for each group, one per inexact precision of the
    /// scheme.
    pub(super) fn finish(self, scheme: Scheme) -> Result<Vec<Vec<f64>>> {
        let expected = self.pass.finish(&self.batches, &self.reference)?;
        let sensitivity = |states: &HiddenStates| {
            let found = self.pass.finish(&self.batches, states)?;
            let pairs = expected.iter().zip(&found);
            let sum: f64 = pairs.map(|(e, f)| 1.0 - cosine(e, f)).sum();
            Ok(sum / expected.len() as f64)
        };
        let groups = self.copies.chunks(scheme.inexact().len());
        groups
            .map(|copies| copies.iter().map(sensitivity).collect())
            .collect()
    }
}

/// Moves copies through a layer in a single run, because every run widens the layer's weights.
fn run_together(
    pass: &LayerPass<'_>,
    network: &mut LayerNetwork,
    batches: &Batches,
    copies: &mut [HiddenStates],
) -> Result<()> {
    let count = copies.len();
    let plans: Vec<Plan> = batches.plans.iter().map(|p| p.repeated(count)).collect();
    let of_plan = |p: usize| copies.iter().flat_map(move |c| c[p].iter().copied());
    let mut together: HiddenStates = (0..plans.len()).map(|p| of_plan(p).collect()).collect();
    pass.run_layer(network, &plans, &mut together, &[])?;
    for (p, rows) in together.iter().enumerate() {
        for (copy, rows) in copies.iter_mut().zip(rows.chunks_exact(rows.len() / count)) {
            copy[p].copy_from_slice(rows);
        }
    }
    Ok(())
}

/// The first tokens of a text and its last token, which ends it.
fn truncated(sequence: &[u32]) -> Vec<u32> {
    match sequence.split_last() {
        Some((last, before)) => {
            let first = before.iter().take(TOKENS - 1);
            first.chain([last]).copied().collect()
        }
        None => Vec::new(),
    }
}
