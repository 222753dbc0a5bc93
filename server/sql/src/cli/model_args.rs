//! The flags that choose a model and where it runs.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use lexivec::{
    CheckpointOptions, EngineOptions, Event, Model, ModelInfo, Observer, Precision, Provider,
};

use crate::embed::{Loaded, MOST_QUEUED};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ModelArgs {
    /// Model directory, checkpoint folder, or hub id
    #[arg(short, long, env = "LEXIVEC_MODEL")]
    model: String,

    /// Precision that a checkpoint is converted to on first use. Default: fp32 on a CPU, fp16 on GPUs
    #[arg(short, long, env = "LEXIVEC_PRECISION")]
    precision: Option<Precision>,

    /// Execution provider: cpu, cuda, tensorrt, tensorrt-rtx or openvino
    #[arg(long, env = "LEXIVEC_EP", value_name = "NAME", default_value = "cpu")]
    ep: Provider,

    /// Numbers of the GPUs to use
    #[arg(
        long,
        visible_alias = "device",
        env = "LEXIVEC_DEVICES",
        value_name = "N",
        value_delimiter = ',',
        default_value = "0"
    )]
    devices: Vec<i32>,

    /// Threads that compute an operator. Default: one per physical core
    #[arg(long, env = "LEXIVEC_THREADS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Maximum tokens in a batch. Default: 2,048 on a CPU, 16,384 on GPUs, or fewer if memory is short
    #[arg(long, env = "LEXIVEC_MAX_BATCH_TOKENS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_535))]
    max_batch_tokens: Option<u32>,

    /// ONNX Runtime's library, or its folder. Default: as of `lexivec serve`
    #[arg(long, env = "LEXIVEC_ONNXRUNTIME", value_name = "PATH")]
    onnxruntime: Option<PathBuf>,

    /// Use the hub's cache only, without the network
    #[arg(long, env = "LEXIVEC_OFFLINE", value_parser = BoolishValueParser::new())]
    offline: bool,
}

/// Reports downloads and conversions, which take minutes.
struct Lines;

impl Observer for Lines {
    fn event(&self, event: Event<'_>) {
        eprintln!("{event}");
    }
}

impl ModelArgs {
    fn builder(&self) -> lexivec::ModelBuilder {
        let mut options = EngineOptions::for_provider(self.ep);
        let variable = || std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
        options.onnxruntime = self
            .onnxruntime
            .clone()
            .or_else(|| variable().map(PathBuf::from));
        options.session.threads = self.threads.map(usize::from);
        options.session.providers.device = self.devices.first().copied().unwrap_or(0);
        options.devices.clone_from(&self.devices);
        options.queue = MOST_QUEUED;
        if let Some(tokens) = self.max_batch_tokens {
            options.limits.max_tokens = tokens as usize;
            options.gpu_memory.keep_budget = true;
        }
        #[cfg_attr(not(feature = "hub"), allow(unused_mut))]
        let mut checkpoint = CheckpointOptions::default();
        #[cfg(feature = "hub")]
        {
            checkpoint.hub.offline = self.offline;
        }
        Model::builder(&self.model)
            .precision(self.precision)
            .checkpoint(checkpoint)
            .engine(options)
    }

    /// Finds the model, and reads what it is without loading it. A hub id is downloaded, and a checkpoint converted, the first time.
    ///
    /// # Errors
    /// It cannot be found, downloaded or converted.
    pub(crate) async fn describe(&self) -> anyhow::Result<ModelInfo> {
        let builder = self.builder();
        let info = tokio::task::spawn_blocking(move || {
            let found = builder.resolve(&Lines)?;
            Ok::<_, anyhow::Error>(ModelInfo::read(&found.dir)?)
        });
        info.await?
    }

    /// Loads the model.
    ///
    /// # Errors
    /// It cannot be found, downloaded, converted or loaded.
    pub(crate) async fn load(&self) -> anyhow::Result<Loaded> {
        let builder = self.builder();
        let model = tokio::task::spawn_blocking(move || builder.open_with(&Lines));
        Ok(Loaded::new(model.await??))
    }
}
