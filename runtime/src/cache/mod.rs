//! The storage of the response cache: states of texts that were embedded before.
//!
//! An entry is a text's full-width state under a [`Key`] of the model and the token ids. `dimensions` is applied
//! afterwards, so one entry serves every width. There are two tiers, each usable alone:
//!
//! * [`MemoryCache`], in process, bounded in bytes;
//! * [`RedisCache`], shared between servers. It owns a thread, never blocks its caller, and never fails a request:
//!   whatever Redis does, a lookup completes within a time-out, and at once while Redis is down.
//!
//! A hit returns exactly what was stored, unless [`ValueFormat::F16`] was chosen to halve Redis's memory.

#[cfg(feature = "redis")]
mod breaker;
#[cfg_attr(not(feature = "redis"), allow(dead_code))]
mod callback;
#[cfg(feature = "redis")]
mod commands;
#[cfg_attr(not(feature = "redis"), allow(dead_code))]
mod key;
#[cfg(feature = "redis")]
mod link;
mod memory;
#[cfg(feature = "redis")]
mod redis;
#[cfg(not(feature = "redis"))]
#[path = "without_redis.rs"]
mod redis;
#[cfg(feature = "redis")]
mod redis_metrics;
#[cfg_attr(not(feature = "redis"), allow(dead_code))]
mod secret;
#[cfg_attr(not(feature = "redis"), allow(dead_code))]
mod settings;
#[cfg_attr(not(feature = "redis"), allow(dead_code))]
mod value;

pub use self::callback::Callback;
pub use self::key::Key;
pub use self::memory::MemoryCache;
pub use self::redis::RedisCache;
pub use self::secret::RedisSecret;
pub use self::settings::RedisSettings;
pub use self::value::ValueFormat;

/// A text's pooled hidden state at full width, neither truncated nor normalised.
pub type PooledState = std::sync::Arc<[f32]>;
