//! The nearest neighbours of texts, and their overlap between two systems.

use rayon::prelude::*;

use crate::vectors::Similarities;

/// The texts nearest to each text without the text itself, nearest first. Equally near texts keep their order.
#[must_use]
pub(crate) fn nearest(similarities: &Similarities, count: usize) -> Vec<Vec<u32>> {
    let of = |i: usize| {
        let row = similarities.row(i);
        let mut others: Vec<u32> = (0..row.len() as u32).filter(|j| *j != i as u32).collect();
        let nearer =
            |a: &u32, b: &u32| row[*b as usize].total_cmp(&row[*a as usize]).then(a.cmp(b));
        if count < others.len() {
            others.select_nth_unstable_by(count, nearer);
            others.truncate(count);
        }
        others.sort_unstable_by(nearer);
        others
    };
    (0..similarities.texts()).into_par_iter().map(of).collect()
}

/// The share of the first `k` entries that two lists have in common, 0 to 1; `None` if a list is shorter.
#[must_use]
pub(crate) fn overlap(a: &[u32], b: &[u32], k: usize) -> Option<f64> {
    let (a, b) = (a.get(..k)?, b.get(..k)?);
    let common = a.iter().filter(|text| b.contains(text)).count();
    (k > 0).then(|| common as f64 / k as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::Vectors;

    fn on_a_circle(degrees: &[f64]) -> Similarities {
        let mut vectors = Vectors::new(2);
        for angle in degrees {
            let (sin, cos) = angle.to_radians().sin_cos();
            vectors.push(&[cos as f32, sin as f32]);
        }
        Similarities::of(&vectors.truncated(2))
    }

    #[test]
    fn neighbours_come_nearest_first_without_the_text_itself() {
        let found = nearest(&on_a_circle(&[0.0, 10.0, 30.0, 90.0]), 2);
        assert_eq!(found, [[1, 2], [0, 2], [1, 0], [2, 1]]);
    }

    #[test]
    fn equally_near_texts_keep_their_order() {
        let found = nearest(&on_a_circle(&[0.0, 0.0, 0.0, 0.0]), 3);
        assert_eq!(found[2], [0, 1, 3]);
    }

    #[test]
    fn the_overlap_does_not_depend_on_order() {
        assert_eq!(overlap(&[1, 2, 3, 4], &[2, 1, 9, 3], 2), Some(1.0));
        assert_eq!(overlap(&[1, 2, 3, 4], &[2, 1, 9, 3], 4), Some(0.75));
        assert_eq!(overlap(&[1, 2, 3, 4], &[2, 1, 9, 3], 1), Some(0.0));
        assert_eq!(overlap(&[1, 2], &[1, 2], 3), None);
        assert_eq!(overlap(&[], &[], 0), None);
    }

    /// Moving one text across the circle changes exactly the lists that it leaves or enters.
    #[test]
    fn a_known_move_gives_the_overlap_counted_by_hand() {
        let before = nearest(&on_a_circle(&[0.0, 10.0, 90.0, 100.0]), 1);
        let after = nearest(&on_a_circle(&[0.0, 95.0, 90.0, 100.1]), 1);
        // Before, the nearest texts are 1 0 3 2. After, texts 2 and 3 are nearest to text 1.
        assert_eq!(before.concat(), [1, 0, 3, 2]);
        assert_eq!(after.concat(), [2, 2, 1, 1]);
        let overlaps = before
            .iter()
            .zip(&after)
            .filter_map(|(b, a)| overlap(b, a, 1));
        assert_eq!(overlaps.sum::<f64>(), 0.0);
    }
}
