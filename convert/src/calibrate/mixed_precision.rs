//! Chooses the linear groups that compute more finely than the precision asks: the fewest with which calibration texts reach
//! the accuracy target.
//!
//! The sensitivities put all possible improvements in an order, those that gain most for their cost first. How many of them
//! are needed is measured with the whole network: first with the number that the summed sensitivities predict, then with
//! numbers between the best failure and the best success, until these are neighbours.

use lexivec_models::{Decoder, LinearPrecision};

use super::accuracy_target::AccuracyTarget;
use super::calibration_texts as texts;
use super::layer_pass::{Batches, LayerPass};
use super::layer_solutions::LayerSolutions;
use super::linear_group::LinearGroup;
use super::rounding_grid::Scheme;
use crate::error::Result;
use crate::progress::Progress;
use crate::similarity::Similarity;

/// The cost of a linear precision. For integer and float arithmetic, the time relative to int8 on a CPU with AVX-512 VNNI
/// (benches/RESULTS.md). For weight-only precisions, bytes per weight.
fn cost(precision: LinearPrecision) -> f64 {
    match precision {
        LinearPrecision::Int4Weight => 0.5,
        LinearPrecision::Int8 | LinearPrecision::Int8Weight | LinearPrecision::Fp8 => 1.0,
        LinearPrecision::Int8x2 => 2.0,
        LinearPrecision::Fp32 => 3.4,
    }
}

/// A mixed-precision plan: improvements of single linear groups, in the order in which they are worth making.
pub(super) struct MixedPrecisionPlan {
    coarsest: LinearPrecision,
    groups: usize,
    steps: Vec<(usize, LinearPrecision)>,
    /// The summed sensitivities of all groups before each step and after the last one.
    left: Vec<f64>,
    /// The summed cost of the steps before each step and after the last one.
    spent: Vec<f64>,
}

impl MixedPrecisionPlan {
    pub(super) fn new(scheme: Scheme, sensitivities: &[Vec<f64>], d: &Decoder) -> Self {
        let groups = (0..d.layers).flat_map(LinearGroup::of_layer);
        let mut steps: Vec<Refinement> = Vec::new();
        for (group, sensitivities) in groups.zip(sensitivities) {
            let size = group.weight_count(d) as f64;
            let sensitivities = sensitivities.iter().copied();
            let inexact = scheme.inexact().iter().copied().zip(sensitivities);
            let levels: Vec<(LinearPrecision, f64)> =
                inexact.chain([(LinearPrecision::Fp32, 0.0)]).collect();
            // Each step goes to the level that gains most for its cost, so gains never grow along the steps.
            let mut from = 0;
            while from + 1 < levels.len() {
                let step = |to: usize| Refinement {
                    group: group.index(),
                    to: levels[to].0,
                    gain: levels[from].1 - levels[to].1,
                    cost: size * (cost(levels[to].0) - cost(levels[from].0)),
                };
                let tried = (from + 1..levels.len()).map(|to| (to, step(to)));
                let Some((to, step)) = tried.max_by(|a, b| a.1.worth().total_cmp(&b.1.worth()))
                else {
                    break;
                };
                steps.push(step);
                from = to;
            }
        }
        steps.sort_by(|a, b| {
            let worth = b.worth().total_cmp(&a.worth());
            worth.then((a.group, a.to).cmp(&(b.group, b.to)))
        });
        let mut left = vec![sensitivities.iter().map(|levels| levels[0]).sum::<f64>()];
        left.extend(steps.iter().scan(left[0], |left, step| {
            *left -= step.gain;
            Some(*left)
        }));
        let mut spent = vec![0.0];
        spent.extend(steps.iter().scan(0.0, |spent, step| {
            *spent += step.cost;
            Some(*spent)
        }));
        Self {
            coarsest: scheme.inexact()[0],
            groups: sensitivities.len(),
            steps: steps.iter().map(|s| (s.group, s.to)).collect(),
            left,
            spent,
        }
    }

    /// The precision of every linear group after the first `count` steps.
    fn after(&self, count: usize) -> Vec<LinearPrecision> {
        let mut precisions = vec![self.coarsest; self.groups];
        for (group, precision) in &self.steps[..count] {
            precisions[*group] = *precision;
        }
        precisions
    }

    /// The least number of steps after which the summed sensitivities are at most `left`.
    fn leaving(&self, left: f64) -> usize {
        self.left.partition_point(|l| *l > left)
    }

    /// The largest number of steps that cost at most `cost` together.
    fn affordable(&self, cost: f64) -> usize {
        self.spent.partition_point(|spent| *spent <= cost) - 1
    }
}

/// One linear group computed more finely.
struct Refinement {
    group: usize,
    to: LinearPrecision,
    /// The decrease in sensitivity.
    gain: f64,
    cost: f64,
}

impl Refinement {
    fn worth(&self) -> f64 {
        self.gain / self.cost
    }
}

/// The chosen precisions, and the cosines that they give on the calibration texts.
pub(super) struct ChosenPlan {
    pub(super) precisions: Vec<LinearPrecision>,
    /// The least cosine of all texts.
    pub(super) min_cosine: f64,
    /// The mean cosine of held-out texts.
    pub(super) mean_cosine: f64,
}

impl ChosenPlan {
    /// The error divided by the error that the accuracy target allows; at most 1 if the target is reached.
    pub(super) fn excess(&self, accuracy: AccuracyTarget) -> f64 {
        let of = |found: f64, asked: f64| (1.0 - found) / (1.0 - asked);
        let (min, mean) = (accuracy.min_cosine, accuracy.mean_cosine);
        of(self.min_cosine, min).max(of(self.mean_cosine, mean))
    }
}

/// Finds the fewest steps of the plan that reach the accuracy target.
pub(super) fn choose(
    pass: &LayerPass<'_>,
    batches: &Batches,
    solutions: &LayerSolutions<'_>,
    plan: &MixedPrecisionPlan,
    accuracy: AccuracyTarget,
    progress: &dyn Progress,
) -> Result<ChosenPlan> {
    progress.stage("choosing precisions", 0);
    let expected = pass.run(batches, progress, |_| Default::default())?;
    let (_, expected_held_out) = texts::split(expected.iter());
    let measure = |count: usize| -> Result<ChosenPlan> {
        let precisions = plan.after(count);
        let found = pass.run(batches, progress, |layer| {
            solutions.assemble(layer..layer + 1, |g| precisions[g.index()])
        })?;
        let (_, found_held_out) = texts::split(found.iter());
        let chosen = ChosenPlan {
            precisions,
            min_cosine: Similarity::of(&expected, &found).min,
            mean_cosine: Similarity::of(&expected_held_out, &found_held_out).mean,
        };
        tracing::debug!(
            count,
            chosen.min_cosine,
            chosen.mean_cosine,
            "measured a mixed-precision plan"
        );
        Ok(chosen)
    };
    fewest_steps(plan, accuracy, measure)
}

/// Searches the plan for the least number of steps with which `measure` finds the accuracy target reached. If that costs
/// too much, returns the affordable number of steps, or the least number that reaches the floor.
fn fewest_steps(
    plan: &MixedPrecisionPlan,
    accuracy: AccuracyTarget,
    measure: impl Fn(usize) -> Result<ChosenPlan>,
) -> Result<ChosenPlan> {
    let affordable = plan.affordable(accuracy.cost);
    let accuracy_after = |count: usize| match count < affordable {
        true => accuracy,
        false => accuracy.at_any_cost(),
    };
    let mut best = measure(0)?;
    if best.excess(accuracy_after(0)) <= 1.0 {
        return Ok(best);
    }
    // A number of steps that is too small and one that is large enough, each with its excess. All steps together leave only
    // float32, so they are enough; their excess is not measured.
    let (mut few, mut enough) = (
        (0, best.excess(accuracy_after(0))),
        (plan.steps.len(), None),
    );
    let (mut last, mut same) = (None, 0);
    while enough.0 - few.0 > 1 {
        let left = |steps: usize| plan.left[steps].max(f64::MIN_POSITIVE).ln();
        // Predicts where the target is reached. With one measurement, assumes that the error is proportional to the summed
        // sensitivities; with two, that it is a power of them.
        let needed = few.1.ln();
        let wanted = match enough.1 {
            None => left(few.0) - needed,
            Some(excess) => {
                let reached = needed - f64::ln(excess);
                left(few.0) + (left(enough.0) - left(few.0)) * needed / reached
            }
        };
        let mut middle = plan.leaving(wanted.exp());
        // Sensitivities that do not add up must not mislead for long. After two predictions on the same side, tries a third
        // of the way: few steps cost little, and usually few suffice.
        if same > 1 || middle >= enough.0 && enough.1.is_none() {
            middle = few.0 + (enough.0 - few.0) / 3;
        }
        if few.0 < affordable {
            middle = middle.min(affordable);
        }
        let middle = middle.clamp(few.0 + 1, enough.0 - 1);
        let found = measure(middle)?;
        let whole = found.excess(accuracy);
        if middle == affordable && whole > 1.0 {
            // Fewer steps do not reach the target either.
            few = (middle - 1, whole);
        }
        let excess = found.excess(accuracy_after(middle));
        let reached = excess <= 1.0;
        same = if last == Some(reached) { same + 1 } else { 0 };
        last = Some(reached);
        if reached {
            (enough, best) = ((middle, Some(excess.max(f64::MIN_POSITIVE))), found);
        } else {
            few = (middle, excess);
        }
    }
    match enough.1 {
        Some(_) => Ok(best),
        None => measure(enough.0),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    /// A plan of steps with these gains, each of which costs 1.
    fn plan(gains: &[f64]) -> MixedPrecisionPlan {
        let mut left: Vec<f64> = gains
            .iter()
            .rev()
            .scan(0.0, |sum, g| {
                Some({
                    *sum += g;
                    *sum
                })
            })
            .collect();
        left.reverse();
        left.push(0.0);
        MixedPrecisionPlan {
            coarsest: LinearPrecision::Int8,
            groups: gains.len(),
            steps: (0..gains.len())
                .map(|i| (i, LinearPrecision::Fp32))
                .collect(),
            left,
            spent: (0..=gains.len()).map(|i| i as f64).collect(),
        }
    }

    /// The number of steps that the search finds and the number of its measurements, if the error is a power of the summed
    /// sensitivities that are left.
    fn search(plan: &MixedPrecisionPlan, accuracy: AccuracyTarget, power: f64) -> (usize, usize) {
        let measured = Cell::new(0);
        let error = |count: usize| (plan.left[count] / plan.left[0]).powf(power) * 0.5;
        let chosen = fewest_steps(plan, accuracy, |count| {
            measured.set(measured.get() + 1);
            Ok(ChosenPlan {
                precisions: plan.after(count),
                min_cosine: 1.0 - error(count),
                mean_cosine: 1.0 - error(count),
            })
        });
        let fine = chosen.unwrap().precisions;
        let made = fine.iter().filter(|p| **p == LinearPrecision::Fp32).count();
        (made, measured.get())
    }

    proptest! {
        #[test]
        fn the_fewest_steps_are_found(
            gains in prop::collection::vec(0.01f64..1.0, 1..150),
            cosine in 0.4f64..0.9999,
            power in 0.2f64..4.0,
        ) {
            let mut gains = gains;
            gains.sort_by(|a, b| b.total_cmp(a));
            let plan = plan(&gains);
            let (made, measured) = search(&plan, AccuracyTarget::at_least(cosine), power);
            let error = |count: usize| (plan.left[count] / plan.left[0]).powf(power) * 0.5;
            prop_assert!(error(made) <= 1.0 - cosine);
            prop_assert!(made == 0 || error(made - 1) > 1.0 - cosine);
            prop_assert!(measured <= 20, "{measured}");
        }
    }

    #[test]
    fn the_cost_limit_is_kept_unless_the_floor_needs_more() {
        let plan = plan(&(0..144).map(|i| 0.95f64.powi(i)).collect::<Vec<_>>());
        let target = |floor, cost| AccuracyTarget {
            min_cosine: 0.9,
            mean_cosine: 0.95,
            cost,
            floor,
        };
        let steps = |accuracy| search(&plan, accuracy, 1.0).0;
        let unbounded = steps(AccuracyTarget::at_least(0.95));
        assert_eq!(steps(target(0.5, 1000.0)), unbounded);
        assert_eq!(steps(target(0.5, 20.0)), 20);
        assert_eq!(steps(target(0.5, 0.0)), 0);
        // The floor is reached at any cost.
        assert_eq!(steps(target(0.95, 20.0)), unbounded);
    }

    #[test]
    fn sensitivities_that_add_up_need_few_measurements() {
        let gains: Vec<f64> = (0..144).map(|i| 0.95f64.powi(i)).collect();
        let (made, measured) = search(&plan(&gains), AccuracyTarget::at_least(0.95), 1.0);
        assert!(
            made > 20 && measured <= 4,
            "{made} steps, {measured} measurements"
        );
    }
}
