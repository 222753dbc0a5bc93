//! The key of a cached state.

use std::fmt;

use sha2::{Digest, Sha256};

/// Separates these digests from other uses of SHA-256, and from those of a later encoding.
const DOMAIN: &[u8] = b"lexivec cache key 1\0";

/// The digest of a model and token ids. Texts with the same tokens share a key.
///
/// ```
/// use lexivec_runtime::cache::Key;
///
/// let key = Key::new("digest of nano", &[1, 2, 16_381]);
/// assert_eq!(key, Key::new("digest of nano", &[1, 2, 16_381]));
/// assert_ne!(key, Key::new("digest of nano", &[1, 2]));
/// assert_eq!(key.hex().len(), 64);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of a token sequence under a model, which `model_digest` must identify down to its weights and graph.
    #[must_use]
    pub fn new(model_digest: &str, ids: &[u32]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(DOMAIN);
        // The length in front of the digest keeps it from running into the ids.
        hasher.update((model_digest.len() as u64).to_le_bytes());
        hasher.update(model_digest);
        for id in ids {
            hasher.update(id.to_le_bytes());
        }
        Self(hasher.finalize().into())
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.hex())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_encoding_is_fixed() {
        // python3 -c "import hashlib, struct; print(hashlib.sha256(b'lexivec cache key 1\0' + struct.pack('<Q', 4) +
        //   b'nano' + struct.pack('<3I', 1, 2, 16381)).hexdigest())"
        assert_eq!(
            Key::new("nano", &[1, 2, 16_381]).hex(),
            "9173255b46dad0458afd2855ee557ef44025433d2946e1d1efa77801d46a3213"
        );
    }

    #[test]
    fn a_digest_does_not_run_into_the_ids() {
        // "abcd" followed by no ids, and "" followed by the id that is written as "abcd".
        let id = u32::from_le_bytes(*b"abcd");
        assert_ne!(Key::new("abcd", &[]), Key::new("", &[id]));
        assert_ne!(Key::new("abcd", &[id]), Key::new("abcdabcd", &[]));
    }

    proptest! {
        #[test]
        fn keys_are_equal_exactly_when_model_and_ids_are(
            a in ("[ab]{0,3}", prop::collection::vec(0u32..3, 0..4)),
            b in ("[ab]{0,3}", prop::collection::vec(0u32..3, 0..4)),
        ) {
            prop_assert_eq!(Key::new(&a.0, &a.1) == Key::new(&b.0, &b.1), a == b);
        }
    }
}
