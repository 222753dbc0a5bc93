//! Cutting and normalising vectors, in float32.

/// Keeps the first `dimensions` components and scales to unit length: the order that Matryoshka representation
/// learning (arXiv 2205.13147) wants, for the cut part of a unit vector is not a unit vector. The sum of squares is
/// taken in float64, so that the length is 1 to float32's last bit or two whatever the width.
pub fn cut_and_normalize(vector: &mut Vec<f32>, dimensions: usize) {
    vector.truncate(dimensions);
    let squares: f64 = vector.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
    if squares > 0.0 {
        let scale = 1.0 / squares.sqrt();
        for v in vector {
            *v = (f64::from(*v) * scale) as f32;
        }
    }
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
        let mut v = vec![3.0, 4.0, 12.0];
        cut_and_normalize(&mut v, 2);
        assert_eq!(v, [0.6, 0.8]);
        let mut zero = vec![0.0; 4];
        cut_and_normalize(&mut zero, 4);
        assert_eq!(zero, [0.0; 4]);
    }

    #[test]
    fn cosine_of_known_angles() {
        assert!((cosine(&[1.0, 0.0], &[1.0, 1.0]) - 0.5f64.sqrt()).abs() < 1e-12);
        assert!((cosine(&[2.0, 1.0], &[-4.0, -2.0]) + 1.0).abs() < 1e-12);
    }
}
