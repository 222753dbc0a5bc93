//! 8-bit floats in e4m3: a sign, 4 bits of exponent and 3 of mantissa, without infinities (arXiv 2209.05433; ONNX's
//! FLOAT8E4M3FN).

/// The largest value of the format.
pub(crate) const MAX: f32 = 448.0;
/// The least normal value, 2^-6. Below it values are 2^-9 apart.
const LEAST_NORMAL: f32 = 0.015_625;

/// The code of the nearest value, ties to even; values beyond [`MAX`] become the largest.
pub(crate) fn encode(value: f32) -> u8 {
    let sign = ((value.to_bits() >> 24) & 0x80) as u8;
    let magnitude = value.abs().min(MAX);
    if magnitude < LEAST_NORMAL {
        // 8 of these steps are the least normal value, whose code is 8.
        return sign | (magnitude * 512.0).round_ties_even() as u8;
    }
    // Rounds 23 bits of mantissa to 3; a carry goes into the exponent, as it should. The exponents' offsets are 127 and 7.
    let bits = magnitude.to_bits();
    let rounded = bits + 0x7_ffff + ((bits >> 20) & 1);
    sign | ((rounded >> 20) - (120 << 3)) as u8
}

/// The value of a code that [`encode`] returned.
pub(crate) fn decode(code: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(code >> 3 & 15), f32::from(code & 7));
    let magnitude = match exponent {
        0 => mantissa / 512.0,
        _ => (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7),
    };
    if code & 0x80 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// The scale with which the largest code represents the largest magnitude of a matrix; 1 for a matrix of zeros.
pub(crate) fn scale_of(largest: f32) -> f32 {
    match largest / MAX {
        0.0 => 1.0,
        scale => scale,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every finite value by the format's definition, least first.
    fn values() -> Vec<f32> {
        let mut values: Vec<f32> = (0..=0x7e).map(decode).collect();
        values.extend((0..=0x7e).map(|code| -decode(code)));
        values.sort_by(f32::total_cmp);
        values
    }

    #[test]
    fn codes_are_those_of_the_format() {
        // From the table of arXiv 2209.05433.
        for (code, value) in [
            (0x00, 0.0),
            (0x01, 0.001_953_125),
            (0x07, 0.013_671_875),
            (0x08, 0.015_625),
            (0x38, 1.0),
            (0x7e, 448.0),
        ] {
            assert_eq!((decode(code), encode(value)), (value, code));
            assert_eq!(encode(-value), code | 0x80);
        }
        assert_eq!(encode(1e9), 0x7e);
        // Ties go to the even code.
        assert_eq!((encode(1.0625), encode(1.1875)), (0x38, 0x3a));
        for code in (0..=0x7e).chain(0x81..=0xfe) {
            assert_eq!(encode(decode(code)), code);
        }
    }

    proptest! {
        #[test]
        fn the_nearest_value_is_chosen(value in -460f32..460.0, power in -12i32..1) {
            let value = value * 2f32.powi(power);
            let found = (decode(encode(value)) - value).abs();
            for other in values() {
                prop_assert!(found <= (other - value).abs(), "{value}: {other} is nearer");
            }
        }
    }
}
