//! Systems in this process: model directories, and checkpoints as their float32 graph.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lexivec_convert::Reference;
use lexivec_models::{Checkpoint, Dimensions, Manifest};
use lexivec_runtime::{
    Caller, EncodedRequest, Engine, EngineOptions, Error as RuntimeError, InspectNetwork, Layer,
    Library, ModelInfo, Network, OpenNetwork, PooledStates, Provider, Request,
    Result as RuntimeResult, SessionSettings, TextMemory, Tokenizer, Truncate, fit,
    open_for_inspection,
};

use crate::error::{Error, Result};
use crate::system::{Embedded, Embedder, System, SystemFacts, SystemKind};
use crate::vectors::Vectors;

/// Opens a model directory, lexivec's or another exporter's.
///
/// # Errors
/// The directory, its tokenizer or its graph cannot be used.
///
/// # Example
/// ```no_run
/// use lexivec_evaluate::open_model;
/// use lexivec_runtime::EngineOptions;
///
/// let mut model = open_model("nano-int8".as_ref(), "int8".to_owned(), &EngineOptions::default())?;
/// let embedded = model.embed(&["cardiac arrest", "心脏骤停"])?;
/// assert_eq!(embedded.vectors.len(), 2);
/// # Ok::<(), lexivec_evaluate::Error>(())
/// ```
pub fn open_model(dir: &Path, name: String, options: &EngineOptions) -> Result<System> {
    let mut info = ModelInfo::read(dir)?;
    let mut options = options.clone();
    fit(dir, &mut info, &mut options)?;
    let manifest = Manifest::is_model_dir(dir)
        .then(|| Manifest::read(dir))
        .transpose()
        .map_err(RuntimeError::from)?;
    let bytes = match &manifest {
        Some(manifest) => manifest.files.values().map(|f| f.size).sum(),
        None => graph_bytes(dir),
    };
    let library = Library::load(
        options.onnxruntime.as_deref(),
        options.session.providers.wants_gpu_build(),
    )?;
    let facts = SystemFacts {
        name,
        given: dir.display().to_string(),
        kind: SystemKind::Model,
        source: manifest.map(|m| m.source.id.name),
        precision: info.precision.map(|p| p.to_string()),
        execution_provider: Some(provider(&options.session)),
        width: info.hidden_size,
        max_length: Some(info.max_length),
        bytes: Some(bytes),
        footprint: None,
        notes: Vec::new(),
    };
    let tokenizer = dir.join("tokenizer.json");
    let dir = dir.to_path_buf();
    let open = move |settings: &SessionSettings| open_for_inspection(library, &dir, settings);
    LocalEmbedder::open(facts, info, &tokenizer, open, &options)
}

/// Opens a checkpoint as the float32 graph of its weights, on the CPU: the reference that conversions are compared with.
/// Writes nothing, except that an adapter is merged into a temporary file.
///
/// # Errors
/// A tensor is missing or has the wrong shape, or the graph does not load.
///
/// # Example
/// ```
/// use lexivec_evaluate::open_checkpoint;
/// use lexivec_models::Checkpoint;
/// use lexivec_runtime::EngineOptions;
///
/// # // The example needs ONNX Runtime's library.
/// # if lexivec_runtime::Library::load(None, false).is_err() {
/// #     return Ok(());
/// # }
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
/// let checkpoint = Checkpoint::open("models/nano".as_ref())?;
/// let mut reference = open_checkpoint(&checkpoint, "nano".to_owned(), &EngineOptions::default())?;
/// let embedded = reference.embed(&["cardiac arrest"])?;
/// assert_eq!(embedded.vectors.row(0).len(), 256);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open_checkpoint(
    checkpoint: &Checkpoint,
    name: String,
    options: &EngineOptions,
) -> Result<System> {
    let reference = Reference::new(checkpoint)?;
    let library = Library::load(options.onnxruntime.as_deref(), false)?;
    let decoder = &checkpoint.decoder;
    let note = "it runs as the graph that conversions are verified with, over the checkpoint's own weight files; to compare \
                speed, take an fp32 model directory as the baseline";
    let info = ModelInfo {
        name: checkpoint.source.name.clone(),
        hidden_size: decoder.hidden_size,
        vocabulary: decoder.vocab_size,
        text_memory: TextMemory::of(decoder, None),
        max_length: checkpoint.max_length(),
        dimensions: Dimensions::up_to(decoder.hidden_size),
        prompts: checkpoint.sentence.prompts.clone(),
        default_prompt: checkpoint.sentence.default_prompt.clone(),
        precision: None,
        target: None,
        known_answer: None,
        digest: String::new(),
    };
    let facts = SystemFacts {
        name,
        given: checkpoint.source.name.clone(),
        kind: SystemKind::Checkpoint,
        source: Some(checkpoint.source.name.clone()),
        precision: Some("fp32".to_owned()),
        execution_provider: Some(Provider::Cpu.to_string()),
        width: info.hidden_size,
        max_length: Some(info.max_length),
        bytes: Some(source_bytes(checkpoint)?),
        footprint: None,
        notes: vec![note.to_owned()],
    };
    let threads = options.session.threads;
    let options = EngineOptions {
        session: SessionSettings {
            threads,
            ..SessionSettings::default()
        },
        devices: vec![0],
        ..options.clone()
    };
    let open = move |_: &SessionSettings| -> RuntimeResult<Box<dyn InspectNetwork>> {
        Ok(Box::new(reference.open(library, threads)?))
    };
    LocalEmbedder::open(facts, info, &checkpoint.tokenizer, open, &options)
}

fn provider(settings: &SessionSettings) -> String {
    let names: Vec<&str> = settings.providers.order.iter().map(|p| p.name()).collect();
    if names.is_empty() {
        Provider::Cpu.name().to_owned()
    } else {
        names.join(",")
    }
}

/// The size of another exporter's graph and its data files in bytes.
fn graph_bytes(dir: &Path) -> u64 {
    let folders = [dir.to_path_buf(), dir.join("onnx")];
    let files = folders.iter().filter_map(|f| fs_err::read_dir(f).ok());
    let sizes = files.flatten().filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let belongs = name == "model.onnx" || name.starts_with("model.onnx");
        belongs
            .then(|| fs_err::metadata(entry.path()).ok())
            .flatten()
    });
    sizes.map(|metadata| metadata.len()).sum()
}

/// The size of all files that a conversion reads in bytes.
fn source_bytes(checkpoint: &Checkpoint) -> Result<u64> {
    let mut bytes = 0;
    for (_, path) in checkpoint.files() {
        bytes += fs_err::metadata(&path)?.len();
    }
    Ok(bytes)
}

/// The network of a model, shared between the engine, which embeds as a server does, and the comparison of layers. `None`
/// until the engine has opened it.
type NetworkSlot = Arc<Mutex<Option<Box<dyn InspectNetwork>>>>;

/// An embedder that runs a model in this process.
struct LocalEmbedder {
    name: String,
    engine: Engine,
    network: NetworkSlot,
}

impl LocalEmbedder {
    fn open(
        facts: SystemFacts,
        info: ModelInfo,
        tokenizer: &Path,
        open: impl Fn(&SessionSettings) -> RuntimeResult<Box<dyn InspectNetwork>>
        + Send
        + Sync
        + 'static,
        options: &EngineOptions,
    ) -> Result<System> {
        let tokenizer = Tokenizer::open(tokenizer, info.vocabulary, info.max_length)?;
        let network = NetworkSlot::default();
        let (slot, settings) = (Arc::clone(&network), options.session.clone());
        let open = move |_: usize| -> RuntimeResult<Box<dyn Network>> {
            *lock(&slot) = Some(open(&settings)?);
            Ok(Box::new(SharedNetwork(Arc::clone(&slot))))
        };
        let open: Arc<OpenNetwork> = Arc::new(open);
        let options = EngineOptions {
            sessions: 1,
            devices: options.devices[..1].to_vec(),
            cache: None,
            ..options.clone()
        };
        let engine = Engine::with_networks(info, tokenizer, &open, &options)?;
        let embedder = Self {
            name: facts.name.clone(),
            engine,
            network,
        };
        Ok(System {
            facts,
            embedder: Box::new(embedder),
        })
    }

    fn encode(&self, texts: &[&str]) -> Result<Vec<EncodedRequest>> {
        let request = |text: &&str| {
            let request = Request {
                truncate: Truncate::End,
                normalize: false,
                ..Request::text(text.to_string())
            };
            self.engine
                .encode(&request)
                .map_err(|source| Error::System {
                    system: self.name.clone(),
                    source: Box::new(source),
                })
        };
        texts.iter().map(request).collect()
    }
}

impl Embedder for LocalEmbedder {
    fn embed(&mut self, texts: &[&str]) -> Result<Embedded> {
        let encodings = self.encode(texts)?;
        // Texts of similar length run together.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|i| encodings[*i].ids().len());
        let requests = order.iter().map(|i| encodings[*i].clone()).collect();
        let width = self.engine.model().hidden_size;
        let mut rows = vec![Vec::new(); texts.len()];
        let mut not_finite = Vec::new();
        let failed = |source: RuntimeError| Error::System {
            system: self.name.clone(),
            source: Box::new(source),
        };
        let mut stream = self
            .engine
            .submit(requests, Caller::default(), None)
            .map_err(failed)?;
        for i in order {
            match stream
                .blocking_next()
                .unwrap_or(Err(RuntimeError::ShuttingDown))
            {
                Ok(embedding) => rows[i] = embedding.vector,
                // Reported as a result instead of an error, because a comparison should find it.
                Err(RuntimeError::NonFinite) => {
                    rows[i] = vec![0.0; width];
                    not_finite.push(i);
                }
                Err(error) => return Err(failed(error)),
            }
        }
        not_finite.sort_unstable();
        let mut vectors = Vectors::new(width);
        rows.iter().for_each(|row| vectors.push(row));
        let lengths: Vec<usize> = encodings.iter().map(|e| e.ids().len()).collect();
        Ok(Embedded {
            vectors,
            tokens: Some(lengths.iter().sum()),
            lengths,
            truncated: encodings.iter().filter(|e| e.is_truncated()).count(),
            not_finite,
        })
    }

    fn layers(&mut self, texts: &[&str]) -> Result<Vec<Layer>> {
        let encodings = self.encode(texts)?;
        let sequences: Vec<&[u32]> = encodings.iter().map(EncodedRequest::ids).collect();
        match &mut *lock(&self.network) {
            Some(network) => Ok(network.layers(&sequences)?),
            None => Ok(Vec::new()),
        }
    }
}

fn lock<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    // After a panic the engine recreates the network.
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The engine's handle of a shared network.
struct SharedNetwork(NetworkSlot);

impl Network for SharedNetwork {
    fn hidden_size(&self) -> usize {
        lock(&self.0).as_ref().map_or(0, |n| n.hidden_size())
    }

    fn embed(&mut self, sequences: &[&[u32]]) -> RuntimeResult<PooledStates> {
        match &mut *lock(&self.0) {
            Some(network) => network.embed(sequences),
            None => Err(RuntimeError::ShuttingDown),
        }
    }
}
