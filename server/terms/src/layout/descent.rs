//! Moves places until neighbours are near each other and other rows are not.

use rayon::prelude::*;

use super::graph::Graph;

/// Rows that a row is pushed away from, for each unit of its edges' weight: twice as many as in umap-learn. Groups lie farther apart, and
/// neighbourhoods are preserved better (benches/RESULTS.md).
const REPULSION: f32 = 10.0;
/// How many random rows stand for them in an epoch. With fewer, the places keep more of the forces' noise.
const SAMPLES: usize = 64;
/// The largest part of a force along an axis.
const MOST_FORCE: f32 = 4.0;
/// Keeps the repulsion of places that are nearly equal finite.
const SOFTENING: f32 = 1e-3;

/// Adam (Kingma & Ba 2014), with uwot's parameters for its batch mode.
const RATE: f32 = 1.0;
const DECAY: [f32; 2] = [0.5, 0.9];
const EPSILON: f32 = 1e-7;

/// A row's place, and what Adam remembers of its gradients.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    mean: [f32; 2],
    square: [f32; 2],
}

/// Moves the places in epochs: 500, or 200 for more than 10,000 rows, as in umap-learn. Within an epoch, every force is computed from the
/// places before it.
pub(super) fn descend(graph: &Graph, mut places: Vec<[f32; 2]>, seed: u64) -> Vec<[f32; 2]> {
    let rows = graph.len();
    if rows < 2 {
        return places;
    }
    let epochs = if rows > 10_000 { 200 } else { 500 };
    let mut moments = vec![Moments::default(); rows];
    let mut power = [1.0, 1.0];
    for epoch in 0..epochs {
        let rate = RATE * (1.0 - epoch as f32 / epochs as f32);
        power = [power[0] * DECAY[0], power[1] * DECAY[1]];
        let unbiased = [1.0 - power[0], 1.0 - power[1]];
        let moved = moments.par_iter_mut().enumerate().map(|(row, moments)| {
            // A generator of its own for each row and epoch, so that no thread changes another one's numbers.
            let number = (epoch * rows + row) as u64;
            let random = fastrand::Rng::with_seed(mixed(seed ^ mixed(number)));
            let force = force(graph, &places, row, random);
            let mut place = places[row];
            for axis in 0..2 {
                place[axis] += rate * moments.step(axis, force[axis], unbiased);
            }
            place
        });
        places = moved.collect();
    }
    places
}

impl Moments {
    fn step(&mut self, axis: usize, force: f32, unbiased: [f32; 2]) -> f32 {
        let (mean, square) = (&mut self.mean[axis], &mut self.square[axis]);
        *mean = DECAY[0] * *mean + (1.0 - DECAY[0]) * force;
        *square = DECAY[1] * *square + (1.0 - DECAY[1]) * force * force;
        (*mean / unbiased[0]) / ((*square / unbiased[1]).sqrt() + EPSILON)
    }
}

/// The sum of the forces on a row: attraction by its neighbours, repulsion by random rows.
fn force(graph: &Graph, places: &[[f32; 2]], row: usize, mut random: fastrand::Rng) -> [f32; 2] {
    let place = places[row];
    let mut sum = [0.0; 2];
    let mut degree = 0.0;
    for edge in graph.of(row) {
        let (difference, squared) = difference(place, places[edge.to as usize]);
        // Both ends of an edge choose it.
        let strength = -2.0 / (1.0 + squared);
        add(&mut sum, difference, strength, 2.0 * edge.weight);
        degree += edge.weight;
    }
    for _ in 0..SAMPLES {
        let other = random.usize(..places.len());
        if other == row {
            continue;
        }
        let (mut difference, squared) = difference(place, places[other]);
        if squared == 0.0 {
            // Rows in one place part in a random direction.
            difference = [random.f32() - 0.5, random.f32() - 0.5];
        }
        let strength = 2.0 / ((SOFTENING + squared) * (1.0 + squared));
        add(
            &mut sum,
            difference,
            strength,
            degree * REPULSION / SAMPLES as f32,
        );
    }
    sum
}

fn difference(a: [f32; 2], b: [f32; 2]) -> ([f32; 2], f32) {
    let [x, y] = [a[0] - b[0], a[1] - b[1]];
    ([x, y], x * x + y * y)
}

fn add(sum: &mut [f32; 2], difference: [f32; 2], strength: f32, weight: f32) {
    for axis in 0..2 {
        sum[axis] += (strength * difference[axis]).clamp(-MOST_FORCE, MOST_FORCE) * weight;
    }
}

/// The finaliser of SplitMix64: neighbouring numbers give unrelated seeds.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
