//! What each product does to the embedding: copies of a few texts go through the network, each with one product
//! quantised and all else in float32.

use lexivec_models::LinearPrecision;
use lexivec_runtime::LayerNetwork;
use lexivec_runtime::plan::Plan;
use lexivec_runtime::vector::cosine;

use super::Solutions;
use super::group::Group;
use super::solve::Scheme;
use super::walk::{BATCH_TOKENS, Batches, States, Walk};
use crate::error::Result;

/// Texts that are copied, and the most tokens of one: every product adds a copy to all later layers, and all copies are
/// kept, 280 MB of a 4B model's.
const TEXTS: usize = 8;
const TOKENS: usize = 12;

pub(super) struct Effects<'a> {
    walk: &'a Walk<'a>,
    batches: Batches,
    reference: States,
    /// By products and inexact precisions.
    copies: Vec<States>,
}

impl<'a> Effects<'a> {
    pub(super) fn new(walk: &'a Walk<'a>, sequences: &[Vec<u32>]) -> Result<Self> {
        let short: Vec<&Vec<u32>> = sequences.iter().filter(|s| s.len() <= TOKENS).collect();
        let from = match short.len() < TEXTS {
            true => sequences.iter().collect(),
            false => short,
        };
        let count = TEXTS.min(from.len());
        let chosen: Vec<Vec<u32>> = (0..count)
            .map(|i| shortened(from[i * from.len() / count]))
            .collect();
        let batches = Batches::new(&chosen);
        Ok(Self {
            reference: walk.embed(&batches)?,
            copies: Vec::new(),
            walk,
            batches,
        })
    }

    /// Moves all copies through a layer, `network`, and makes those of its products.
    pub(super) fn step(
        &mut self,
        layer: usize,
        network: &mut LayerNetwork,
        solved: &Solutions<'_>,
    ) -> Result<()> {
        let together = (BATCH_TOKENS / self.batches.rows().max(1)).max(1);
        for copies in self.copies.chunks_mut(together) {
            step_together(self.walk, network, &self.batches, copies)?;
        }
        for group in Group::of_layer(layer) {
            for &precision in solved.scheme.inexact() {
                let only = |g: Group| {
                    if g == group {
                        precision
                    } else {
                        LinearPrecision::Fp32
                    }
                };
                let (products, folds) = solved.assemble(layer..layer + 1, only);
                let mut variant = self.walk.open(layer, folds, &products)?;
                let mut states = self.reference.clone();
                self.walk
                    .step(&mut variant, &self.batches.plans, &mut states, &[])?;
                self.copies.push(states);
            }
        }
        self.walk
            .step(network, &self.batches.plans, &mut self.reference, &[])?;
        Ok(())
    }

    /// The effects of all products, in the order of the network, of each so many as the scheme has inexact precisions.
    pub(super) fn finish(self, scheme: Scheme) -> Result<Vec<Vec<f64>>> {
        let expected = self.walk.finish(&self.batches, &self.reference)?;
        let effect = |states: &States| {
            let found = self.walk.finish(&self.batches, states)?;
            let pairs = expected.iter().zip(&found);
            let sum: f64 = pairs.map(|(e, f)| 1.0 - cosine(e, f)).sum();
            Ok(sum / expected.len() as f64)
        };
        let products = self.copies.chunks(scheme.inexact().len());
        products
            .map(|copies| copies.iter().map(effect).collect())
            .collect()
    }
}

/// Moves copies through a layer, all in one run: as many runs would each widen the layer's weights.
fn step_together(
    walk: &Walk<'_>,
    network: &mut LayerNetwork,
    batches: &Batches,
    copies: &mut [States],
) -> Result<()> {
    let count = copies.len();
    let plans: Vec<Plan> = batches.plans.iter().map(|p| p.repeated(count)).collect();
    let of_plan = |p: usize| copies.iter().flat_map(move |c| c[p].iter().copied());
    let mut together: States = (0..plans.len()).map(|p| of_plan(p).collect()).collect();
    walk.step(network, &plans, &mut together, &[])?;
    for (p, rows) in together.iter().enumerate() {
        for (copy, rows) in copies.iter_mut().zip(rows.chunks_exact(rows.len() / count)) {
            copy[p].copy_from_slice(rows);
        }
    }
    Ok(())
}

/// The first tokens of a text and its last, which ends it.
fn shortened(sequence: &[u32]) -> Vec<u32> {
    match sequence.split_last() {
        Some((last, before)) => {
            let first = before.iter().take(TOKENS - 1);
            first.chain([last]).copied().collect()
        }
        None => Vec::new(),
    }
}
