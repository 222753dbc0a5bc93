//! Row-major matrices, and the linear algebra that calibration needs, on all cores.
//!
//! Work is split into parts whose size does not depend on the number of cores, so results do not depend on it either.

use lexivec_kernels::hadamard;
use lexivec_kernels::simd::InstructionSet;
use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder as _, s};
use rayon::prelude::*;

/// Rows of a result that a core computes at a time.
const PART: usize = 128;

/// A row-major matrix of float32.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matrix {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) values: Vec<f32>,
}

impl Matrix {
    pub(crate) fn new(columns: usize, values: Vec<f32>) -> Self {
        Self {
            rows: values.len() / columns,
            columns,
            values,
        }
    }

    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.columns..][..self.columns]
    }

    /// `self · otherᵀ`.
    pub(crate) fn times_transposed(&self, other: &Matrix) -> Matrix {
        let mut values = vec![0f32; self.rows * other.rows];
        let b = view(&other.values, other.rows, other.columns, other.columns);
        values
            .par_chunks_mut(other.rows * PART)
            .zip(self.values.par_chunks(self.columns * PART))
            .for_each(|(out, rows)| {
                let count = rows.len() / self.columns;
                let a = view(rows, count, self.columns, self.columns);
                let mut out = view_mut(out, count, other.rows, other.rows);
                general_mat_mul(1.0, &a, &b.t(), 0.0, &mut out);
            });
        Matrix::new(other.rows, values)
    }

    /// `selfᵀ · self`: the Hessian of a least-squares problem whose inputs are the rows.
    pub(crate) fn gram(&self) -> Matrix {
        let n = self.columns;
        let mut values = vec![0f32; n * n];
        values
            .par_chunks_mut(n * PART)
            .enumerate()
            .for_each(|(part, out)| {
                let (first, count) = (part * PART, out.len() / n);
                let right = view(&self.values[first..], self.rows, n - first, n);
                let left = view(&self.values[first..], self.rows, count, n);
                let mut out = view_mut(&mut out[first..], count, n - first, n);
                general_mat_mul(1.0, &left.t(), &right, 0.0, &mut out);
            });
        // The matrix is symmetric: copies what lies right of each diagonal block below it.
        let mut square = view_mut(&mut values, n, n, n);
        for first in (0..n).step_by(PART) {
            let end = (first + PART).min(n);
            let (right, mut below) =
                square.multi_slice_mut((s![first..end, end..], s![end.., first..end]));
            below.assign(&right.t());
        }
        Matrix::new(n, values)
    }

    /// The largest magnitude of each column.
    pub(crate) fn column_maxima(&self) -> Vec<f32> {
        let mut maxima = vec![0f32; self.columns];
        for row in self.values.chunks_exact(self.columns) {
            maxima
                .iter_mut()
                .zip(row)
                .for_each(|(m, v)| *m = m.max(v.abs()));
        }
        maxima
    }

    /// Multiplies every value by its column's factor.
    pub(crate) fn scale_columns(&mut self, factors: &[f32]) {
        self.values
            .par_chunks_mut(self.columns)
            .for_each(|row| row.iter_mut().zip(factors).for_each(|(v, f)| *v *= f));
    }

    /// Rotates each block of every row.
    pub(crate) fn rotate_rows(&mut self, block: usize) {
        let set = InstructionSet::best();
        self.values
            .par_chunks_mut(self.columns)
            .for_each(|row| hadamard::rotate(set, row, block));
    }

    /// At most `count` evenly spaced rows.
    pub(crate) fn sample(&self, count: usize) -> Matrix {
        let count = count.min(self.rows);
        let values = (0..count)
            .flat_map(|i| self.row(i * self.rows / count).iter().copied())
            .collect();
        Matrix::new(self.columns, values)
    }
}

/// A matrix whose rows begin `stride` values apart.
fn view(values: &[f32], rows: usize, columns: usize, stride: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, columns).strides((stride, 1)), values)
        .unwrap_or_else(|_| unreachable!("the rows lie within the slice"))
}

fn view_mut(
    values: &mut [f32],
    rows: usize,
    columns: usize,
    stride: usize,
) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((rows, columns).strides((stride, 1)), values)
        .unwrap_or_else(|_| unreachable!("the rows lie within the slice"))
}

/// The values of a matrix inside another one, and the distance between the starts of its rows.
pub(crate) type Submatrix<'a> = (&'a [f32], usize);

/// `out += factor · a · b` for `rows x inner` times `inner x columns`, on one core. The rows of `out` begin `stride`
/// values apart.
pub(crate) fn add_product(
    out: &mut [f32],
    stride: usize,
    factor: f32,
    a: Submatrix<'_>,
    b: Submatrix<'_>,
    [rows, inner, columns]: [usize; 3],
) {
    let mut out = view_mut(out, rows, columns, stride);
    let a = view(a.0, rows, inner, a.1);
    let b = view(b.0, inner, columns, b.1);
    general_mat_mul(factor, &a, &b, 1.0, &mut out);
}

/// Replaces a symmetric positive definite `n x n` matrix by the inverse of its lower Cholesky factor, with zeros above the
/// diagonal. Returns `None` if the matrix is not positive definite to float32 precision. float64 would take 1.2 GB for the
/// widest linear group of an 8B model.
pub(crate) fn inverse_cholesky(a: &mut [f32], n: usize) -> Option<()> {
    for start in (0..n).step_by(PART) {
        let end = (start + PART).min(n);
        factor_columns(a, n, start, end)?;
    }
    for (i, row) in a.chunks_exact_mut(n).enumerate() {
        row[i + 1..].fill(0.0);
    }
    for start in (0..n).step_by(PART) {
        let end = (start + PART).min(n);
        invert_rows(a, n, start, end);
    }
    Some(())
}

/// Right-looking Cholesky: factors these columns, and subtracts their product from all later ones.
fn factor_columns(a: &mut [f32], n: usize, start: usize, end: usize) -> Option<()> {
    let width = end - start;
    for i in start..end {
        for j in start..=i {
            let products = (start..j).map(|k| f64::from(a[i * n + k]) * f64::from(a[j * n + k]));
            let rest = (f64::from(a[i * n + j]) - products.sum::<f64>()) as f32;
            if i == j {
                if rest.is_nan() || rest <= 0.0 {
                    return None;
                }
                a[i * n + i] = rest.sqrt();
            } else {
                a[i * n + j] = rest / a[j * n + j];
            }
        }
    }
    let (above, below) = a.split_at_mut(end * n);
    let diagonal = |i: usize, j: usize| above[(start + i) * n + start + j];
    below.par_chunks_exact_mut(n).for_each(|row| {
        let row = &mut row[start..end];
        for j in 0..width {
            let dot: f32 = (0..j).map(|k| row[k] * diagonal(j, k)).sum();
            row[j] = (row[j] - dot) / diagonal(j, j);
        }
    });
    // A transposed copy of the factored columns, because rows are written while the products read it.
    let later = n - end;
    let mut factored = vec![0f32; width * later];
    for (i, row) in below.chunks_exact(n).enumerate() {
        (0..width).for_each(|k| factored[k * later + i] = row[start + k]);
    }
    below
        .par_chunks_mut(n * PART)
        .enumerate()
        .for_each(|(part, rows)| {
            let count = rows.len() / n;
            // Columns up to this part's diagonal. Later ones are never read.
            let columns = part * PART + count;
            let left: Vec<f32> = rows
                .chunks_exact(n)
                .flat_map(|row| row[start..end].iter().copied())
                .collect();
            let (a, b) = ((left.as_slice(), width), (factored.as_slice(), later));
            add_product(&mut rows[end..], n, -1.0, a, b, [count, width, columns]);
        });
    Some(())
}

/// Turns rows of a lower factor into rows of its inverse. The rows above must have been turned already.
fn invert_rows(a: &mut [f32], n: usize, start: usize, end: usize) {
    let height = end - start;
    let (above, rows) = a.split_at_mut(start * n);
    let rows = &mut rows[..height * n];
    // The inverse of the diagonal block, row by row.
    let mut inverse = vec![0f32; height * height];
    for i in 0..height {
        let pivot = rows[i * n + start + i];
        for j in 0..=i {
            let unit = if i == j { 1.0 } else { 0.0 };
            let dot: f32 = (j..i)
                .map(|k| rows[i * n + start + k] * inverse[k * height + j])
                .sum();
            inverse[i * height + j] = (unit - dot) / pivot;
        }
    }
    // -inverse · (rows · above), by parts of columns.
    let left: Vec<f32> = rows
        .chunks_exact(n)
        .flat_map(|row| row[..start].iter().copied())
        .collect();
    let parts: Vec<(usize, Vec<f32>)> = (0..start)
        .into_par_iter()
        .step_by(PART)
        .map(|first| {
            let width = PART.min(start - first);
            // In a lower triangle, rows above the column index are zero.
            let inner = start - first;
            let mut product = vec![0f32; height * width];
            let (a, b) = ((&left[first..], start), (&above[first * n + first..], n));
            add_product(&mut product, width, 1.0, a, b, [height, inner, width]);
            let mut result = vec![0f32; height * width];
            let (a, b) = ((inverse.as_slice(), height), (product.as_slice(), width));
            add_product(&mut result, width, -1.0, a, b, [height, height, width]);
            (first, result)
        })
        .collect();
    for (first, part) in parts {
        let width = part.len() / height;
        for (row, part) in rows.chunks_exact_mut(n).zip(part.chunks_exact(width)) {
            row[first..first + width].copy_from_slice(part);
        }
    }
    for (row, inverse) in rows.chunks_exact_mut(n).zip(inverse.chunks_exact(height)) {
        row[start..end].copy_from_slice(inverse);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_factor_times_the_factor_is_the_identity() {
        for n in [1, 5, 128, 300] {
            // A matrix with a known factor: L Lᵀ, L's diagonal dominating.
            let lower = |i: usize, j: usize| match i.cmp(&j) {
                std::cmp::Ordering::Less => 0.0,
                std::cmp::Ordering::Equal => 2.0 + (i % 3) as f32,
                std::cmp::Ordering::Greater => ((i * 31 + j * 17) % 11) as f32 / 11.0 / n as f32,
            };
            let mut a = vec![0f32; n * n];
            for i in 0..n {
                for j in 0..n {
                    a[i * n + j] = (0..n).map(|k| lower(i, k) * lower(j, k)).sum();
                }
            }
            inverse_cholesky(&mut a, n).unwrap();
            for i in 0..n {
                for j in 0..n {
                    let product: f32 = (0..n).map(|k| a[i * n + k] * lower(k, j)).sum();
                    let unit = if i == j { 1.0 } else { 0.0 };
                    assert!((product - unit).abs() < 1e-4, "{n} {i} {j} {product}");
                }
            }
        }
        assert!(inverse_cholesky(&mut [1.0, 2.0, 2.0, 1.0], 2).is_none());
    }

    #[test]
    fn products_equal_sums() {
        let values = |count: usize| (0..count).map(|i| ((i * 37 % 19) as f32) - 9.0).collect();
        let (a, b) = (
            Matrix::new(7, values(200 * 7)),
            Matrix::new(7, values(13 * 7)),
        );
        let product = a.times_transposed(&b);
        // Wider than two parts.
        let wide = Matrix::new(300, values(13 * 300));
        let gram = wide.gram();
        for i in 0..200 {
            for j in 0..13 {
                let sum: f32 = a.row(i).iter().zip(b.row(j)).map(|(x, y)| x * y).sum();
                assert_eq!(product.row(i)[j], sum);
            }
        }
        for i in 0..300 {
            for j in 0..300 {
                let sum: f32 = (0..13).map(|r| wide.row(r)[i] * wide.row(r)[j]).sum();
                assert_eq!(gram.row(i)[j], sum, "{i} {j}");
            }
        }
    }
}
