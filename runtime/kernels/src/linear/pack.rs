//! The arrangement of weights in memory.
//!
//! 16 outputs form a panel, and a panel holds four inputs of each of them side by side: `[panel, inputs / 4, 16, 4]`. 64 bytes are the
//! operand of one VNNI instruction. The arrangement is also that of files, so that they are used where
//! they are mapped.

use crate::codes::DEPTH;

/// Outputs of a panel.
pub const COLUMNS: usize = 16;

/// The number of packed weights. Outputs are padded to whole panels.
#[must_use]
pub fn packed_len(inputs: usize, outputs: usize) -> usize {
    outputs.div_ceil(COLUMNS) * COLUMNS * inputs
}

/// Packs weights `[outputs, inputs]` from -127 to 127, and returns the sum of each output's weights too.
///
/// # Panics
/// If the number of inputs is 0, or not a multiple of [`DEPTH`].
///
/// ```
/// let (packed, sums) = lexivec_kernels::linear::pack(&[1, 2, 3, 4, 5, 6, 7, 8], 4);
/// assert_eq!(packed[..8], [1, 2, 3, 4, 5, 6, 7, 8]);
/// assert_eq!(packed.len(), 64);
/// assert_eq!(sums, [10, 26]);
/// ```
#[must_use]
pub fn pack(weights: &[i8], inputs: usize) -> (Vec<i8>, Vec<i32>) {
    assert!(inputs.is_multiple_of(DEPTH), "inputs are packed by fours");
    let outputs = weights.len() / inputs;
    let mut packed = vec![0; packed_len(inputs, outputs)];
    let panels = packed.chunks_exact_mut(inputs * COLUMNS);
    for (panel, rows) in panels.zip(weights.chunks(inputs * COLUMNS)) {
        for (column, row) in rows.chunks_exact(inputs).enumerate() {
            for (k, four) in row.chunks_exact(DEPTH).enumerate() {
                panel[(k * COLUMNS + column) * DEPTH..][..DEPTH].copy_from_slice(four);
            }
        }
    }
    let sum = |row: &[i8]| row.iter().map(|w| i32::from(*w)).sum();
    (packed, weights.chunks_exact(inputs).map(sum).collect())
}
