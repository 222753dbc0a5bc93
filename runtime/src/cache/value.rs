//! The encoding of a state in Redis.
//!
//! | bytes | |
//! |---|---|
//! | 0 | version, 1 |
//! | 1 | format: 0 for float32, 1 for float16 |
//! | 2..6 | CRC-32 (zlib's) of the key, the two bytes above and the values, little-endian |
//! | 6.. | the values, little-endian |
//!
//! The checksum covers the key, so a value that was stored for another text is as invalid as a truncated one.
//!
//! A checksum does not stop an attacker. Servers with a [`RedisSecret`] write version 2 and accept nothing else: its
//! bytes 2..34 are a keyed BLAKE3 hash of the same parts in place of the checksum, and the values begin at byte 34.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::{Key, PooledState, RedisSecret};

/// Bytes of the version and the format.
const HEAD: usize = 2;
const CHECKSUM: usize = 4;
const MAC: usize = 32;

/// The version that is written and accepted, with or without a secret.
fn version(secret: Option<&RedisSecret>) -> u8 {
    if secret.is_some() { 2 } else { 1 }
}

/// Why a stored value is a miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unusable {
    /// The value is unsigned, was signed with another secret or for another key, or was changed.
    Signature,
    /// Anything else.
    Value,
}

/// How values are stored in Redis.
///
/// ```
/// use lexivec_runtime::cache::ValueFormat;
///
/// assert_eq!(ValueFormat::default(), ValueFormat::F32);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ValueFormat {
    /// 4 bytes per number. A hit equals the computed state to the last bit.
    #[default]
    F32,
    /// 2 bytes per number: half the memory, and a relative error of up to 2^-11.
    F16,
}

impl ValueFormat {
    /// Bytes of a stored state of `width` values.
    pub(super) fn stored_bytes(self, width: usize, signed: bool) -> usize {
        HEAD + if signed { MAC } else { CHECKSUM } + width * self.value_bytes()
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

/// Encodes a state and signs it if there is a secret. A state with a number beyond float16's range is always stored as
/// float32.
pub(super) fn encode(
    key: &Key,
    state: &[f32],
    format: ValueFormat,
    secret: Option<&RedisSecret>,
) -> Vec<u8> {
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
    let head = [version(secret), format.code()];
    match secret {
        Some(secret) => [
            &head[..],
            secret.mac(key, head, &values).as_bytes(),
            &values,
        ]
        .concat(),
        None => [&head[..], &checksum(key, head, &values), &values].concat(),
    }
}

/// Decodes a state of `width` numbers that is at least as precise as `format` and, with a secret, has a valid
/// signature.
///
/// # Errors
/// The bytes are anything else.
pub(super) fn decode(
    key: &Key,
    bytes: &[u8],
    width: usize,
    format: ValueFormat,
    secret: Option<&RedisSecret>,
) -> Result<PooledState, Unusable> {
    let (stored, values) = match secret {
        Some(secret) => open_signed(key, bytes, secret).ok_or(Unusable::Signature)?,
        None => open_plain(key, bytes).ok_or(Unusable::Value)?,
    };
    let state = read(stored, values, width, format);
    state.ok_or(Unusable::Value)
}

/// Returns the format's code and the values if `secret` signed them for `key`.
fn open_signed<'a>(key: &Key, bytes: &'a [u8], secret: &RedisSecret) -> Option<(u8, &'a [u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let (mac, values) = rest.split_first_chunk::<MAC>()?;
    let genuine = secret.mac(key, *head, values) == *mac;
    (head[0] == version(Some(secret)) && genuine).then_some((head[1], values))
}

/// Returns the format's code and the values if the checksum matches.
fn open_plain<'a>(key: &Key, bytes: &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let (sum, values) = rest.split_first_chunk::<CHECKSUM>()?;
    (head[0] == version(None) && checksum(key, *head, values) == *sum).then_some((head[1], values))
}

fn read(stored: u8, values: &[u8], width: usize, format: ValueFormat) -> Option<PooledState> {
    let stored = match stored {
        0 => ValueFormat::F32,
        // A caller that asks for float32 is promised the computed bits.
        1 if format == ValueFormat::F16 => ValueFormat::F16,
        _ => return None,
    };
    if values.len() != width * stored.value_bytes() {
        return None;
    }
    let state: PooledState = match stored {
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

fn checksum(key: &Key, head: [u8; HEAD], values: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key.bytes());
    hasher.update(&head);
    hasher.update(values);
    hasher.finalize().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ValueFormat::{F16, F32};
    use super::*;

    fn key(id: u32) -> Key {
        Key::new("model", &[id])
    }

    fn secret(text: &str) -> RedisSecret {
        RedisSecret::new(text.as_bytes()).unwrap()
    }

    // Most tests use unsigned values.
    fn encode(key: &Key, state: &[f32], format: ValueFormat) -> Vec<u8> {
        super::encode(key, state, format, None)
    }

    fn decode(key: &Key, bytes: &[u8], width: usize, format: ValueFormat) -> Option<PooledState> {
        super::decode(key, bytes, width, format, None).ok()
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
        assert_eq!(hex::encode(&bytes), "0100bac809660000803f000000c0");
        assert_eq!(bytes.len(), F32.stored_bytes(2, false));
    }

    #[test]
    fn a_signed_value_is_read_with_its_secret_and_key_alone() {
        let (ours, other) = (
            secret("one secret of 24 bytes"),
            secret("two secret of 24 bytes"),
        );
        let state = [1.0, -2.0];
        let signed = super::encode(&key(1), &state, F32, Some(&ours));
        assert_eq!(signed.len(), F32.stored_bytes(2, true));
        let read = |id, bytes: &[u8], secret| super::decode(&key(id), bytes, 2, F32, secret);
        assert_eq!(*read(1, &signed, Some(&ours)).unwrap(), state);
        let plain = encode(&key(1), &state, F32);
        for (id, bytes, secret) in [
            (2, &signed, &ours),
            (1, &signed, &other),
            (1, &plain, &ours),
            (1, &signed[..30].to_vec(), &ours),
            (1, &Vec::new(), &ours),
        ] {
            assert_eq!(read(id, bytes, Some(secret)), Err(Unusable::Signature));
        }
        assert_eq!(read(1, &signed, None), Err(Unusable::Value));
        // The value is signed but less precise than asked for, so nobody forged it.
        let halves = super::encode(&key(1), &state, F16, Some(&ours));
        assert_eq!(read(1, &halves, Some(&ours)), Err(Unusable::Value));
    }

    #[test]
    fn a_value_that_is_not_finite_is_a_miss() {
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
    fn float16_is_a_miss_if_float32_is_required() {
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
            prop_assert_eq!(bytes.len(), F16.stored_bytes(state.len(), false));
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
        fn a_changed_byte_breaks_the_signature(
            state in finite(), half in any::<bool>(), at in any::<prop::sample::Index>(), flip in 1u8..,
        ) {
            let format = if half { F16 } else { F32 };
            let secret = secret("one secret of 24 bytes");
            let mut bytes = super::encode(&key(1), &state, format, Some(&secret));
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let read = super::decode(&key(1), &bytes, state.len(), format, Some(&secret));
            prop_assert_eq!(read, Err(Unusable::Signature));
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
