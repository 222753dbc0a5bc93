//! Arithmetic on vectors: truncation, normalisation and similarity.

/// Truncates a state to its first `dimensions` components, and scales them to unit length if `normalize` is set.
///
/// Truncation comes first, as Matryoshka representation learning (arXiv 2205.13147) requires, because part of a unit vector
/// is not a unit vector. The sum of squares is taken in float64, so the length is 1 to float32's last bit or two whatever the
/// width. A vector of zeros stays as it is.
///
/// ```
/// use lexivec_runtime::vector::truncate;
///
/// assert_eq!(truncate(&[3.0, 4.0, 12.0], 2, true), [0.6, 0.8]);
/// assert_eq!(truncate(&[3.0, 4.0, 12.0], 2, false), [3.0, 4.0]);
/// ```
#[must_use]
pub fn truncate(state: &[f32], dimensions: usize, normalize: bool) -> Vec<f32> {
    let part = &state[..dimensions.min(state.len())];
    let squares: f64 = part.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
    if !normalize || squares == 0.0 {
        return part.to_vec();
    }
    let scale = 1.0 / squares.sqrt();
    part.iter()
        .map(|v| (f64::from(*v) * scale) as f32)
        .collect()
}

/// Scalar product of two vectors of equal width, in float64 over eight running sums, so that it is vectorised.
///
/// ```
/// assert_eq!(lexivec_runtime::vector::dot(&[1.0, 2.0], &[3.0, 4.0]), 11.0);
/// ```
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    let (heads_a, rest_a) = a.as_chunks::<8>();
    let (heads_b, rest_b) = b.as_chunks::<8>();
    let mut sums = [0f64; 8];
    for (a, b) in heads_a.iter().zip(heads_b) {
        for lane in 0..8 {
            sums[lane] += f64::from(a[lane]) * f64::from(b[lane]);
        }
    }
    let rest: f64 = rest_a
        .iter()
        .zip(rest_b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum();
    sums.iter().sum::<f64>() + rest
}

/// Cosine of the angle between two vectors of equal width, from −1 to 1.
///
/// Of a vector with itself it is exactly 1, because the root of a square is exact in binary floating point. A vector of
/// zeros has no direction: its cosine to anything is 0, as in scikit-learn. It is NaN if a component is not finite.
///
/// ```
/// use lexivec_runtime::vector::cosine;
///
/// assert_eq!(cosine(&[1.0, 2.0], &[-2.0, -4.0]), -1.0);
/// assert_eq!(cosine(&[1.0, 0.0], &[0.0, 1.0]), 0.0);
/// ```
#[must_use]
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let length = (dot(a, a) * dot(b, b)).sqrt();
    if length == 0.0 {
        return 0.0;
    }
    (dot(a, b) / length).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncates_before_it_normalises() {
        assert_eq!(truncate(&[3.0, 4.0, 12.0], 2, true), [0.6, 0.8]);
        assert_eq!(truncate(&[3.0, 4.0, 12.0], 2, false), [3.0, 4.0]);
        assert_eq!(truncate(&[0.0; 4], 4, true), [0.0; 4]);
    }

    #[test]
    fn cosine_of_known_angles() {
        assert!((cosine(&[1.0, 0.0], &[1.0, 1.0]) - 0.5f64.sqrt()).abs() < 1e-12);
        assert!((cosine(&[2.0, 1.0], &[-4.0, -2.0]) + 1.0).abs() < 1e-12);
        // Rotated by 30 and 60 degrees in the plane of the first two components.
        for degrees in [30f64, 60.0] {
            let (sin, cos) = degrees.to_radians().sin_cos();
            let turned = [cos as f32, sin as f32, 0.0];
            assert!((cosine(&[1.0, 0.0, 0.0], &turned) - cos).abs() < 1e-7);
        }
        assert_eq!(cosine(&[1.0, 2.0], &[-2.0, -4.0]), -1.0);
    }

    #[test]
    fn the_cosine_of_a_vector_with_itself_is_exactly_one_at_every_width() {
        let row: Vec<f32> = (0..1024)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) * 1e-3)
            .collect();
        for width in [1, 7, 32, 1000, 1024] {
            assert_eq!(cosine(&row[..width], &row[..width]), 1.0, "{width}");
        }
    }

    #[test]
    fn the_cosine_is_zero_for_zeros_and_nan_for_what_is_not_finite() {
        assert_eq!(cosine(&[0.0; 4], &[1.0; 4]), 0.0);
        assert_eq!(cosine(&[0.0; 4], &[0.0; 4]), 0.0);
        assert!(cosine(&[f32::NAN, 1.0], &[1.0; 2]).is_nan());
        assert!(cosine(&[f32::INFINITY, 1.0], &[1.0; 2]).is_nan());
    }
}
