//! The Redis tier of a build without feature `redis`, which cannot be started.

use super::callback::Callback;
use super::{Key, PooledState, RedisSettings};
use crate::error::{Error, Result};

/// The Redis tier. This build has none.
#[derive(Debug)]
pub enum RedisCache {}

impl RedisCache {
    /// Always fails, because this build has no Redis tier.
    ///
    /// # Errors
    /// Always.
    pub fn start(_settings: &RedisSettings) -> Result<Self> {
        Err(Error::Cache {
            reason: "this program is built without feature `redis`".to_owned(),
        })
    }

    /// Looks keys up.
    pub fn get(&self, _keys: Vec<Key>, _callback: Callback) {
        match *self {}
    }

    /// Stores values.
    pub fn put(&self, _entries: Vec<(Key, PooledState)>) {
        match *self {}
    }
}
