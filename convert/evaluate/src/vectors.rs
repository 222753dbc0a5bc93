//! Vectors of many texts, and their similarities.

use lexivec_runtime::vector::{dot, truncate};
use rayon::prelude::*;

/// The vectors of texts, all of one width.
///
/// ```
/// use lexivec_evaluate::Vectors;
///
/// let mut vectors = Vectors::new(2);
/// assert!(vectors.is_empty());
/// vectors.push(&[0.6, 0.8]);
/// vectors.push(&[1.0, 0.0]);
/// assert_eq!((vectors.len(), vectors.width()), (2, 2));
/// assert_eq!(vectors.row(1), [1.0, 0.0]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    width: usize,
    values: Vec<f32>,
}

impl Vectors {
    /// No vectors yet, of this width.
    ///
    /// # Panics
    /// The width is 0.
    #[must_use]
    pub fn new(width: usize) -> Self {
        assert!(width > 0, "a vector has at least one component");
        Self {
            width,
            values: Vec::new(),
        }
    }

    /// Adds a text's vector.
    ///
    /// # Panics
    /// The vector has another width.
    pub fn push(&mut self, row: &[f32]) {
        assert_eq!(row.len(), self.width, "vectors of one width");
        self.values.extend_from_slice(row);
    }

    /// Adds all vectors of another list.
    ///
    /// # Panics
    /// The vectors have another width.
    pub(crate) fn append(&mut self, other: &Self) {
        assert_eq!(other.width, self.width, "vectors of one width");
        self.values.extend_from_slice(&other.values);
    }

    /// The width of the vectors.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of vectors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Whether there are no vectors.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The vector of text `i`.
    #[must_use]
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.width..(i + 1) * self.width]
    }

    /// The first `width` components of the vector of text `i`.
    #[must_use]
    pub(crate) fn first(&self, i: usize, width: usize) -> &[f32] {
        &self.row(i)[..width.min(self.width)]
    }

    /// The vectors that a server returns for `dimensions`: truncated to their first components, then scaled to unit length. A
    /// vector of zeros remains zero.
    #[must_use]
    pub(crate) fn truncated(&self, width: usize) -> Self {
        let width = width.min(self.width);
        let rows = self.values.par_chunks_exact(self.width);
        Self {
            width,
            values: rows
                .flat_map_iter(|row| truncate(row, width, true))
                .collect(),
        }
    }

    /// The vectors of the texts at these positions.
    #[must_use]
    pub(crate) fn select(&self, positions: &[usize]) -> Self {
        let rows = positions.iter().flat_map(|i| self.row(*i));
        Self {
            width: self.width,
            values: rows.copied().collect(),
        }
    }
}

/// The similarities of all pairs of texts: scalar products of unit vectors, `n × n` row-major.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Similarities {
    texts: usize,
    values: Vec<f64>,
}

impl Similarities {
    /// The similarities of vectors that [`Vectors::truncated`] has scaled to unit length.
    #[must_use]
    pub(crate) fn of(unit: &Vectors) -> Self {
        let texts = unit.len();
        let row = |i: usize| (0..texts).map(move |j| dot(unit.row(i), unit.row(j)));
        Self {
            texts,
            values: (0..texts).into_par_iter().flat_map_iter(row).collect(),
        }
    }

    /// Number of texts.
    #[must_use]
    pub(crate) fn texts(&self) -> usize {
        self.texts
    }

    /// The similarities of text `i` to all texts.
    #[must_use]
    pub(crate) fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.texts..(i + 1) * self.texts]
    }

    /// The similarity of every pair of the texts at these positions, each pair once.
    #[must_use]
    pub(crate) fn pairs(&self, positions: &[usize]) -> Vec<f64> {
        let others = |(n, i): (usize, &usize)| {
            let row = self.row(*i);
            positions[n + 1..].iter().map(move |j| row[*j])
        };
        positions.iter().enumerate().flat_map(others).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors(rows: &[&[f32]]) -> Vectors {
        let mut all = Vectors::new(rows[0].len());
        rows.iter().for_each(|row| all.push(row));
        all
    }

    #[test]
    fn the_first_components_of_a_vector_are_its_beginning() {
        let turned = vectors(&[&[0.5, 0.75, 0.0]]);
        assert_eq!(turned.first(0, 1), [0.5]);
        assert_eq!(turned.first(0, 9), turned.row(0));
    }

    #[test]
    fn a_vector_of_zeros_is_similar_to_nothing() {
        let zero = vectors(&[&[0.0, 0.0], &[3.0, 4.0]]).truncated(2);
        assert_eq!(Similarities::of(&zero).row(0), [0.0, 0.0]);
    }

    #[test]
    fn truncation_comes_before_normalisation() {
        let truncated = vectors(&[&[3.0, 4.0, 12.0]]).truncated(2);
        assert_eq!(truncated.row(0), [0.6, 0.8]);
    }

    #[test]
    fn pairs_are_listed_once_each_in_order() {
        let unit = vectors(&[&[1.0, 0.0], &[0.6, 0.8], &[0.0, 1.0]]).truncated(2);
        let found = Similarities::of(&unit).pairs(&[0, 1, 2]);
        let expected = [0.6, 0.0, 0.8];
        assert!(
            found
                .iter()
                .zip(expected)
                .all(|(f, e)| (f - e).abs() < 1e-7)
        );
        assert!(Similarities::of(&unit).pairs(&[2]).is_empty());
    }
}
