//! Cutting and normalising vectors, in float32.

/// The first `dimensions` components of a state, scaled to unit length unless the caller wants them as they are.
///
/// Cut first, then normalised: the order that Matryoshka representation learning (arXiv 2205.13147) wants, for the cut
/// part of a unit vector is not a unit vector. The sum of squares is taken in float64, so that the length is 1 to
/// float32's last bit or two whatever the width.
#[must_use]
pub fn cut(state: &[f32], dimensions: usize, normalize: bool) -> Vec<f32> {
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

/// Cosine of the angle between two vectors of equal width, in float64.
#[must_use]
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let (mut dot, mut aa, mut bb) = (0f64, 0f64, 0f64);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (f64::from(*x), f64::from(*y));
        dot += x * y;
        aa += x * x;
        bb += y * y;
    }
    dot / (aa.sqrt() * bb.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_before_it_normalises() {
        assert_eq!(cut(&[3.0, 4.0, 12.0], 2, true), [0.6, 0.8]);
        assert_eq!(cut(&[3.0, 4.0, 12.0], 2, false), [3.0, 4.0]);
        assert_eq!(cut(&[0.0; 4], 4, true), [0.0; 4]);
    }

    #[test]
    fn cosine_of_known_angles() {
        assert!((cosine(&[1.0, 0.0], &[1.0, 1.0]) - 0.5f64.sqrt()).abs() < 1e-12);
        assert!((cosine(&[2.0, 1.0], &[-4.0, -2.0]) + 1.0).abs() < 1e-12);
    }
}
