//! Scale folding: factors that are multiplied into weights while they are read.
//!
//! If one layer's output channel is the next layer's input channel, dividing a row of the first and multiplying a column
//! of the second by the same factor does not change the network's function. No folded copy of a weight is stored:
//! [`Tensor::read_f32`](super::Tensor::read_f32) applies the factors to the few thousand values that it reads.

use std::collections::HashMap;
use std::sync::Arc;

/// The factors of a checkpoint's tensors, by tensor name.
#[derive(Debug, Clone, Default)]
pub(crate) struct ScaleFolding(HashMap<String, TensorFolding>);

/// The factors of a tensor's rows (output channels, or a norm's gains) and columns (input channels).
#[derive(Debug, Clone, Default)]
pub(super) struct TensorFolding {
    rows: Option<Arc<[f32]>>,
    columns: Option<Arc<[f32]>>,
}

impl ScaleFolding {
    /// The factors of a tensor.
    pub(super) fn of(&self, name: &str) -> Option<&TensorFolding> {
        self.0.get(name)
    }

    /// Multiplies the rows of tensor `name` by these factors.
    pub(crate) fn scale_rows(&mut self, name: String, factors: Arc<[f32]>) {
        self.0.entry(name).or_default().rows = Some(factors);
    }

    /// Multiplies the columns of tensor `name` by these factors.
    pub(crate) fn scale_columns(&mut self, name: String, factors: Arc<[f32]>) {
        self.0.entry(name).or_default().columns = Some(factors);
    }

    /// Multiplies all `rows` rows of tensor `name` by one more factor.
    pub(crate) fn scale_all_rows(&mut self, name: String, rows: usize, factor: f32) {
        let folding = self.0.entry(name).or_default();
        folding.rows = multiplied(folding.rows.take(), Some(vec![factor; rows].into()));
    }

    /// Both foldings, one after the other.
    pub(crate) fn combined_with(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for (name, folding) in &other.0 {
            let before = both.0.entry(name.clone()).or_default();
            before.rows = multiplied(before.rows.take(), folding.rows.clone());
            before.columns = multiplied(before.columns.take(), folding.columns.clone());
        }
        both
    }
}

impl TensorFolding {
    /// Multiplies values of a row-major matrix with `columns` columns; the first of them is value `first` of the matrix.
    pub(super) fn apply(&self, columns: usize, first: usize, values: &mut [f32]) {
        let mut done = 0;
        while done < values.len() {
            let (row, column) = ((first + done) / columns, (first + done) % columns);
            let count = (columns - column).min(values.len() - done);
            let part = &mut values[done..done + count];
            if let Some(factors) = &self.rows {
                part.iter_mut().for_each(|v| *v *= factors[row]);
            }
            if let Some(factors) = &self.columns {
                let factors = &factors[column..column + count];
                part.iter_mut().zip(factors).for_each(|(v, f)| *v *= f);
            }
            done += count;
        }
    }
}

fn multiplied(a: Option<Arc<[f32]>>, b: Option<Arc<[f32]>>) -> Option<Arc<[f32]>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.iter().zip(b.iter()).map(|(a, b)| a * b).collect()),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combined_foldings_multiply_their_factors() {
        let of = |name: &str, rows: Option<f32>, columns: Option<f32>| {
            let factors = |f: Option<f32>| f.map(|f| Arc::from([f, f]));
            let folding = TensorFolding {
                rows: factors(rows),
                columns: factors(columns),
            };
            (name.to_owned(), folding)
        };
        let first = HashMap::from([
            of("both", Some(2.0), Some(3.0)),
            of("first", None, Some(5.0)),
        ]);
        let second = HashMap::from([of("both", Some(7.0), None), of("second", Some(11.0), None)]);
        let both = ScaleFolding(first).combined_with(&ScaleFolding(second));
        let factor = |name: &str| {
            let mut value = [1.0];
            both.of(name).unwrap().apply(2, 1, &mut value);
            value[0]
        };
        assert_eq!(
            ["both", "first", "second"].map(factor),
            [2.0 * 3.0 * 7.0, 5.0, 11.0]
        );
    }

    #[test]
    fn a_range_that_starts_anywhere_gets_the_factors_of_its_rows_and_columns() {
        let folding = TensorFolding {
            rows: Some(Arc::from([1.0, 10.0])),
            columns: Some(Arc::from([2.0, 3.0, 4.0])),
        };
        let expected = [2.0, 3.0, 4.0, 20.0, 30.0, 40.0];
        for first in 0..6 {
            for end in first..=6 {
                let mut values = vec![1.0; end - first];
                folding.apply(3, first, &mut values);
                assert_eq!(values, expected[first..end]);
            }
        }
    }
}
