//! Rounding to the nearest integer.

/// Rounds a value below 2^22 to the nearest integer, ties to even. Adding 1.5 * 2^23 leaves the integer in the low mantissa
/// bits. Unlike a call to `rint`, that is two vector instructions on every x86-64.
pub(crate) fn integer(value: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    (value + SHIFT) - SHIFT
}
