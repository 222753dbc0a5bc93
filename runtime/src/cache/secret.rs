//! The secret that the servers of a deployment sign their values in Redis with.

use std::fmt;

use super::Key;

/// Separates the key that is derived here from any other use of the same secret.
const CONTEXT: &str = "lexivec 2026-11 message authentication of values in Redis";

/// A secret that only servers of one deployment know. Its [`Debug`](fmt::Debug) form does not show it.
///
/// ```
/// use lexivec_runtime::cache::RedisSecret;
///
/// assert_eq!(RedisSecret::new(b"too short"), None);
/// let secret = RedisSecret::new(b"0123456789abcdef").expect("it has 16 bytes");
/// assert_eq!(format!("{secret:?}"), "RedisSecret(…)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RedisSecret([u8; 32]);

impl RedisSecret {
    /// Minimum bytes of a secret: 128 bits. `openssl rand -hex 16` prints twice as many characters.
    pub const SHORTEST: usize = 16;

    /// Derives a key from `secret`. Returns `None` if it is shorter than [`Self::SHORTEST`], because anyone who can
    /// read a value in Redis could guess it.
    #[must_use]
    pub fn new(secret: &[u8]) -> Option<Self> {
        (secret.len() >= Self::SHORTEST).then(|| Self(blake3::derive_key(CONTEXT, secret)))
    }

    /// The message authentication code of a value under its key: a keyed BLAKE3 hash. Comparing it takes constant time.
    pub(super) fn mac(&self, key: &Key, head: [u8; 2], values: &[u8]) -> blake3::Hash {
        // Key and head have fixed lengths, so no other three parts run together to the same bytes.
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(key.bytes()).update(&head).update(values);
        hasher.finalize()
    }
}

impl fmt::Debug for RedisSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_depends_on_every_part_and_the_secret_is_not_shown() {
        let secret = RedisSecret::new(b"hunter2 hunter2 ").unwrap();
        let key = |id| Key::new("model", &[id]);
        let code = secret.mac(&key(1), [2, 0], b"values");
        assert_eq!(secret.mac(&key(1), [2, 0], b"values"), code);
        assert_ne!(secret.mac(&key(2), [2, 0], b"values"), code);
        assert_ne!(secret.mac(&key(1), [2, 1], b"values"), code);
        assert_ne!(secret.mac(&key(1), [2, 0], b"valves"), code);
        let other = RedisSecret::new(b"hunter3 hunter3 ").unwrap();
        assert_ne!(other.mac(&key(1), [2, 0], b"values"), code);
        assert_eq!(format!("{secret:?}"), "RedisSecret(…)");
        assert_eq!(RedisSecret::new(b"hunter2 hunter2"), None);
    }
}
