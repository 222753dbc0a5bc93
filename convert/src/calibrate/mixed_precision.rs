//! Which products compute more finely than the precision asks: the fewest with which calibration texts stay as
//! near to float32 as the goal says.
//!
//! Effects put the possible improvements in an order, those that gain most for what they cost first. How many of them
//! are needed is measured: the whole network runs with so many as effects, added up, predict, and with what lies between
//! too few and enough until these are next to each other.

use lexivec_models::{Decoder, LinearPrecision};

use super::goal::Goal;
use super::group::Group;
use super::solve::Scheme;
use super::walk::{Batches, Walk};
use super::{Solutions, texts};
use crate::error::Result;
use crate::likeness::Likeness;
use crate::progress::Progress;

/// What a product costs: its time relative to int8 as measured on a CPU with AVX-512 VNNI (benches/RESULTS.md); bytes per
/// weight where the weights alone are integers.
fn cost(precision: LinearPrecision) -> f64 {
    match precision {
        LinearPrecision::Int4Weight => 0.5,
        LinearPrecision::Int8 | LinearPrecision::Int8Weight | LinearPrecision::Fp8 => 1.0,
        LinearPrecision::Int8x2 => 2.0,
        LinearPrecision::Fp32 => 3.4,
    }
}

/// Improvements of single products, in the order in which they are worth making.
pub(super) struct Ladder {
    coarsest: LinearPrecision,
    products: usize,
    steps: Vec<(usize, LinearPrecision)>,
    /// Before each step and after the last: the effects of all products together, as if they added up.
    left: Vec<f64>,
    /// What the steps cost up to there.
    spent: Vec<f64>,
}

impl Ladder {
    pub(super) fn new(scheme: Scheme, effects: &[Vec<f64>], d: &Decoder) -> Self {
        let groups = (0..d.layers).flat_map(Group::of_layer);
        let mut steps: Vec<Step> = Vec::new();
        for (group, effects) in groups.zip(effects) {
            let size = (group.inputs(d) * group.outputs(d).iter().sum::<usize>()) as f64;
            let effects = effects.iter().copied();
            let inexact = scheme.inexact().iter().copied().zip(effects);
            let levels: Vec<(LinearPrecision, f64)> =
                inexact.chain([(LinearPrecision::Fp32, 0.0)]).collect();
            // From each level the one that gains most for what it costs, so that gains never grow along the steps.
            let mut from = 0;
            while from + 1 < levels.len() {
                let step = |to: usize| Step {
                    product: group.index(),
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
            worth.then((a.product, a.to).cmp(&(b.product, b.to)))
        });
        let mut left = vec![effects.iter().map(|levels| levels[0]).sum::<f64>()];
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
            products: effects.len(),
            steps: steps.iter().map(|s| (s.product, s.to)).collect(),
            left,
            spent,
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

    /// The first count of steps that leaves no more than this.
    fn leaving(&self, left: f64) -> usize {
        self.left.partition_point(|l| *l > left)
    }

    /// How many steps cost no more than this.
    fn affordable(&self, cost: f64) -> usize {
        self.spent.partition_point(|spent| *spent <= cost) - 1
    }
}

/// One product computed more finely.
struct Step {
    product: usize,
    to: LinearPrecision,
    /// What the embedding moves less.
    gain: f64,
    cost: f64,
}

impl Step {
    fn worth(&self) -> f64 {
        self.gain / self.cost
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
    /// How many times its error is what the goal allows, 1 at most where it reaches the goal.
    pub(super) fn excess(&self, goal: Goal) -> f64 {
        let of = |found: f64, asked: f64| (1.0 - found) / (1.0 - asked);
        let (min, mean) = (goal.min_cosine, goal.mean_cosine);
        of(self.min_cosine, min).max(of(self.mean_cosine, mean))
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
    let (_, expected_unseen) = texts::part(expected.iter());
    let measure = |count: usize| -> Result<Chosen> {
        let precisions = ladder.after(count);
        let found = walk.run(batches, progress, |layer| {
            solutions.assemble(layer..layer + 1, |g| precisions[g.index()])
        })?;
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
    shortest(ladder, goal, measure)
}

/// Searches the ladder for the least count of steps with which `measure` finds the goal reached; or, where that costs too
/// much, for what may be spent, or the floor.
fn shortest(
    ladder: &Ladder,
    goal: Goal,
    measure: impl Fn(usize) -> Result<Chosen>,
) -> Result<Chosen> {
    let affordable = ladder.affordable(goal.cost);
    let goal_after = |count: usize| match count < affordable {
        true => goal,
        false => goal.at_any_cost(),
    };
    let mut best = measure(0)?;
    if best.excess(goal_after(0)) <= 1.0 {
        return Ok(best);
    }
    // `few` steps are too few, `enough` are enough: all steps leave float32 alone. Each with its excess; that of all steps
    // is not known.
    let (mut few, mut enough) = ((0, best.excess(goal_after(0))), (ladder.steps.len(), None));
    let (mut last, mut same) = (None, 0);
    while enough.0 - few.0 > 1 {
        let left = |steps: usize| ladder.left[steps].max(f64::MIN_POSITIVE).ln();
        // Where the goal is reached if the error shrinks as the effects do, or between two looks as a power of them.
        let needed = few.1.ln();
        let target = match enough.1 {
            None => left(few.0) - needed,
            Some(excess) => {
                let reached = needed - f64::ln(excess);
                left(few.0) + (left(enough.0) - left(few.0)) * needed / reached
            }
        };
        let mut middle = ladder.leaving(target.exp());
        // Effects that do not add up must not mislead for long: few steps cost little and usually do.
        if same > 1 || middle >= enough.0 && enough.1.is_none() {
            middle = few.0 + (enough.0 - few.0) / 3;
        }
        if few.0 < affordable {
            middle = middle.min(affordable);
        }
        let middle = middle.clamp(few.0 + 1, enough.0 - 1);
        let found = measure(middle)?;
        let whole = found.excess(goal);
        if middle == affordable && whole > 1.0 {
            // Nor do fewer steps reach it.
            few = (middle - 1, whole);
        }
        let excess = found.excess(goal_after(middle));
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

    /// A ladder of steps with these gains, each of which costs 1.
    fn ladder(gains: &[f64]) -> Ladder {
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
        Ladder {
            coarsest: LinearPrecision::Int8,
            products: gains.len(),
            steps: (0..gains.len())
                .map(|i| (i, LinearPrecision::Fp32))
                .collect(),
            left,
            spent: (0..=gains.len()).map(|i| i as f64).collect(),
        }
    }

    /// What the search finds, and how often it looked, where an error is what is left to a power.
    fn search(ladder: &Ladder, goal: Goal, power: f64) -> (usize, usize) {
        let looks = Cell::new(0);
        let error = |count: usize| (ladder.left[count] / ladder.left[0]).powf(power) * 0.5;
        let chosen = shortest(ladder, goal, |count| {
            looks.set(looks.get() + 1);
            Ok(Chosen {
                precisions: ladder.after(count),
                min_cosine: 1.0 - error(count),
                mean_cosine: 1.0 - error(count),
            })
        });
        let fine = chosen.unwrap().precisions;
        let made = fine.iter().filter(|p| **p == LinearPrecision::Fp32).count();
        (made, looks.get())
    }

    proptest! {
        #[test]
        fn the_fewest_steps_are_found(
            gains in prop::collection::vec(0.01f64..1.0, 1..150),
            goal in 0.4f64..0.9999,
            power in 0.2f64..4.0,
        ) {
            let mut gains = gains;
            gains.sort_by(|a, b| b.total_cmp(a));
            let ladder = ladder(&gains);
            let (made, looks) = search(&ladder, Goal::at_least(goal), power);
            let error = |count: usize| (ladder.left[count] / ladder.left[0]).powf(power) * 0.5;
            prop_assert!(error(made) <= 1.0 - goal);
            prop_assert!(made == 0 || error(made - 1) > 1.0 - goal);
            prop_assert!(looks <= 20, "{looks}");
        }
    }

    #[test]
    fn no_more_is_spent_than_may_be() {
        let ladder = ladder(&(0..144).map(|i| 0.95f64.powi(i)).collect::<Vec<_>>());
        let goal = |floor, cost| Goal {
            min_cosine: 0.9,
            mean_cosine: 0.95,
            cost,
            floor,
        };
        let steps = |goal| search(&ladder, goal, 1.0).0;
        let unbounded = steps(Goal::at_least(0.95));
        assert_eq!(steps(goal(0.5, 1000.0)), unbounded);
        assert_eq!(steps(goal(0.5, 20.0)), 20);
        assert_eq!(steps(goal(0.5, 0.0)), 0);
        // The floor is kept at any cost.
        assert_eq!(steps(goal(0.95, 20.0)), unbounded);
    }

    #[test]
    fn effects_that_add_up_are_found_at_once() {
        let gains: Vec<f64> = (0..144).map(|i| 0.95f64.powi(i)).collect();
        let (made, looks) = search(&ladder(&gains), Goal::at_least(0.95), 1.0);
        assert!(made > 20 && looks <= 4, "{made} steps, {looks} looks");
    }
}
