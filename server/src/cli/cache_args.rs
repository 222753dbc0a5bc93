//! The flags of the caches.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use lexivec_runtime::cache::{MemoryCache, RedisSecret, RedisSettings, ValueFormat};
use lexivec_runtime::{CacheSettings, EngineOptions, Provider};

use super::Usage;

/// The flags of the caches.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Caches")]
pub(crate) struct CacheArgs {
    /// Bytes of vectors cached in this process; 0 turns the cache off. The default of 256 MiB holds 25,000 vectors of the 4B
    /// model
    #[arg(long, env = "LEXIVEC_CACHE_BYTES", value_name = "BYTES", default_value_t = 256 << 20)]
    cache_bytes: u64,

    #[arg(
        long,
        env = "LEXIVEC_PREFIX_CACHE_BYTES",
        value_name = "BYTES",
        long_help = format!(
            "Bytes of each session's KV cache for shared prompt prefixes, such as instructions. A text with a cached prefix takes \
             hardly longer than the text alone. 64 MiB hold 220 tokens of the 4B model. Default: {} on a CPU; 0 on \
             GPUs, to which the cache would be copied for each batch",
            EngineOptions::for_provider(Provider::Cpu).session.kv_cache_bytes
        )
    )]
    pub(crate) prefix_cache_bytes: Option<usize>,

    /// Redis in which servers share vectors: `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS. While
    /// Redis is slow or down, requests proceed without it. Default: none
    #[arg(
        long,
        env = "LEXIVEC_REDIS_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    redis_url: Option<String>,

    /// Seconds that Redis keeps a vector
    #[arg(
        long,
        env = "LEXIVEC_REDIS_TTL",
        value_name = "SECONDS",
        default_value_t = redis_defaults().ttl.as_secs()
    )]
    redis_ttl: u64,

    /// Text that every key in Redis begins with
    #[arg(
        long,
        env = "LEXIVEC_REDIS_PREFIX",
        value_name = "TEXT",
        default_value_t = redis_defaults().prefix
    )]
    redis_prefix: String,

    /// Milliseconds that a request waits for Redis before it continues without it
    #[arg(
        long,
        env = "LEXIVEC_REDIS_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = redis_defaults().timeout.as_millis() as u64
    )]
    redis_timeout_ms: u64,

    /// Number format of vectors in Redis: f32 is exact, f16 takes half the memory
    #[arg(
        long,
        env = "LEXIVEC_REDIS_FORMAT",
        value_name = "FORMAT",
        default_value = "f32",
        value_parser = format
    )]
    redis_format: ValueFormat,

    /// File with the secret that signs vectors in Redis, such as the output of `openssl rand -hex 32`. Vectors without a valid
    /// signature are computed again, so that others who can write to Redis cannot choose them. Give all servers that share
    /// vectors the same secret. Default: vectors are not signed
    #[arg(
        long,
        env = "LEXIVEC_REDIS_SECRET_FILE",
        value_name = "FILE",
        requires = "redis_url"
    )]
    redis_secret_file: Option<PathBuf>,
}

/// The defaults of the Redis cache, which the engine defines.
fn redis_defaults() -> RedisSettings {
    RedisSettings::new("", 1)
}

impl CacheArgs {
    /// Checks the flags and reads the secret. The metrics recorder must be installed.
    ///
    /// # Errors
    /// [`Usage`]; the file cannot be read, or is empty.
    pub(crate) fn settings(&self) -> anyhow::Result<CacheSettings> {
        if self.redis_ttl == 0 || self.redis_timeout_ms == 0 {
            return Err(
                Usage("--redis-ttl and --redis-timeout-ms must be at least 1".to_owned()).into(),
            );
        }
        let secret = self.redis_secret_file.as_deref().map(secret).transpose()?;
        let redis = self.redis_url.as_ref().map(|url| RedisSettings {
            ttl: Duration::from_secs(self.redis_ttl),
            prefix: self.redis_prefix.clone(),
            timeout: Duration::from_millis(self.redis_timeout_ms),
            format: self.redis_format,
            secret: secret.clone(),
            // The engine sets the width of its model.
            ..RedisSettings::new(url, 1)
        });
        Ok(CacheSettings {
            memory: (self.cache_bytes > 0).then(|| MemoryCache::new(self.cache_bytes)),
            redis,
        })
    }
}

/// Reads a secret. The line break with which editors and `echo` end a file is not part of it.
fn secret(path: &Path) -> anyhow::Result<RedisSecret> {
    let bytes = fs_err::read(path)?;
    let secret = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    RedisSecret::new(secret).with_context(|| {
        format!(
            "{}: the secret has {} bytes, and at least {} are needed (--redis-secret-file): `openssl rand -hex 32` makes one",
            path.display(),
            secret.len(),
            RedisSecret::SHORTEST
        )
    })
}

fn format(text: &str) -> Result<ValueFormat, String> {
    match text {
        "f32" => Ok(ValueFormat::F32),
        "f16" => Ok(ValueFormat::F16),
        other => Err(format!("`{other}` is not a format; there are f32 and f16")),
    }
}
