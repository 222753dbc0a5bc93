//! Opens models on TensorRT: bounds the shapes of all inputs, builds engines ahead, and stores them.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::network::Network;
use crate::network::bucketed::BucketedNetwork;
use crate::network::graph_inputs;
use crate::network::shapes::{self, Bucket, buckets};
use crate::onnxruntime::engine_cache::EngineCache;
use crate::onnxruntime::execution_provider::Provider;
use crate::onnxruntime::library::Library;
use crate::onnxruntime::probe::probe;
use crate::onnxruntime::provider_config::{self, profile_options};
use crate::onnxruntime::session_settings::SessionSettings;

/// Opens one session's network.
pub(crate) type Open = fn(&'static Library, &Path, &SessionSettings) -> Result<Box<dyn Network>>;

/// A model that TensorRT will run.
pub(crate) struct TensorRtModel<'a> {
    /// Its folder.
    pub(crate) dir: &'a Path,
    /// Its graph.
    pub(crate) graph: PathBuf,
    /// Identifies its files.
    pub(crate) digest: &'a str,
    /// Tokens of its longest text.
    pub(crate) max_length: usize,
}

/// Whether lexivec bounds the shapes: TensorRT comes first, and the user gives no shapes.
pub(crate) fn bounds_shapes(settings: &SessionSettings) -> bool {
    let provider = settings.providers.first();
    let Some(options) = profile_options(provider) else {
        return false;
    };
    let mut users = settings.providers.options.iter();
    !users.any(|option| option.provider == provider && options.contains(&option.key.as_str()))
}

/// Opens a model. Builds the missing engines first.
///
/// # Errors
/// An input's shape cannot be bounded, or a session does not open.
pub(crate) fn open(
    library: &'static Library,
    model: &TensorRtModel<'_>,
    settings: &SessionSettings,
    open: Open,
) -> Result<BucketedNetwork> {
    let buckets = buckets(settings.batch_tokens(), model.max_length);
    let each = buckets
        .iter()
        .map(|bucket| for_bucket(library, model, settings, bucket))
        .collect::<Result<Vec<_>>>()?;
    if each.iter().any(is_missing) {
        // Finds out that TensorRT or a GPU is missing before anything is announced or written.
        probe(library, settings.providers.first(), &settings.providers)?;
        build(library, model, &buckets, &each, open)?;
    }
    let dir = model.dir.to_path_buf();
    let lengths: Vec<usize> = buckets.iter().map(|bucket| bucket.length).collect();
    BucketedNetwork::open(
        buckets,
        Box::new(move |bucket| {
            let number = lengths.iter().position(|length| *length == bucket.length);
            open(library, &dir, &each[number.unwrap_or(0)])
        }),
    )
}

/// Whether a session's engine must be built.
fn is_missing(settings: &SessionSettings) -> bool {
    let cache = settings.model.engines.as_ref();
    cache.is_some_and(|cache| !cache.is_built())
}

/// Builds the missing engines: a session builds its engine when it opens. TensorRT for RTX needs only seconds for that,
/// and stores what it compiles by itself.
fn build(
    library: &'static Library,
    model: &TensorRtModel<'_>,
    buckets: &[Bucket],
    each: &[SessionSettings],
    open: Open,
) -> Result<()> {
    for (number, (bucket, settings)) in buckets.iter().zip(each).enumerate() {
        let Some(cache) = settings.model.engines.as_ref().filter(|c| !c.is_built()) else {
            continue;
        };
        cache.create().map_err(|e| Error::Load {
            path: cache.engines.clone(),
            reason: format!("the folder for TensorRT's engines cannot be made: {e}"),
        })?;
        if settings.providers.first() == Provider::TensorRt {
            tracing::info!(
                "building TensorRT engine {} of {}, for texts of up to {} tokens: this takes minutes, once",
                number + 1,
                buckets.len(),
                bucket.length
            );
            open(library, model.dir, settings)?;
        }
    }
    Ok(())
}

/// The settings of a bucket's session.
fn for_bucket(
    library: &Library,
    model: &TensorRtModel<'_>,
    settings: &SessionSettings,
    bucket: &Bucket,
) -> Result<SessionSettings> {
    let provider = settings.providers.first();
    let names = profile_options(provider).unwrap_or_default();
    let profile = bucket
        .profile(&graph_inputs::read(&model.graph)?)
        .map_err(|input| shapes::unknown(&model.graph, &input, names))?;
    let mut settings = settings.clone();
    // Cached prefixes would be outside the bounds.
    settings.kv_cache_bytes = 0;
    settings.model.profile = Some(profile);
    let options = provider_config::options(provider, &settings);
    let device = settings.providers.device;
    settings.model.engines = EngineCache::new(library, model.digest, device, &options);
    Ok(settings)
}
