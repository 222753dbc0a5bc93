//! Results kept for texts that come again.
//!
//! An entry is a text's full-width state under a [`Key`] of the model and the token ids; `dimensions` cuts it
//! afterwards, so one entry serves every width. There are two tiers, each usable alone:
//!
//! * [`MemoryCache`], in process, bounded in bytes;
//! * [`RedisCache`], shared between servers. It owns a thread, never blocks its caller, and never fails a request:
//!   whatever Redis does, a lookup is answered within a time-out, and while Redis is away it is answered at once.
//!
//! What is found is exactly what was stored, except where [`ValueFormat::F16`] was chosen to halve Redis's memory.

#[cfg_attr(not(feature = "redis"), allow(dead_code))]
mod answer;
#[cfg(feature = "redis")]
mod breaker;
#[cfg(feature = "redis")]
mod commands;
#[cfg_attr(not(feature = "redis"), allow(dead_code))]
mod key;
#[cfg(feature = "redis")]
mod link;
mod memory;
#[cfg(feature = "redis")]
mod meters;
#[cfg(feature = "redis")]
mod redis;
#[cfg(not(feature = "redis"))]
#[path = "without_redis.rs"]
mod redis;
#[cfg_attr(not(feature = "redis"), allow(dead_code))]
mod secret;
#[cfg_attr(not(feature = "redis"), allow(dead_code))]
mod settings;
#[cfg_attr(not(feature = "redis"), allow(dead_code))]
mod value;

pub use self::answer::Then;
pub use self::key::Key;
pub use self::memory::MemoryCache;
pub use self::redis::RedisCache;
pub use self::secret::RedisSecret;
pub use self::settings::RedisSettings;
pub use self::value::ValueFormat;

/// A text's full-width state, neither cut nor normalised.
pub type State = std::sync::Arc<[f32]>;
