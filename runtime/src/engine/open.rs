//! Opens a model directory as an engine: checks its files, fits it into memory, and starts its workers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;

use lexivec_models::Manifest;

use super::open_network::open_network;
use super::{Engine, EngineOptions};
use crate::engine::fit;
use crate::engine::length_limit::limit_length;
use crate::error::{Error, Result};
use crate::integrity::mapped_files;
use crate::integrity::model_files::ModelFiles;
use crate::metrics;
use crate::model::ModelInfo;
use crate::network::Network;
use crate::onnxruntime::library::Library;
use crate::scheduling::queue::Queue;
use crate::scheduling::rate::Rate;
use crate::scheduling::response_cache::ResponseCache;
use crate::scheduling::worker::SharedState;
use crate::scheduling::workers::Workers;
use crate::tokenization::Tokenizer;

/// Opens the network of session `number`; called again to recreate a session that failed.
pub type OpenNetwork = dyn Fn(usize) -> Result<Box<dyn Network>> + Send + Sync;

impl Engine {
    /// Opens a model directory, ours or another exporter's.
    ///
    /// # Errors
    /// The library, the directory, its tokenizer or its graph cannot be used, or an execution provider does not start.
    pub fn open(dir: &Path, options: &EngineOptions) -> Result<Self> {
        // The sessions, and the digest, read mapped files.
        mapped_files::survive_truncation();
        let files = ModelFiles::snapshot(dir)?;
        let mut model = ModelInfo::of_files(dir, &files)?;
        let mut options = options.clone();
        fit::fit(dir, &mut model, &mut options)?;
        limit_length(&mut model, &options);
        // A large vocabulary takes as long to read as the weights.
        let tokenizer = read_tokenizer(dir, &model);
        let library = Library::load(
            options.onnxruntime.as_deref(),
            options.session.providers.wants_gpu_build(),
        )?;
        let verifying = options.verify_files.then(|| verify_files(dir));
        let (dir, sessions) = (dir.to_path_buf(), options.clone());
        let digest = model.digest.clone();
        let open: Arc<OpenNetwork> = Arc::new(move |number| {
            check_unchanged(&dir, &digest)?;
            open_network(library, &dir, &sessions.session(number))
        });
        let tokenizer = || tokenizer.join().unwrap_or(Err(Error::Panicked));
        let engine = Self::over(model, tokenizer, files, &open, &options);
        // A damaged file explains why a model does not load, so its error takes precedence.
        if let Some(verifying) = verifying {
            verifying.join().unwrap_or(Err(Error::Panicked))?;
        }
        engine
    }

    /// Creates an engine over a caller's own networks, which need not be ONNX Runtime's.
    ///
    /// # Errors
    /// A network does not open, its width is not the model's, the Redis address is invalid, or the system cannot start a
    /// thread.
    ///
    /// # Example
    /// ```
    /// use std::path::Path;
    /// use std::sync::Arc;
    ///
    /// use lexivec_runtime::{
    ///     Engine, EngineOptions, ModelInfo, Network, OpenNetwork, PooledStates, Request, Result, Tokenizer,
    /// };
    ///
    /// /// Embeds a text as its number of tokens, in every dimension.
    /// struct TokenCounts(usize);
    ///
    /// impl Network for TokenCounts {
    ///     fn hidden_size(&self) -> usize {
    ///         self.0
    ///     }
    ///
    ///     fn embed(&mut self, sequences: &[&[u32]]) -> Result<PooledStates> {
    ///         let state = |ids: &&[u32]| vec![ids.len() as f32; self.0];
    ///         Ok(PooledStates {
    ///             values: sequences.iter().flat_map(state).collect(),
    ///             packed_tokens: sequences.iter().map(|ids| ids.len()).sum(),
    ///             cached_tokens: 0,
    ///             replayed: false,
    ///         })
    ///     }
    /// }
    ///
    /// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
    /// let dir = Path::new("models/nano");
    /// let model = ModelInfo::read(dir)?;
    /// let tokenizer = Tokenizer::open(&dir.join("tokenizer.json"), model.vocabulary, model.max_length)?;
    /// let width = model.hidden_size;
    /// let open: Arc<OpenNetwork> = Arc::new(move |_| Ok(Box::new(TokenCounts(width))));
    /// let engine = Engine::with_networks(model, tokenizer, &open, &EngineOptions::default())?;
    ///
    /// let request = Request { normalize: false, dimensions: Some(2), ..Request::text("cardiac arrest") };
    /// let embedding = &engine.embed(&[request])?[0];
    /// assert_eq!(embedding.vector, [embedding.tokens as f32; 2]);
    /// assert_eq!(engine.health().ready, 1);
    /// assert_eq!(engine.queue().capacity(), EngineOptions::default().queue);
    /// assert!(engine.check_dimensions(Some(width + 1)).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_networks(
        model: ModelInfo,
        tokenizer: Tokenizer,
        open: &Arc<OpenNetwork>,
        options: &EngineOptions,
    ) -> Result<Self> {
        let tokenizer = || Ok(tokenizer);
        Self::over(model, tokenizer, ModelFiles::default(), open, options)
    }

    /// Opens the sessions, and then asks for the tokenizer, which may still be read.
    fn over(
        model: ModelInfo,
        tokenizer: impl FnOnce() -> Result<Tokenizer>,
        files: ModelFiles,
        open: &Arc<OpenNetwork>,
        options: &EngineOptions,
    ) -> Result<Self> {
        let cache = options.cache.as_ref();
        let watches = files.digests().next().is_some();
        let name = options.name_of(&model).to_owned();
        let shared = Arc::new(SharedState {
            queue: Queue::new(options.queue),
            budget: AtomicUsize::new(options.limits.max_tokens),
            max_padding: options.limits.max_padding,
            rate: Rate::new(
                options.total_sessions(),
                options.session.providers.wants_gpu(),
            ),
            files: Arc::new(files),
            known_answer: model.known_answer.clone(),
            response_cache: cache
                .map(|settings| {
                    ResponseCache::new(&model, options.session.providers.first(), settings)
                })
                .transpose()?
                .map(Arc::new),
            metrics: metrics::ModelMetrics::new(&name),
        });
        if watches {
            shared.files.watch()?;
        }
        shared.metrics.budget(options.limits.max_tokens);
        let mut workers = Workers::new(Arc::clone(&shared));
        for number in 0..options.total_sessions() {
            let (open, width) = (Arc::clone(open), model.hidden_size);
            let (name, device) = (name.clone(), options.device(number));
            let open = move || {
                let mut network = open(number)?;
                check_width(network.as_ref(), width)?;
                let prepared = network.prepare();
                prepared.map_err(|e| fit::while_capturing(e, &name, device))?;
                Ok(network)
            };
            workers.start(Box::new(open))?;
        }
        Ok(Self {
            model,
            tokenizer: tokenizer()?,
            shared,
            gpus: options.gpus(),
            workers,
        })
    }
}

/// Reads a model's tokenizer, on a thread of its own.
fn read_tokenizer(dir: &Path, model: &ModelInfo) -> JoinHandle<Result<Tokenizer>> {
    let path = dir.join("tokenizer.json");
    let (vocabulary, max_length) = (model.vocabulary, model.max_length);
    std::thread::spawn(move || Tokenizer::open(&path, vocabulary, max_length))
}

/// Compares a model's files with its manifest, on a thread of its own, because it reads as many bytes as loading does.
fn verify_files(dir: &Path) -> JoinHandle<Result<()>> {
    let dir = dir.to_path_buf();
    std::thread::spawn(move || {
        if Manifest::is_model_dir(&dir) {
            Manifest::read(&dir)?.verify_digests(&dir)?;
        }
        Ok(())
    })
}

fn check_width(network: &dyn Network, expected: usize) -> Result<()> {
    let found = network.hidden_size();
    if found == expected {
        return Ok(());
    }
    Err(Error::InvalidInput {
        field: "model",
        reason: format!(
            "the graph's vectors are {found} wide, and its configuration says {expected}: the files do not belong together"
        ),
    })
}

/// Checks that a session that is recreated is the same model's. Otherwise its vectors would be cached as this one's.
fn check_unchanged(dir: &Path, digest: &str) -> Result<()> {
    if !Manifest::is_model_dir(dir) || Manifest::read(dir)?.digest() == digest {
        return Ok(());
    }
    Err(Error::Signature {
        path: dir.to_path_buf(),
        reason: "the model was replaced while it was served: restart".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lexivec_models::{
        AttentionForm, Decoder, Dimensions, FileRecord, Layout, Precision, Source, SourceId,
        Target, Verification, WeightStorage,
    };

    use super::*;

    fn manifest(digest: &str) -> Manifest {
        let nano = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/nano/config.json");
        let record = FileRecord {
            size: 1,
            digest: format!("blake3:{}", digest.repeat(64)),
        };
        Manifest {
            format: lexivec_models::FORMAT_VERSION,
            program: String::new(),
            source: Source {
                id: SourceId {
                    name: "nano".to_owned(),
                    revision: None,
                },
                files: BTreeMap::new(),
            },
            decoder: Decoder::read(nano.as_ref()).unwrap(),
            precision: Precision::Fp32,
            target: Target::Ort,
            attention: AttentionForm::default(),
            layout: Layout::Packed,
            max_length: 8,
            dimensions: Dimensions::up_to(64),
            prompts: BTreeMap::new(),
            default_prompt: None,
            weights: WeightStorage::Own,
            files: [("model.onnx".to_owned(), record)].into(),
            verification: Verification::Skipped {
                reason: String::new(),
            },
            known_answer: None,
            blocks: None,
            quantization: None,
            notes: Vec::new(),
        }
    }

    #[test]
    fn no_text_is_at_fault_if_memory_runs_out_during_a_capture() {
        struct Full;
        impl Network for Full {
            fn hidden_size(&self) -> usize {
                256
            }
            fn embed(&mut self, _: &[&[u32]]) -> Result<crate::network::PooledStates> {
                Err(Error::ShuttingDown)
            }
            fn prepare(&mut self) -> Result<()> {
                Err(Error::of_run("CUDA failure 2: out of memory"))
            }
        }
        let nano = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/nano"));
        let model = ModelInfo::read(nano).unwrap();
        let tokenizer = Tokenizer::open(&nano.join("tokenizer.json"), model.vocabulary, 512);
        let options = EngineOptions {
            devices: vec![3],
            name: Some("terms".to_owned()),
            ..EngineOptions::default()
        };
        let open: Arc<OpenNetwork> = Arc::new(|_| Ok(Box::new(Full)));
        let error = Engine::with_networks(model, tokenizer.unwrap(), &open, &options).unwrap_err();
        let message = error.to_string();
        let said = "the model `terms` does not fit on GPU 3: memory ran out while small batches were captured";
        assert!(message.starts_with(said), "{message}");
        assert!(!message.contains("this text"), "{message}");
    }

    #[test]
    fn a_session_of_a_replaced_model_is_not_recreated() {
        let dir = tempfile::tempdir().unwrap();
        let served = manifest("a");
        served.write(dir.path()).unwrap();
        check_unchanged(dir.path(), &served.digest()).unwrap();
        manifest("b").write(dir.path()).unwrap();
        let error = check_unchanged(dir.path(), &served.digest()).unwrap_err();
        assert!(error.to_string().contains("was replaced"), "{error}");
    }
}
