//! Opening a model step by step: find it, convert it, load it.

use std::path::{Path, PathBuf};

use lexivec_convert::ConvertOptions;
use lexivec_models::{Checkpoint, Manifest, Precision};
use lexivec_runtime::{Engine, EngineOptions, Library, Provider, ProviderSettings, probe};

use crate::conversion::{converted, default_calibration};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::observer::{Observer, SilentObserver};
use crate::source::{CheckpointOptions, SourceKind, open_checkpoint};

/// The name of a model, and how it is converted and opened.
///
/// ```no_run
/// use lexivec::{EngineOptions, Model, Precision, Provider};
///
/// let model = Model::builder("Qwen/Qwen3-Embedding-0.6B")
///     .engine(EngineOptions::for_provider(Provider::Cuda))
///     .precision(Precision::Bf16)
///     .open()?;
/// # Ok::<(), lexivec::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ModelBuilder {
    name: String,
    precision: Option<Precision>,
    prefer_export: bool,
    checkpoint: CheckpointOptions,
    engine: EngineOptions,
}

/// A model directory that can be opened.
///
/// ```
/// use lexivec::{Model, Precision, SilentObserver};
///
/// # // The example needs ONNX Runtime's library.
/// # if lexivec_runtime::Library::load(None, false).is_err() {
/// #     return Ok(());
/// # }
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
/// let resolved = Model::builder("models/nano").precision(Precision::Fp32).resolve(&SilentObserver)?;
/// assert!(resolved.dir.join("lexivec.json").is_file());
/// assert_eq!(resolved.unused_export, None);
/// # Ok::<(), lexivec::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The folder.
    pub dir: PathBuf,
    /// The ONNX export that lies beside the checkpoint, and is not used.
    pub unused_export: Option<&'static str>,
}

impl ModelBuilder {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            precision: None,
            prefer_export: false,
            checkpoint: CheckpointOptions::default(),
            engine: EngineOptions::default(),
        }
    }

    /// Sets the precision that a checkpoint is converted to. The default is fp32 on a CPU and fp16 on GPUs.
    #[must_use]
    pub fn precision(mut self, precision: impl Into<Option<Precision>>) -> Self {
        self.precision = precision.into();
        self
    }

    /// Chooses the ONNX export of another tool in a folder that also holds a checkpoint.
    #[must_use]
    pub fn prefer_export(mut self, prefer: bool) -> Self {
        self.prefer_export = prefer;
        self
    }

    /// Sets how a checkpoint is downloaded and read.
    #[must_use]
    pub fn checkpoint(mut self, options: CheckpointOptions) -> Self {
        self.checkpoint = options;
        self
    }

    /// Sets where and how the model runs. The default is [`EngineOptions::for_provider`] of the CPU.
    #[must_use]
    pub fn engine(mut self, options: EngineOptions) -> Self {
        self.engine = options;
        self
    }

    /// Finds, converts and loads the model, without reports of progress.
    ///
    /// # Errors
    /// Those of [`open_with`](Self::open_with).
    pub fn open(&self) -> Result<Model> {
        self.open_with(&SilentObserver)
    }

    /// Finds, converts and loads the model.
    ///
    /// # Errors
    /// The model cannot be found, downloaded, converted or loaded.
    pub fn open_with(&self, observer: &dyn Observer) -> Result<Model> {
        let found = self.resolve(observer)?;
        Ok(Model::new(Engine::open(&found.dir, &self.engine)?))
    }

    /// Finds the model directory to load. A hub id is downloaded, and a checkpoint is converted into the cache the first time.
    ///
    /// # Errors
    /// The model cannot be found, downloaded or converted, or an execution provider does not start.
    pub fn resolve(&self, observer: &dyn Observer) -> Result<Resolved> {
        let (name, folder) = (self.name.as_str(), Path::new(&self.name));
        let options = self.conversion();
        let unused_export = match SourceKind::of(name, self.prefer_export)? {
            SourceKind::Model => {
                let written = Manifest::read(folder)?.precision;
                // On CUDA, int8 means int8-weight.
                let accepted = |asked| written == asked || written == options.precision;
                return match self.precision.filter(|asked| !accepted(*asked)) {
                    Some(asked) => Err(Error::OtherPrecision {
                        name: name.to_owned(),
                        asked,
                        written,
                    }),
                    None => Ok(resolved(folder)),
                };
            }
            SourceKind::Export => {
                return match self.precision {
                    Some(asked) => Err(Error::ExportPrecision {
                        name: name.to_owned(),
                        asked,
                    }),
                    None => Ok(resolved(folder)),
                };
            }
            SourceKind::Checkpoint { unused_export } => unused_export,
        };
        if folder.is_dir() && !Checkpoint::is_checkpoint(folder) {
            // The error says what is missing, and what to do about weights in another format.
            Checkpoint::open(folder)?;
        }
        // A download and a conversion take minutes, so the provider is tried first.
        self.engine.session.providers.check(options.form())?;
        self.start_providers()?;
        let checkpoint = open_checkpoint(name, &self.checkpoint, observer)?;
        let dir = converted(name, &checkpoint, &options, observer)?;
        Ok(Resolved { dir, unused_export })
    }

    fn conversion(&self) -> ConvertOptions {
        let providers = &self.engine.session.providers;
        let provider = providers.order.first().copied().unwrap_or(Provider::Cpu);
        ConvertOptions {
            calibration: Some(default_calibration()),
            device: self.engine.devices.first().copied().unwrap_or(0),
            onnxruntime: self.engine.onnxruntime.clone(),
            verify: self.engine.verify_files,
            ..ConvertOptions::for_provider(provider, self.precision)
        }
    }

    /// Starts every execution provider on every device.
    fn start_providers(&self) -> Result<()> {
        let providers = &self.engine.session.providers;
        let onnxruntime = self.engine.onnxruntime.as_deref();
        let library = Library::load(onnxruntime, providers.wants_gpu_build())?;
        for device in &self.engine.devices {
            let on_device = ProviderSettings {
                device: *device,
                ..providers.clone()
            };
            for provider in &providers.order {
                probe(library, *provider, &on_device)?;
            }
        }
        Ok(())
    }
}

fn resolved(folder: &Path) -> Resolved {
    Resolved {
        dir: folder.to_path_buf(),
        unused_export: None,
    }
}
