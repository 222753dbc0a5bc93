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

    unsafe fn load_once<const REGISTER: u8>(&mut self, from: *const u8) {
        // SAFETY: the contract is the same.
        unsafe { self.load::<REGISTER>(from) };
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

    unsafe fn multiply_bf16<const SUMS: u8, const LEFT: u8, const RIGHT: u8>(&mut self) {
        let (left, right) = (self.0[usize::from(LEFT)], self.0[usize::from(RIGHT)]);
        let float = |bytes: &[u8]| {
            f32::from_bits(u32::from(u16::from_ne_bytes([bytes[0], bytes[1]])) << 16)
        };
        for row in 0..ROWS {
            for column in 0..COLUMNS {
                let mut sums = [0.0f32; 2];
                for k in 0..ROW / 2 {
                    let a = float(&left[row * ROW + 2 * k..]);
                    let b = float(&right[k / 2 * ROW + 4 * column + 2 * (k % 2)..]);
                    sums[k % 2] = a.mul_add(b, sums[k % 2]);
                }
                let sum = self.sum(SUMS, row, column);
                *sum = (f32::from_ne_bytes(*sum) + (sums[0] + sums[1])).to_ne_bytes();
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
