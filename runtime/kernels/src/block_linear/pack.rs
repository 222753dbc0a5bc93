//! The arrangement of weights, scales and zero points in memory and in files: 16 outputs form a panel.

use crate::codes::DEPTH;
use crate::linear::COLUMNS;

/// The size of a weight's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    /// Codes from 0 to 15.
    Four,
    /// Codes from 0 to 255.
    Eight,
}

impl Bits {
    /// The zero point of blocks that store none.
    #[must_use]
    pub fn middle(self) -> u8 {
        match self {
            Self::Four => 8,
            Self::Eight => 128,
        }
    }

    /// Codes of a byte.
    fn per_byte(self) -> usize {
        match self {
            Self::Four => 2,
            Self::Eight => 1,
        }
    }
}

/// The bytes of packed weights. Outputs are padded to whole panels.
#[must_use]
pub fn packed_len(bits: Bits, inputs: usize, outputs: usize) -> usize {
    outputs.div_ceil(COLUMNS) * COLUMNS * inputs / bits.per_byte()
}

/// Packs codes `[outputs, inputs]`, one in each byte.
///
/// Eight bits: `[panel, inputs / 4, 16, 4]`. Four bits: `[panel, inputs / 8, 16, 4]`, where a byte holds the codes of inputs `8 j + i`
/// (its low half) and `8 j + 4 + i`. So 64 bytes give one or two operands of a VNNI instruction.
///
/// # Panics
/// If the number of inputs is not a multiple of 8.
///
/// ```
/// use lexivec_kernels::block_linear::{Bits, pack};
///
/// let packed = pack(Bits::Four, &[1, 2, 3, 4, 5, 6, 7, 8], 8);
/// assert_eq!(packed[..5], [0x51, 0x62, 0x73, 0x84, 0]);
/// assert_eq!(packed.len(), 64);
/// ```
#[must_use]
pub fn pack(bits: Bits, codes: &[u8], inputs: usize) -> Vec<u8> {
    assert!(
        inputs.is_multiple_of(2 * DEPTH),
        "inputs are packed by eights"
    );
    let outputs = codes.len() / inputs;
    let mut packed = vec![0; packed_len(bits, inputs, outputs)];
    let together = DEPTH * bits.per_byte();
    let panels = packed.chunks_exact_mut(inputs * COLUMNS / bits.per_byte());
    for (panel, rows) in panels.zip(codes.chunks(inputs * COLUMNS)) {
        for (column, row) in rows.chunks_exact(inputs).enumerate() {
            for (k, codes) in row.chunks_exact(together).enumerate() {
                let to = &mut panel[(k * COLUMNS + column) * DEPTH..][..DEPTH];
                to.copy_from_slice(&codes[..DEPTH]);
                for (to, high) in to.iter_mut().zip(&codes[DEPTH..]) {
                    *to |= high << 4;
                }
            }
        }
    }
    packed
}

/// Arranges a value for each output and block, `[outputs, blocks]`, as `[ceil(outputs / 16), blocks, 16]`.
///
/// # Panics
/// If there are no blocks.
#[must_use]
pub fn panels_of_blocks<T: Copy + Default>(values: &[T], blocks: usize) -> Vec<T> {
    let outputs = values.len() / blocks;
    let mut panels = vec![T::default(); outputs.div_ceil(COLUMNS) * COLUMNS * blocks];
    for (output, row) in values.chunks_exact(blocks).enumerate() {
        for (block, value) in row.iter().enumerate() {
            panels[(output / COLUMNS * blocks + block) * COLUMNS + output % COLUMNS] = *value;
        }
    }
    panels
}
