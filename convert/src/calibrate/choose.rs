//! Which products compute more finely than the precision asks: the fewest with which calibration texts stay as
//! near to float32 as the goal says.
//!
//! Effects put the possible improvements in an order, those that gain most for what they cost first. How many of them
//! are needed is measured, not predicted: the whole network runs with the first third of them, then with a third of what
//! is left, and so on.

use lexivec_models::{Decoder, LinearPrecision};

use super::group::Group;
use super::solve::Scheme;
use super::walk::{Batches, Walk};
use super::{Goal, Solutions, texts};
use crate::error::Result;
use crate::likeness::Likeness;
use crate::progress::Progress;

/// What a product costs: the time relative to int8 on a CPU with integer instructions; bytes per weight where the
/// weights alone are integers.
fn cost(precision: LinearPrecision) -> f64 {
    match precision {
        LinearPrecision::Int4Weight => 0.5,
        LinearPrecision::Int8 | LinearPrecision::Int8Weight => 1.0,
        LinearPrecision::Int8x2 => 2.0,
        LinearPrecision::Fp32 => 5.0,
    }
}

/// Improvements of single products, in the order in which they are worth making.
pub(super) struct Ladder {
    coarsest: LinearPrecision,
    products: usize,
    steps: Vec<(usize, LinearPrecision)>,
}

impl Ladder {
    pub(super) fn new(scheme: Scheme, effects: &[Vec<f64>], d: &Decoder) -> Self {
        let groups = (0..d.layers).flat_map(Group::of_layer);
        let mut steps: Vec<(f64, usize, LinearPrecision)> = Vec::new();
        for (group, effects) in groups.zip(effects) {
            let size = (group.inputs(d) * group.outputs(d).iter().sum::<usize>()) as f64;
            let effects = effects.iter().copied();
            let inexact = scheme.inexact().iter().copied().zip(effects);
            let levels: Vec<(LinearPrecision, f64)> =
                inexact.chain([(LinearPrecision::Fp32, 0.0)]).collect();
            // From each level the one that gains most for what it costs, so that gains never grow along the steps.
            let mut from = 0;
            while from + 1 < levels.len() {
                let gain = |to: usize| {
                    let dearer = cost(levels[to].0) - cost(levels[from].0);
                    (levels[from].1 - levels[to].1) / (size * dearer)
                };
                let Some(to) =
                    (from + 1..levels.len()).max_by(|a, b| gain(*a).total_cmp(&gain(*b)))
                else {
                    break;
                };
                steps.push((gain(to), group.index(), levels[to].0));
                from = to;
            }
        }
        steps.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        Self {
            coarsest: scheme.inexact()[0],
            products: effects.len(),
            steps: steps
                .into_iter()
                .map(|(_, product, to)| (product, to))
                .collect(),
        }
    }

    /// The precision of every product once the first `count` steps are made.
    fn after(&self, count: usize) -> Vec<LinearPrecision> {
        let mut precisions = vec![self.coarsest; self.products];
        for (product, precision) in &self.steps[..count] {
            precisions[*product] = *precision;
        }
        precisions
    }
}

/// The precisions chosen, and what they give on the calibration texts.
pub(super) struct Chosen {
    pub(super) precisions: Vec<LinearPrecision>,
    /// The least of all texts.
    pub(super) min_cosine: f64,
    /// The mean of those that were kept back from rounding.
    pub(super) mean_cosine: f64,
}

impl Chosen {
    fn reaches(&self, goal: Goal) -> bool {
        self.min_cosine >= goal.min_cosine && self.mean_cosine >= goal.mean_cosine
    }
}

/// Finds the shortest part of the ladder that reaches the goal.
pub(super) fn choose(
    walk: &Walk<'_>,
    batches: &Batches,
    solutions: &Solutions<'_>,
    ladder: &Ladder,
    goal: Goal,
    progress: &dyn Progress,
) -> Result<Chosen> {
    progress.stage("choosing precisions", 0);
    let expected = walk.run(batches, progress, |_| Default::default())?;
    let measure = |count: usize| -> Result<Chosen> {
        let precisions = ladder.after(count);
        let found = walk.run(batches, progress, |layer| {
            solutions.assemble(layer..layer + 1, |g| precisions[g.index()])
        })?;
        let (_, expected_unseen) = texts::part(expected.iter());
        let (_, found_unseen) = texts::part(found.iter());
        let chosen = Chosen {
            precisions,
            min_cosine: Likeness::of(&expected, &found).min,
            mean_cosine: Likeness::of(&expected_unseen, &found_unseen).mean,
        };
        tracing::debug!(
            count,
            chosen.min_cosine,
            chosen.mean_cosine,
            "measured a plan"
        );
        Ok(chosen)
    };
    let mut best = measure(0)?;
    if best.reaches(goal) {
        return Ok(best);
    }
    // `few` steps are too few, `enough` are enough: all steps leave float32 alone.
    let (mut few, mut enough) = (0, ladder.steps.len());
    while enough - few > 1 {
        // Few steps cost little and usually do: look there first.
        let middle = few + ((enough - few) / 3).max(1);
        let found = measure(middle)?;
        if found.reaches(goal) {
            (enough, best) = (middle, found);
        } else {
            few = middle;
        }
    }
    if best.precisions != ladder.after(enough) {
        best = measure(enough)?;
    }
    Ok(best)
}
