//! The arrangement of 8-bit activations between two kernels.
//!
//! Some rows form a *strip*, which holds a few values of each row side by side: `[ceil(rows / height), width / depth, height, depth]`. A
//! linear layer then reads its activations from one place after another. The same columns of rows that lie one after another would be
//! a multiple of a large power of two apart, and compete for the same lines of the cache.

use crate::simd::InstructionSet;

/// Values that a linear layer multiplies at once at least; the width of rows is a multiple of this.
pub const DEPTH: usize = 4;

/// The scale of fine codes is that of the coarse ones divided by this. Fine codes stand for the rounding error of coarse ones, which is
/// at most half a step, so they reach from -127 to 127.
pub const FINER: f32 = 254.0;

/// The size of strips and the code of zero, which depend on the instructions that read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Rows of a strip.
    pub height: usize,
    /// Values of a row that lie side by side.
    pub depth: usize,
    /// The byte that stands for zero: [`UNSIGNED_ZERO`] where a code is an unsigned byte, 0 where it is a signed one.
    pub zero: u8,
}

/// The code of zero in unsigned codes, which reach from 1 to 255.
pub const UNSIGNED_ZERO: u8 = 128;

impl Layout {
    /// For vector instructions, which multiply four values of a row, repeated, by weights of many outputs: 12 rows by 4 values.
    pub const VECTORS: Self = Self {
        height: 12,
        depth: DEPTH,
        zero: UNSIGNED_ZERO,
    };
    /// As [`VECTORS`](Self::VECTORS), but signed, from -127 to 127: for AVX2, whose kernel moves the signs of weights to the codes, for
    /// NEON's products of signed bytes, and for weights in blocks, which are unsigned.
    pub const SIGNED_VECTORS: Self = Self {
        zero: 0,
        ..Self::VECTORS
    };
    /// For AMX, whose tile registers hold 16 rows of 64 values.
    pub const TILES: Self = Self {
        height: 16,
        depth: 64,
        zero: UNSIGNED_ZERO,
    };

    /// The layout of rows that a linear layer reads by this instruction set.
    #[must_use]
    pub fn of(set: InstructionSet, width: usize) -> Self {
        match set {
            _ if set.has_tiles() && width.is_multiple_of(Self::TILES.depth) => Self::TILES,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 | InstructionSet::Avx2 => Self::SIGNED_VECTORS,
            #[cfg(target_arch = "aarch64")]
            InstructionSet::NeonDot => Self::SIGNED_VECTORS,
            _ => Self::VECTORS,
        }
    }

    /// The shape of the codes of some rows. The last strip is padded.
    #[must_use]
    pub fn shape(self, rows: usize, width: usize) -> [usize; 4] {
        [
            rows.div_ceil(self.height),
            width / self.depth,
            self.height,
            self.depth,
        ]
    }

    /// The number of codes of some rows.
    #[must_use]
    pub fn len(self, rows: usize, width: usize) -> usize {
        rows.div_ceil(self.height) * self.height * width
    }

    /// Arranges up to [`height`](Self::height) rows of unsigned codes, one after another in `rows`, as a strip. There is at least one.
    pub(crate) fn arrange(self, rows: &[u8], width: usize, strip: &mut [u8]) {
        match self {
            Self::TILES => {
                arrange::<{ Self::TILES.height }, { Self::TILES.depth }>(rows, width, strip)
            }
            _ => arrange::<{ Self::VECTORS.height }, { Self::VECTORS.depth }>(rows, width, strip),
        }
        if self.zero != UNSIGNED_ZERO {
            for code in strip {
                *code = code.wrapping_sub(UNSIGNED_ZERO).wrapping_add(self.zero);
            }
        }
    }

    /// The unsigned code of one value.
    #[cfg(test)]
    pub(crate) fn at(self, codes: &[u8], width: usize, row: usize, column: usize) -> u8 {
        let Self { height, depth, .. } = self;
        let strip = &codes[row / height * height * width..];
        let code = strip[(column / depth * height + row % height) * depth + column % depth];
        code.wrapping_sub(self.zero).wrapping_add(UNSIGNED_ZERO)
    }
}

fn arrange<const HEIGHT: usize, const TOGETHER: usize>(
    rows: &[u8],
    width: usize,
    strip: &mut [u8],
) {
    let (rows, _) = rows.as_chunks::<TOGETHER>();
    let (strip, _) = strip.as_chunks_mut::<TOGETHER>();
    let width = width / TOGETHER;
    let last = rows.len() / width - 1;
    // Nobody reads the results of the rows that pad the last strip.
    let rows: [&[[u8; TOGETHER]]; HEIGHT] =
        std::array::from_fn(|r| &rows[r.min(last) * width..][..width]);
    for (k, to) in strip.as_chunks_mut::<HEIGHT>().0[..width]
        .iter_mut()
        .enumerate()
    {
        for (to, row) in to.iter_mut().zip(rows) {
            *to = row[k];
        }
    }
}
