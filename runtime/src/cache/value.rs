//! A state as Redis holds it.
//!
//! | bytes | |
//! |---|---|
//! | 0 | version, 1 |
//! | 1 | format: 0 for float32, 1 for float16 |
//! | 2..6 | CRC-32 (zlib's) of the key, the two bytes above and the values, little-endian |
//! | 6.. | the values, little-endian |
//!
//! With the key under the checksum, a value that was stored for another text is as invalid as a truncated one.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::{Key, State};

const VERSION: u8 = 1;
const HEADER: usize = 6;

/// How values are stored in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ValueFormat {
    /// 4 bytes a value: a hit is equal to the computed state to the last bit.
    #[default]
    F32,
    /// 2 bytes a value: half the memory, and a relative error of up to 2^-11.
    F16,
}

impl ValueFormat {
    /// Bytes of a stored state of `width` values.
    pub(super) fn stored_bytes(self, width: usize) -> usize {
        HEADER + width * self.value_bytes()
    }

    fn value_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
        }
    }
}

/// Writes a state; as float32 in any case where a value is beyond float16's range.
pub(super) fn encode(key: &Key, state: &[f32], format: ValueFormat) -> Vec<u8> {
    let halves = match format {
        ValueFormat::F32 => None,
        ValueFormat::F16 => Some(to_halves(state)).filter(|h| h.iter().all(|v| v.is_finite())),
    };
    let (format, values): (_, Vec<u8>) = match halves {
        Some(halves) => (
            ValueFormat::F16,
            halves.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ),
        None => (
            ValueFormat::F32,
            state.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ),
    };
    let head = [VERSION, format.code()];
    [
        &head[..],
        &checksum(key, head, &values).to_le_bytes(),
        &values,
    ]
    .concat()
}

/// Reads a state of `width` values, none of them less precise than `format`; `None` where the bytes are anything else.
pub(super) fn decode(key: &Key, bytes: &[u8], width: usize, format: ValueFormat) -> Option<State> {
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    let (sum, values) = rest.split_first_chunk::<4>()?;
    let stored = match head {
        [VERSION, 0] => ValueFormat::F32,
        // Who asks for float32 is promised the computed bits.
        [VERSION, 1] if format == ValueFormat::F16 => ValueFormat::F16,
        _ => return None,
    };
    if values.len() != width * stored.value_bytes()
        || checksum(key, *head, values) != u32::from_le_bytes(*sum)
    {
        return None;
    }
    let state: State = match stored {
        ValueFormat::F32 => values
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect(),
        ValueFormat::F16 => {
            let halves: Vec<f16> = values
                .chunks_exact(2)
                .map(|b| f16::from_le_bytes([b[0], b[1]]))
                .collect();
            halves.to_f32_vec().into()
        }
    };
    state.iter().all(|v| v.is_finite()).then_some(state)
}

fn to_halves(state: &[f32]) -> Vec<f16> {
    let mut halves = vec![f16::ZERO; state.len()];
    halves.convert_from_f32_slice(state);
    halves
}

fn checksum(key: &Key, head: [u8; 2], values: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key.bytes());
    hasher.update(&head);
    hasher.update(values);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ValueFormat::{F16, F32};
    use super::*;

    fn key(id: u32) -> Key {
        Key::new("model", &[id])
    }

    fn states(range: std::ops::Range<f32>) -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(range, 1..40)
    }

    fn finite() -> impl Strategy<Value = Vec<f32>> {
        use prop::num::f32::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
        prop::collection::vec(NORMAL | SUBNORMAL | ZERO | POSITIVE | NEGATIVE, 1..40)
    }

    #[test]
    fn the_layout_is_fixed() {
        // python3 -c "import struct, zlib, hashlib; key = hashlib.sha256(b'lexivec cache key 1\0' +
        //   struct.pack('<Q', 5) + b'model' + struct.pack('<I', 1)).digest(); v = struct.pack('<2f', 1, -2);
        //   print((b'\1\0' + struct.pack('<I', zlib.crc32(key + b'\1\0' + v)) + v).hex())"
        let bytes = encode(&key(1), &[1.0, -2.0], F32);
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "0100bac809660000803f000000c0");
        assert_eq!(bytes.len(), F32.stored_bytes(2));
    }

    #[test]
    fn what_is_not_finite_is_a_miss() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for format in [F32, F16] {
                let bytes = encode(&key(1), &[1.0, value], format);
                assert!(decode(&key(1), &bytes, 2, format).is_none());
            }
        }
    }

    #[test]
    fn a_value_beyond_float16_is_kept_as_float32() {
        let state = [70_000.0, 1e-9];
        let found = decode(&key(1), &encode(&key(1), &state, F16), 2, F16).unwrap();
        assert_eq!(*found, state);
    }

    #[test]
    fn float16_does_not_do_where_float32_is_asked_for() {
        let state = [1.0, 2.0];
        assert!(decode(&key(1), &encode(&key(1), &state, F16), 2, F32).is_none());
        assert!(decode(&key(1), &encode(&key(1), &state, F32), 2, F16).is_some());
    }

    proptest! {
        #[test]
        fn float32_comes_back_to_the_last_bit(state in finite()) {
            let bytes = encode(&key(1), &state, F32);
            let found = decode(&key(1), &bytes, state.len(), F32).unwrap();
            let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&found), bits(&state));
        }

        #[test]
        fn float16_comes_back_within_half_precision(state in states(-500.0..500.0)) {
            let bytes = encode(&key(1), &state, F16);
            prop_assert_eq!(bytes.len(), F16.stored_bytes(state.len()));
            let found = decode(&key(1), &bytes, state.len(), F16).unwrap();
            for (a, b) in state.iter().zip(found.iter()) {
                // Half a unit in the last place, or half of the smallest subnormal.
                prop_assert!((a - b).abs() <= (a.abs() * 2f32.powi(-11)).max(2f32.powi(-25)), "{} {}", a, b);
            }
        }

        #[test]
        fn a_changed_byte_is_a_miss(
            state in finite(), half in any::<bool>(), at in any::<prop::sample::Index>(), flip in 1u8..,
        ) {
            let format = if half { F16 } else { F32 };
            let mut bytes = encode(&key(1), &state, format);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(decode(&key(1), &bytes, state.len(), format).is_none());
        }

        #[test]
        fn another_length_is_a_miss(state in finite(), cut in any::<prop::sample::Index>(), more in 1usize..9) {
            let bytes = encode(&key(1), &state, F32);
            prop_assert!(decode(&key(1), &bytes[..cut.index(bytes.len())], state.len(), F32).is_none());
            let longer = [&bytes[..], &vec![0; more]].concat();
            prop_assert!(decode(&key(1), &longer, state.len(), F32).is_none());
        }

        #[test]
        fn another_width_or_another_texts_value_is_a_miss(state in finite(), other in 0usize..60, half in any::<bool>()) {
            let format = if half { F16 } else { F32 };
            let bytes = encode(&key(1), &state, format);
            prop_assert!(decode(&key(2), &bytes, state.len(), format).is_none());
            prop_assume!(other != state.len());
            prop_assert!(decode(&key(1), &bytes, other, format).is_none());
        }

        #[test]
        fn foreign_bytes_are_a_miss(bytes in prop::collection::vec(any::<u8>(), 0..200), width in 0usize..40) {
            prop_assert!(decode(&key(1), &bytes, width, F16).is_none());
        }
    }
}
