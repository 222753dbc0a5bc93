//! The settings of the Redis tier.

use std::fmt;
use std::time::Duration;

#[cfg(feature = "redis")]
use redis::{Client, IntoConnectionInfo};

use super::{RedisSecret, ValueFormat};
#[cfg(feature = "redis")]
use crate::error::{Error, Result};

const MINUTE: Duration = Duration::from_secs(60);

/// Settings of the Redis tier. Its [`Debug`](fmt::Debug) form shows the server's address, never user or password.
///
/// ```
/// use std::time::Duration;
///
/// use lexivec_runtime::cache::{RedisSettings, ValueFormat};
///
/// let settings = RedisSettings {
///     format: ValueFormat::F16,
///     ..RedisSettings::new("redis://user:hunter2@cache:6379", 1024)
/// };
/// assert_eq!(settings.ttl, Duration::from_secs(24 * 60 * 60));
/// assert!(!format!("{settings:?}").contains("hunter2"));
/// ```
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://[user:password@]host[:port][/database]`; `rediss://` for TLS, `redis+unix:///path` for a socket. One
    /// server: a cluster rejects lookups of many keys.
    pub url: String,
    /// Width of a state: the model's hidden size.
    pub width: usize,
    /// Time to live of a value: at least a second, in whole seconds.
    pub ttl: Duration,
    /// The prefix of every key.
    pub prefix: String,
    /// Time-out of a lookup, its time in the queue included, and of one store; at most a minute.
    pub timeout: Duration,
    /// The format of stored values.
    pub format: ValueFormat,
    /// The secret that signs values. With one, a value without a valid signature is a miss; without one, nothing is
    /// signed.
    pub secret: Option<RedisSecret>,
    /// How long Redis is not used after a failure. It doubles with every failed attempt, up to the limit.
    pub back_off: Duration,
    /// The longest back-off, at most an hour.
    pub back_off_limit: Duration,
}

impl RedisSettings {
    /// The defaults: float32, unsigned, a day, the prefix `lexivec:`, 50 ms, a back-off of 100 ms to 5 s.
    #[must_use]
    pub fn new(url: impl Into<String>, width: usize) -> Self {
        Self {
            url: url.into(),
            width,
            ttl: Duration::from_secs(24 * 60 * 60),
            prefix: "lexivec:".to_owned(),
            timeout: Duration::from_millis(50),
            format: ValueFormat::default(),
            secret: None,
            back_off: Duration::from_millis(100),
            back_off_limit: Duration::from_secs(5),
        }
    }

    /// Checks all settings that need no connection.
    #[cfg(feature = "redis")]
    pub(super) fn client(&self) -> Result<Client> {
        let invalid = |reason: String| Err(Error::Cache { reason });
        if self.width == 0 {
            return invalid("the width of its vectors is 0".to_owned());
        }
        if self.ttl < Duration::from_secs(1) {
            return invalid("values must be kept for at least 1 second".to_owned());
        }
        if self.timeout.is_zero() || self.timeout > MINUTE {
            return invalid(format!(
                "its time-out is {:?}; it may be up to a minute",
                self.timeout
            ));
        }
        let waits = [self.back_off, self.back_off_limit];
        if waits
            .iter()
            .any(|wait| wait.is_zero() || *wait > 60 * MINUTE)
        {
            return invalid(format!(
                "its back-off is {:?} to {:?}; it may be up to an hour",
                waits[0], waits[1]
            ));
        }
        // The library's messages do not quote the URL.
        Client::open(self.url.as_str()).or_else(|error| {
            invalid(format!(
                "its URL is not understood ({error}); write redis://[user:password@]host[:port][/database], rediss:// \
                 for TLS, or redis+unix:///path"
            ))
        })
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("server", &address(&self.url))
            .field("width", &self.width)
            .field("ttl", &self.ttl)
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("format", &self.format)
            .field("signed", &self.secret.is_some())
            .field("back_off", &self.back_off)
            .field("back_off_limit", &self.back_off_limit)
            .finish()
    }
}

/// The address in a URL, without user and password.
#[cfg(feature = "redis")]
fn address(url: &str) -> String {
    let info = url.into_connection_info();
    info.map_or("(not a URL)".to_owned(), |info| info.addr().to_string())
}

#[cfg(not(feature = "redis"))]
fn address(_url: &str) -> &'static str {
    "(unknown without feature `redis`)"
}

#[cfg(all(test, feature = "redis"))]
mod tests {
    use super::*;

    const SECRETS: [&str; 2] = ["alice", "hunter2"];

    #[test]
    fn a_secret_is_neither_in_the_debug_form_nor_in_an_error() {
        for url in [
            "redis://alice:hunter2@cache.example:6380/3",
            "rediss://alice:hunter2@cache.example:6380",
            "redis+unix:///run/redis.sock?user=alice&pass=hunter2",
            "redis://alice:hunter2@cache.example:6380/three",
            "redis://alice:hunter2@cache.example:port",
            "http://alice:hunter2@cache.example",
            "alice:hunter2",
        ] {
            let settings = RedisSettings::new(url, 8);
            let shown = format!("{settings:?} {:?}", settings.client().err());
            for secret in SECRETS {
                assert!(!shown.contains(secret), "{url}: {shown}");
            }
        }
        let shown = format!(
            "{:?}",
            RedisSettings::new("redis://:hunter2@cache.example:6380", 8)
        );
        assert!(shown.contains("cache.example:6380"), "{shown}");
    }

    #[test]
    fn invalid_settings_are_rejected() {
        let good = RedisSettings::new("redis://127.0.0.1", 8);
        assert!(good.client().is_ok());
        let bad = [
            RedisSettings {
                url: "localhost:6379:1".to_owned(),
                ..good.clone()
            },
            RedisSettings {
                url: "http://localhost".to_owned(),
                ..good.clone()
            },
            RedisSettings {
                url: String::new(),
                ..good.clone()
            },
            RedisSettings {
                width: 0,
                ..good.clone()
            },
            RedisSettings {
                ttl: Duration::from_millis(999),
                ..good.clone()
            },
            RedisSettings {
                timeout: Duration::ZERO,
                ..good.clone()
            },
            RedisSettings {
                timeout: Duration::MAX,
                ..good.clone()
            },
            RedisSettings {
                back_off_limit: Duration::MAX,
                ..good.clone()
            },
            RedisSettings {
                back_off: Duration::ZERO,
                ..good
            },
        ];
        for settings in bad {
            assert!(
                matches!(settings.client(), Err(Error::Cache { .. })),
                "{settings:?}"
            );
        }
    }
}
