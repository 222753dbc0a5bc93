//! The error of each layer: keys and values of two networks, compared layer by layer.

use lexivec_runtime::Layer;
use serde::{Deserialize, Serialize};

/// The distance of a layer's keys and values from the baseline's, relative to the baseline's length: 0 if they are the same,
/// 1 if nothing is left of them.
///
/// Keys and values are computed from the hidden states that enter a layer. So they show the error that earlier layers have
/// accumulated, and that of their own projection.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LayerError {
    /// The index of the layer, from 0.
    pub layer: usize,
    /// The error of the normalised and rotated keys: `‖candidate − baseline‖ / ‖baseline‖` (Frobenius).
    pub key: f64,
    /// The error of the values after scaling each channel by a factor fitted by least squares, because smoothing moves factors
    /// from the values into the output projection without changing the result (Xiao et al. 2023).
    pub value: f64,
}

/// The errors of every layer; `None` if the numbers of layers, widths or rows differ.
#[must_use]
pub(crate) fn layer_errors(baseline: &[Layer], candidate: &[Layer]) -> Option<Vec<LayerError>> {
    let fits = |b: &Layer, c: &Layer| {
        b.width == c.width && b.key.len() == c.key.len() && b.value.len() == c.value.len()
    };
    let layers = || baseline.iter().zip(candidate).enumerate();
    let all = baseline.len() == candidate.len() && !baseline.is_empty();
    if !all || !layers().all(|(_, (b, c))| fits(b, c)) {
        return None;
    }
    let error = |(layer, (b, c)): (usize, (&Layer, &Layer))| LayerError {
        layer,
        key: relative(&b.key, &c.key),
        value: relative_by_channel(&b.value, &c.value, b.width),
    };
    Some(layers().map(error).collect())
}

fn relative(baseline: &[f32], candidate: &[f32]) -> f64 {
    let pairs = baseline.iter().zip(candidate);
    let error: f64 = pairs
        .map(|(b, c)| (f64::from(*c) - f64::from(*b)).powi(2))
        .sum();
    ratio(error, squares(baseline))
}

fn relative_by_channel(baseline: &[f32], candidate: &[f32], width: usize) -> f64 {
    let mut both = vec![0f64; width];
    let mut own = vec![0f64; width];
    let rows = || {
        baseline
            .chunks_exact(width)
            .zip(candidate.chunks_exact(width))
    };
    for (b, c) in rows() {
        for channel in 0..width {
            both[channel] += f64::from(b[channel]) * f64::from(c[channel]);
            own[channel] += f64::from(c[channel]).powi(2);
        }
    }
    let factor = |channel: usize| match own[channel] {
        0.0 => 0.0,
        own => both[channel] / own,
    };
    let factors: Vec<f64> = (0..width).map(factor).collect();
    let error: f64 = rows()
        .flat_map(|(b, c)| b.iter().zip(c).zip(&factors))
        .map(|((b, c), factor)| (factor * f64::from(*c) - f64::from(*b)).powi(2))
        .sum();
    ratio(error, squares(baseline))
}

fn squares(values: &[f32]) -> f64 {
    values.iter().map(|v| f64::from(*v).powi(2)).sum()
}

fn ratio(error: f64, whole: f64) -> f64 {
    if error == 0.0 {
        0.0
    } else if whole == 0.0 {
        1.0
    } else {
        (error / whole).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(key: &[f32], value: &[f32]) -> Layer {
        Layer {
            key: key.to_vec(),
            value: value.to_vec(),
            width: 2,
        }
    }

    #[test]
    fn equal_layers_have_no_error() {
        let states = [layer(&[1.0, 2.0, 3.0, 4.0], &[0.1, 0.7, -0.3, 0.9])];
        let found = layer_errors(&states, &states).unwrap();
        assert_eq!((found[0].key, found[0].value), (0.0, 0.0));
    }

    #[test]
    fn known_differences_give_the_error_computed_by_hand() {
        let before = [layer(&[3.0, 0.0, 0.0, 4.0], &[3.0, 1.0, 4.0, 2.0])];
        // One key is off by 1, and the keys have a length of 5. The first channel of the values has doubled, which a factor
        // undoes. The second one has become orthogonal, so its length of √5, out of √30, is lost.
        let after = [layer(&[3.0, 1.0, 0.0, 4.0], &[6.0, 2.0, 8.0, -1.0])];
        let found = layer_errors(&before, &after).unwrap()[0];
        assert!((found.key - 0.2).abs() < 1e-12);
        assert!((found.value - (5f64 / 30.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn models_of_different_shapes_are_not_compared() {
        let one = layer(&[1.0, 2.0], &[1.0, 2.0]);
        let longer = layer(&[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(layer_errors(std::slice::from_ref(&one), &[longer]), None);
        assert_eq!(layer_errors(&[one.clone(), one.clone()], &[one]), None);
        assert_eq!(layer_errors(&[], &[]), None);
    }

    #[test]
    fn zeros_give_no_nan() {
        let zeros = [layer(&[0.0; 2], &[0.0; 2])];
        let ones = [layer(&[1.0; 2], &[1.0; 2])];
        assert_eq!(layer_errors(&zeros, &zeros).unwrap()[0].key, 0.0);
        assert_eq!(layer_errors(&zeros, &ones).unwrap()[0].key, 1.0);
        assert_eq!(layer_errors(&ones, &zeros).unwrap()[0].value, 1.0);
    }
}
