//! Tile registers in plain code. Tests run them on any processor, and the detection of AMX compares a product with them.

use super::{COLUMNS, ROW, ROWS, Registers};

/// The bytes of eight registers.
pub(crate) struct Emulated([[u8; ROWS * ROW]; 8]);

impl Emulated {
    /// The sum in a row and column.
    fn sum(&mut self, register: u8, row: usize, column: usize) -> &mut [u8; 4] {
        let (sums, _) = self.0[usize::from(register)].as_chunks_mut();
        &mut sums[row * COLUMNS + column]
    }
}

impl Registers for Emulated {
    unsafe fn configured() -> Self {
        // Registers that were never written may hold any value.
        Self([[0xAA; ROWS * ROW]; 8])
    }

    unsafe fn zero<const SUMS: u8>(&mut self) {
        self.0[usize::from(SUMS)].fill(0);
    }

    unsafe fn load<const REGISTER: u8>(&mut self, from: *const u8) {
        // SAFETY: `from` is valid for 1,024 bytes.
        let from = unsafe { from.cast::<[u8; ROWS * ROW]>().read() };
        self.0[usize::from(REGISTER)] = from;
    }

    unsafe fn multiply<const SUMS: u8, const CODES: u8, const WEIGHTS: u8>(&mut self) {
        let (codes, weights) = (self.0[usize::from(CODES)], self.0[usize::from(WEIGHTS)]);
        for row in 0..ROWS {
            for column in 0..COLUMNS {
                let products = (0..ROW).map(|k| {
                    let weight = weights[k / 4 * ROW + 4 * column + k % 4];
                    i32::from(codes[row * ROW + k]) * i32::from(weight.cast_signed())
                });
                let sum = self.sum(SUMS, row, column);
                *sum = (i32::from_ne_bytes(*sum) + products.sum::<i32>()).to_ne_bytes();
            }
        }
    }

    unsafe fn store<const SUMS: u8>(&mut self, to: *mut i32, stride: usize) {
        for row in 0..ROWS {
            for column in 0..COLUMNS {
                let sum = i32::from_ne_bytes(*self.sum(SUMS, row, column));
                // SAFETY: `to` is valid for 16 rows of 16 sums.
                unsafe { to.add(stride * row + column).write(sum) };
            }
        }
    }
}
