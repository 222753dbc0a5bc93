//! The Redis commands: MGET and SETEX of whole batches.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, Value};

use super::redis_metrics::{FailureKind, RedisMetrics};
use super::value::{Unusable, decode, encode};
use super::{Key, PooledState, RedisSecret, RedisSettings, ValueFormat};

/// Target size of one MGET's reply. A lookup that times out keeps the replies that arrived before, in steps of this
/// size.
const REPLY_BYTES: usize = 1024 * 1024;
/// Maximum keys of one MGET, because Redis serves no other client meanwhile.
const KEYS: usize = 1024;

/// Minimum time between warnings about values without a valid signature.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Why an exchange with Redis failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Redis did not reply in time.
    Timeout,
    /// The redis crate's error.
    Redis(RedisError),
    /// Redis sent a reply that does not belong to the command.
    Reply,
}

impl Failure {
    pub(super) fn kind(&self) -> FailureKind {
        match self {
            Self::Timeout => FailureKind::Timeout,
            Self::Reply => FailureKind::Server,
            Self::Redis(error) if error.is_timeout() => FailureKind::Timeout,
            Self::Redis(error) if error.kind() == ErrorKind::Io => FailureKind::Connection,
            Self::Redis(_) => FailureKind::Server,
        }
    }

    /// Whether the connection is unusable from now on.
    pub(super) fn lost(&self) -> bool {
        match self {
            Self::Timeout => false,
            Self::Redis(error) => error.is_unrecoverable_error(),
            // Replies may be shifted by one, so no later reply can be trusted.
            Self::Reply => true,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no reply in time"),
            Self::Redis(error) => error.fmt(f),
            Self::Reply => f.write_str("an unexpected reply"),
        }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

/// The commands and the settings that shape them.
#[derive(Debug)]
pub(super) struct Commands {
    prefix: String,
    width: usize,
    format: ValueFormat,
    secret: Option<RedisSecret>,
    ttl: Duration,
    warned: Mutex<Option<Instant>>,
}

impl Commands {
    pub(super) fn new(settings: &RedisSettings) -> Self {
        Self {
            prefix: settings.prefix.clone(),
            width: settings.width,
            format: settings.format,
            secret: settings.secret.clone(),
            ttl: settings.ttl,
            warned: Mutex::new(None),
        }
    }

    /// The number of keys for one MGET.
    pub(super) fn keys_at_once(&self) -> usize {
        (REPLY_BYTES / self.format.stored_bytes(self.width, self.secret.is_some())).clamp(1, KEYS)
    }

    /// Checks that the server is Redis and accepts the credentials.
    pub(super) async fn ping(connection: &mut MultiplexedConnection) -> Result<(), Failure> {
        match connection.send_packed_command(&redis::cmd("PING")).await? {
            Value::SimpleString(pong) if pong == "PONG" => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Fetches the states of keys, in their order. An invalid value counts as a miss.
    pub(super) async fn fetch(
        &self,
        connection: &mut MultiplexedConnection,
        keys: &[Key],
        metrics: &RedisMetrics,
    ) -> Result<Vec<Option<PooledState>>, Failure> {
        let mut command = redis::cmd("MGET");
        for key in keys {
            command.arg(self.name(key));
        }
        let values = match connection.send_packed_command(&command).await? {
            Value::Array(values) if values.len() == keys.len() => values,
            other => return Err(unexpected(other)),
        };
        let states = keys.iter().zip(values).map(|(key, value)| {
            // Redis also returns nil for a key of another type.
            let state = match value {
                Value::Nil => None,
                Value::BulkString(bytes) => {
                    let secret = self.secret.as_ref();
                    let state = decode(key, &bytes, self.width, self.format, secret);
                    if let Err(reason) = state {
                        metrics.error(FailureKind::Value);
                        self.warn(reason);
                    }
                    state.ok()
                }
                _ => {
                    metrics.error(FailureKind::Value);
                    None
                }
            };
            if state.is_some() {
                metrics.hit();
            } else {
                metrics.miss();
            }
            state
        });
        Ok(states.collect())
    }

    /// Stores states with the configured time to live.
    pub(super) async fn store(
        &self,
        connection: &mut MultiplexedConnection,
        entries: &[(Key, PooledState)],
    ) -> Result<(), Failure> {
        let mut pipeline = redis::pipe();
        for (key, state) in entries {
            let value = encode(key, state, self.format, self.secret.as_ref());
            pipeline
                .set_ex(self.name(key), value, self.ttl.as_secs())
                .ignore();
        }
        Ok(pipeline.exec_async(connection).await?)
    }

    /// Warns about values that this deployment did not sign, at most once a minute.
    fn warn(&self, reason: Unusable) {
        if reason != Unusable::Signature {
            return;
        }
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|last| last.elapsed() >= WARN_EVERY) {
            *warned = Some(Instant::now());
            tracing::warn!(
                "values in Redis have no valid signature and count as absent: they were stored before the secret was in use, \
                 or by a server with another secret, or somebody else changes them"
            );
        }
    }

    fn name(&self, key: &Key) -> String {
        format!("{}{}", self.prefix, key.hex())
    }
}

fn unexpected(value: Value) -> Failure {
    match value.extract_error() {
        Err(error) => Failure::Redis(error),
        Ok(_) => Failure::Reply,
    }
}
