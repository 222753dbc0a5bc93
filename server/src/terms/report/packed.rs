//! Lists of numbers in base64, so that 100,000 terms make a page of a few megabytes.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

/// Numbers as base64 of little-endian integers, of the smallest width that holds them all.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Packed {
    bits: u8,
    base64: String,
}

impl Packed {
    pub(super) fn new(numbers: &[u32]) -> Self {
        let largest = numbers.iter().copied().max().unwrap_or_default();
        let width = match largest {
            0..=0xff => 1,
            0x100..=0xffff => 2,
            _ => 4,
        };
        let bytes = numbers
            .iter()
            .flat_map(|number| number.to_le_bytes().into_iter().take(width));
        Self {
            bits: 8 * width as u8,
            base64: BASE64_STANDARD.encode(bytes.collect::<Vec<u8>>()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Packed;

    #[test]
    fn numbers_take_the_smallest_width() {
        for (numbers, bits, base64) in [
            (&[0, 255][..], 8, "AP8="),
            (&[256, 1], 16, "AAEBAA=="),
            (&[65_536], 32, "AAABAA=="),
            (&[], 8, ""),
        ] {
            let base64 = base64.to_owned();
            assert_eq!(Packed::new(numbers), Packed { bits, base64 });
        }
    }
}
