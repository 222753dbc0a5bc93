//! How close vectors are to expected ones.

use lexivec_runtime::vector::cosine;

/// Statistics of the cosines between texts' vectors and the expected ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Similarity {
    /// The index of the text with the least cosine; 0 without texts.
    pub(crate) worst: usize,
    /// The least cosine; 1 without texts.
    pub(crate) min: f64,
    /// The mean cosine.
    pub(crate) mean: f64,
}

impl Similarity {
    /// Compares vectors in the order of their texts.
    pub(crate) fn of(expected: &[impl AsRef<[f32]>], found: &[impl AsRef<[f32]>]) -> Self {
        let (mut worst, mut min, mut sum) = (0, 1.0, 0.0);
        for (i, (expected, found)) in expected.iter().zip(found).enumerate() {
            let cosine = cosine(expected.as_ref(), found.as_ref());
            // A vector of zeros, or one that is not finite, has no direction. It counts as the opposite direction.
            let is_zero = |vector: &[f32]| vector.iter().all(|v| *v == 0.0);
            let is_lost = is_zero(expected.as_ref()) || is_zero(found.as_ref());
            let cosine = if cosine.is_nan() || is_lost {
                -1.0
            } else {
                cosine
            };
            if i == 0 || cosine < min {
                (worst, min) = (i, cosine);
            }
            sum += cosine;
        }
        Self {
            worst,
            min,
            mean: sum / expected.len() as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_without_a_direction_is_the_worst() {
        let expected = vec![vec![1.0, 0.0]; 3];
        let mut found = vec![vec![2.0, 0.0], vec![0.0, 1.0], vec![1.0, 0.0]];
        let similarity = Similarity::of(&expected, &found);
        assert_eq!((similarity.worst, similarity.min), (1, 0.0));
        for lost in [0.0, f32::NAN, f32::INFINITY] {
            found[2] = vec![lost; 2];
            let similarity = Similarity::of(&expected, &found);
            assert_eq!(
                (similarity.worst, similarity.min, similarity.mean),
                (2, -1.0, 0.0)
            );
        }
    }
}
