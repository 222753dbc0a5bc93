//! Factors folded into weights while they are read.
//!
//! Where one layer's output channel is the next one's input channel, dividing the first's row and multiplying the
//! second's column by the same factor leaves the network's function as it was. No folded copy of a weight is kept:
//! [`crate::cast::read_f32`] applies the factors to the few thousand values it reads.

use std::collections::HashMap;
use std::sync::Arc;

/// The factors of a whole checkpoint, by tensor name.
pub(crate) type Folds = HashMap<String, Fold>;

/// Factors of one tensor's rows (output channels; a norm's gains) and columns (input channels).
#[derive(Debug, Clone, Default)]
pub(crate) struct Fold {
    rows: Option<Arc<[f32]>>,
    columns: Option<Arc<[f32]>>,
}

impl Fold {
    /// Multiplies the value in row r and column c, which are given as the values from `first` on of a row-major
    /// matrix.
    pub(crate) fn apply(&self, columns: usize, first: usize, values: &mut [f32]) {
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

/// Both, one after the other.
pub(crate) fn joined(first: &Folds, second: Folds) -> Folds {
    let mut both = first.clone();
    for (name, fold) in second {
        let before = both.entry(name).or_default();
        before.rows = product(before.rows.take(), fold.rows);
        before.columns = product(before.columns.take(), fold.columns);
    }
    both
}

fn product(a: Option<Arc<[f32]>>, b: Option<Arc<[f32]>>) -> Option<Arc<[f32]>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.iter().zip(b.iter()).map(|(a, b)| a * b).collect()),
        (a, b) => a.or(b),
    }
}

/// Has the rows of tensor `name` multiplied.
pub(crate) fn rows(folds: &mut Folds, name: String, factors: Arc<[f32]>) {
    folds.entry(name).or_default().rows = Some(factors);
}

/// Has the columns of tensor `name` multiplied.
pub(crate) fn columns(folds: &mut Folds, name: String, factors: Arc<[f32]>) {
    folds.entry(name).or_default().columns = Some(factors);
}

/// Has all rows of tensor `name` multiplied by one more factor.
pub(crate) fn scale_rows(folds: &mut Folds, name: String, count: usize, factor: f32) {
    let fold = folds.entry(name).or_default();
    fold.rows = product(fold.rows.take(), Some(vec![factor; count].into()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_factors_are_products() {
        let of = |name: &str, rows: Option<f32>, columns: Option<f32>| {
            let factors = |f: Option<f32>| f.map(|f| Arc::from([f, f]));
            let fold = Fold {
                rows: factors(rows),
                columns: factors(columns),
            };
            (name.to_owned(), fold)
        };
        let first = Folds::from([
            of("both", Some(2.0), Some(3.0)),
            of("first", None, Some(5.0)),
        ]);
        let second = Folds::from([of("both", Some(7.0), None), of("second", Some(11.0), None)]);
        let both = joined(&first, second);
        let factor = |name: &str| {
            let mut value = [1.0];
            both[name].apply(2, 1, &mut value);
            value[0]
        };
        assert_eq!(
            ["both", "first", "second"].map(factor),
            [2.0 * 3.0 * 7.0, 5.0, 11.0]
        );
    }

    #[test]
    fn factors_meet_their_rows_and_columns_from_any_place_on() {
        let fold = Fold {
            rows: Some(Arc::from([1.0, 10.0])),
            columns: Some(Arc::from([2.0, 3.0, 4.0])),
        };
        let expected = [2.0, 3.0, 4.0, 20.0, 30.0, 40.0];
        for first in 0..6 {
            for end in first..=6 {
                let mut values = vec![1.0; end - first];
                fold.apply(3, first, &mut values);
                assert_eq!(values, expected[first..end]);
            }
        }
    }
}
