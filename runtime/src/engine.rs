//! Text in, vectors out: tokenizer, caches, queue and workers of one model.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lexivec_models::Manifest;
use tokio::sync::oneshot;

use crate::admission::{Load, Refusal};
use crate::batch::Limits;
use crate::error::{Error, Result};
use crate::fairness::Caller;
use crate::flight::{Answer, Flight, Reply};
use crate::gpu_memory::{self, GpuMemory};
use crate::health::Health;
use crate::length_limit::limit_length;
use crate::library::Library;
use crate::metrics;
use crate::model::ModelInfo;
use crate::model_files::ModelFiles;
use crate::network::{Network, open_network};
use crate::queue::{Entry, Queue};
use crate::rate::Rate;
use crate::request::{Embedding, Request};
use crate::results::{CacheSettings, Results};
use crate::session::SessionSettings;
use crate::tokenization::{Encoding, Tokenizer};
use crate::worker::{self, Shared, Worker};
use crate::{truncation, vector};

/// Texts seldom have more bytes than this per token, so that a request is not refused for tokens that it does not have.
const BYTES_PER_TOKEN: usize = 8;

/// How an engine runs.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The ONNX Runtime library; `None` to look for it.
    pub onnxruntime: Option<PathBuf>,
    /// Each session.
    pub session: SessionSettings,
    /// Sessions per device. Each has a copy of the weights; on a CPU they share its cores.
    pub sessions: usize,
    /// GPUs by number, a set of sessions on each; one number for a CPU.
    pub devices: Vec<i32>,
    /// Bounds of one batch.
    pub limits: Limits,
    /// Tokens of a text at most; `None` for the model's limit, or less where memory is short.
    pub max_length: Option<usize>,
    /// Whether the model's files are compared with the digests in its manifest, while sessions load.
    pub verify_files: bool,
    /// How much of a GPU's memory it may take; bounds `limits` and each session's arena.
    pub gpu_memory: GpuMemory,
    /// Texts that may wait.
    pub queue: usize,
    /// Results that are kept; `None` keeps none, and computes identical texts as often as they are asked for.
    pub cache: Option<CacheSettings>,
    /// The name in metrics; `None` for the model's own.
    pub name: Option<String>,
}

impl EngineOptions {
    /// The settings of session `number`.
    fn session(&self, number: usize) -> SessionSettings {
        let mut settings = self.session.clone();
        settings.providers.device = self.device(number);
        settings.max_tokens = Some(self.limits.max_tokens);
        let together = self.total_sessions();
        if settings.threads.is_none() && together > 1 && !settings.providers.wants_gpu() {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            settings.threads = Some((cores / together).max(1));
        }
        settings
    }

    /// The GPU of session `number`.
    fn device(&self, number: usize) -> i32 {
        self.devices[number % self.devices.len()]
    }

    /// What a model is called in metrics and errors.
    pub(crate) fn name_of<'a>(&'a self, model: &'a ModelInfo) -> &'a str {
        self.name.as_deref().unwrap_or(&model.name)
    }

    /// The GPUs whose memory the metrics show.
    fn gpus(&self) -> Vec<i32> {
        match self.session.providers.wants_gpu() {
            true => self.devices.clone(),
            false => Vec::new(),
        }
    }

    pub(crate) fn total_sessions(&self) -> usize {
        self.sessions * self.devices.len()
    }
}

/// Opens the network of session `number`; called again where a session fails.
pub type OpenNetwork = dyn Fn(usize) -> Result<Box<dyn Network>> + Send + Sync;

/// A model that embeds. Shared by reference between threads; dropping it finishes what waits.
///
/// ```no_run
/// use lexivec_runtime::{Engine, EngineOptions, Request};
///
/// let engine = Engine::open("nano-fp32".as_ref(), &EngineOptions::default())?;
/// let embeddings = engine.embed(&[Request::text("cardiac arrest"), Request::text("心脏骤停")])?;
/// assert_eq!(embeddings[0].vector.len(), engine.model().hidden_size);
/// # Ok::<(), lexivec_runtime::Error>(())
/// ```
#[derive(Debug)]
pub struct Engine {
    model: ModelInfo,
    tokenizer: Tokenizer,
    shared: Arc<Shared>,
    gpus: Vec<i32>,
    workers: Vec<Worker>,
}

impl Engine {
    /// Opens a model directory, ours or another exporter's.
    ///
    /// # Errors
    /// The library, the directory, its tokenizer or its graph cannot be used, or an execution provider does not start.
    pub fn open(dir: &Path, options: &EngineOptions) -> Result<Self> {
        // The sessions, and the digest, read mapped files.
        truncation::survive();
        let files = ModelFiles::snapshot(dir)?;
        let mut model = ModelInfo::of_files(dir, &files)?;
        let mut options = options.clone();
        gpu_memory::fit(dir, &mut model, &mut options)?;
        limit_length(&mut model, &options);
        let tokenizer = Tokenizer::open(
            &dir.join("tokenizer.json"),
            model.vocabulary,
            model.max_length,
        )?;
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
        let engine = Self::over(model, tokenizer, files, &open, &options);
        // A damaged file is why a model does not load, so its error comes first.
        if let Some(verifying) = verifying {
            verifying.join().unwrap_or(Err(Error::Panicked))?;
        }
        engine
    }

    /// An engine over networks of the caller's, which need not be ONNX Runtime's.
    ///
    /// # Errors
    /// A network does not open or its width is not the model's, Redis' address cannot be read, or the system gives no
    /// thread.
    pub fn with_networks(
        model: ModelInfo,
        tokenizer: Tokenizer,
        open: &Arc<OpenNetwork>,
        options: &EngineOptions,
    ) -> Result<Self> {
        Self::over(model, tokenizer, ModelFiles::default(), open, options)
    }

    fn over(
        model: ModelInfo,
        tokenizer: Tokenizer,
        files: ModelFiles,
        open: &Arc<OpenNetwork>,
        options: &EngineOptions,
    ) -> Result<Self> {
        let cache = options.cache.as_ref();
        let watches = files.digests().next().is_some();
        let name = options.name_of(&model).to_owned();
        let shared = Arc::new(Shared {
            queue: Queue::new(options.queue),
            budget: AtomicUsize::new(options.limits.max_tokens),
            max_padding: options.limits.max_padding,
            rate: Rate::new(
                options.total_sessions(),
                options.session.providers.wants_gpu(),
            ),
            files: Arc::new(files),
            known_answer: model.known_answer.clone(),
            results: cache
                .map(|settings| Results::new(&model, options.session.providers.first(), settings))
                .transpose()?
                .map(Arc::new),
            metrics: metrics::Model::new(&name),
        });
        if watches {
            shared.files.watch()?;
        }
        shared.metrics.budget(options.limits.max_tokens);
        let mut engine = Self {
            model,
            tokenizer,
            shared,
            gpus: options.gpus(),
            workers: Vec::new(),
        };
        for number in 0..options.total_sessions() {
            let (open, width) = (Arc::clone(open), engine.model.hidden_size);
            let (name, device) = (name.clone(), options.device(number));
            let open = move || {
                let mut network = open(number)?;
                check_width(network.as_ref(), width)?;
                let prepared = network.prepare();
                prepared.map_err(|e| gpu_memory::while_capturing(e, &name, device))?;
                Ok(network)
            };
            let worker = worker::spawn(Box::new(open), Arc::clone(&engine.shared))?;
            engine.workers.push(worker);
        }
        Ok(engine)
    }

    /// Embeds texts and waits for them; the result is in their order.
    ///
    /// # Errors
    /// A request is invalid (nothing is computed then), the queue is full, or inference fails.
    pub fn embed(&self, requests: &[Request<'_>]) -> Result<Vec<Embedding>> {
        let encodings: Vec<Encoding> = requests
            .iter()
            .map(|r| self.encode(r))
            .collect::<Result<_>>()?;
        let sequences = encodings.iter().map(|e| e.ids.clone()).collect();
        let pending = self.submit(sequences, Caller::default(), None)?;
        let answers = pending.into_iter().zip(encodings).zip(requests);
        answers
            .map(|((reply, encoding), request)| {
                let answer = reply.blocking_recv().unwrap_or(Err(Error::ShuttingDown))?;
                Ok(self.finish(&answer, &encoding, request.dimensions, request.normalize))
            })
            .collect()
    }

    /// Checks and tokenises a request: the first half of [`Engine::embed`], for callers with threads of their own.
    ///
    /// # Errors
    /// The request is invalid; the error names the field.
    pub fn encode(&self, request: &Request<'_>) -> Result<Encoding> {
        self.check_dimensions(request.dimensions)?;
        self.tokenizer.encode(request)
    }

    /// Checks a width.
    ///
    /// # Errors
    /// It is 0 or wider than the model's vectors.
    pub fn check_dimensions(&self, dimensions: Option<usize>) -> Result<()> {
        match dimensions {
            Some(d) if d == 0 || d > self.model.hidden_size => Err(Error::InvalidInput {
                field: "dimensions",
                reason: format!(
                    "`dimensions` is {d}; this model's vectors have 1 to {}",
                    self.model.hidden_size
                ),
            }),
            _ => Ok(()),
        }
    }

    /// Asks for the states of token sequences, all or none: from the caches, from identical texts under way, or from
    /// the queue. Texts of one `scope` share nothing with those of another. Returns at once; dropping a receiver withdraws
    /// its text.
    ///
    /// # Errors
    /// The queue is full or closed, or the texts would not be computed before the caller's deadline.
    pub fn submit(
        &self,
        sequences: Vec<Vec<u32>>,
        caller: Caller,
        scope: Option<&str>,
    ) -> Result<Vec<oneshot::Receiver<Reply>>> {
        let since = Instant::now();
        if let Some(results) = &self.shared.results {
            let (fresh, receivers) = results.board(sequences, scope, since, caller);
            results.look_up(fresh, &self.shared)?;
            return Ok(receivers);
        }
        let boarded = sequences.into_iter().map(|ids| {
            let (flight, receiver) = Flight::new();
            let entry = Entry {
                ids,
                key: None,
                flight,
                since,
                caller,
            };
            (entry, receiver)
        });
        let (entries, receivers) = boarded.unzip();
        self.shared.push(entries)?;
        Ok(receivers)
    }

    /// Refuses texts of so many bytes each that could not be computed in time, before they are tokenised.
    ///
    /// # Errors
    /// [`Error::Busy`].
    pub fn check_load(&self, caller: Caller, bytes: impl Iterator<Item = usize>) -> Result<()> {
        // A longer text is cut, or refused.
        let most = self.model.max_length;
        let tokens = bytes.map(|bytes| (bytes / BYTES_PER_TOKEN).clamp(1, most));
        let admits = self.shared.queue.admits(caller, tokens, self.load());
        match admits {
            // Some of them may be known.
            Ok(()) | Err(Refusal::Never(_)) => Ok(()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// What the sessions are doing, as measured.
    #[must_use]
    pub fn load(&self) -> Load {
        self.shared.rate.load()
    }

    /// Cuts and normalises a state as its request wants it: the last step of [`Engine::embed`].
    #[must_use]
    pub fn finish(
        &self,
        answer: &Answer,
        encoding: &Encoding,
        dimensions: Option<usize>,
        normalize: bool,
    ) -> Embedding {
        let dimensions = dimensions.unwrap_or(self.model.hidden_size);
        Embedding {
            vector: vector::cut(&answer.state, dimensions, normalize),
            tokens: encoding.ids.len(),
            truncated: encoding.truncated,
            origin: answer.origin,
        }
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &ModelInfo {
        &self.model
    }

    /// Its tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Tokens of a batch at most. Less than what was asked for where memory ran out.
    #[must_use]
    pub fn batch_tokens(&self) -> usize {
        self.shared.budget.load(Ordering::Relaxed)
    }

    /// The queue, for its length and to close it.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.shared.queue
    }

    /// Takes no more texts, and waits for those that it has; false where a batch has not ended after `patience`.
    #[must_use]
    pub fn close(&self, patience: Duration) -> bool {
        self.shared.queue.close();
        let until = Instant::now() + patience;
        let mut threads = self.workers.iter().map(|worker| &worker.thread);
        threads.all(|thread| {
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
            thread.is_finished()
        })
    }

    /// The sessions' state.
    #[must_use]
    pub fn health(&self) -> Health {
        Health::of(self.workers.iter().map(|worker| worker.pulse.as_ref()))
    }

    /// A file of the model that has changed since it was opened, by contents or because another took its place.
    #[must_use]
    pub fn changed_file(&self) -> Option<&Path> {
        let change = self.shared.files.obvious_change();
        change.map(|change| change.path.as_path())
    }

    /// What is counted of this model.
    #[must_use]
    pub fn metrics(&self) -> &metrics::Model {
        &self.shared.metrics
    }

    /// Reads off queue, sessions, cache and GPUs for the metrics. To be called before they are shown.
    pub fn sample_metrics(&self) {
        let queue = &self.shared.queue;
        let ready = self.health().ready;
        self.shared
            .metrics
            .sample(queue.len(), queue.capacity(), queue.dropped(), ready);
        if let Some(results) = &self.shared.results {
            results.sample();
        }
        gpu_memory::sample(&self.gpus);
    }
}

/// Compares a model's files with its manifest, on a thread of its own: it reads as many bytes as loading does.
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

/// A session that is opened anew must not be another model's: its vectors would be kept as this one's.
fn check_unchanged(dir: &Path, digest: &str) -> Result<()> {
    if !Manifest::is_model_dir(dir) || Manifest::read(dir)?.digest() == digest {
        return Ok(());
    }
    Err(Error::Signature {
        path: dir.to_path_buf(),
        reason: "the model was replaced while it was served: start anew".to_owned(),
    })
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.queue.close();
        for worker in self.workers.drain(..) {
            // The worker catches panics; there is nobody left to tell of one.
            let _ = worker.thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lexivec_models::{
        Attention, Decoder, Dimensions, FileRecord, Layout, Precision, Source, SourceId, Target,
        Verification, WeightStorage,
    };

    use super::*;

    fn manifest(digest: &str) -> Manifest {
        let nano = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/nano/config.json");
        let record = FileRecord {
            size: 1,
            digest: digest.to_owned(),
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
            attention: Attention::default(),
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
    fn memory_that_runs_out_in_a_capture_is_no_texts_fault() {
        struct Full;
        impl Network for Full {
            fn hidden_size(&self) -> usize {
                256
            }
            fn embed(&mut self, _: &[&[u32]]) -> Result<crate::network::States> {
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
    fn a_model_that_was_replaced_is_not_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let served = manifest("a");
        served.write(dir.path()).unwrap();
        check_unchanged(dir.path(), &served.digest()).unwrap();
        manifest("b").write(dir.path()).unwrap();
        let error = check_unchanged(dir.path(), &served.digest()).unwrap_err();
        assert!(error.to_string().contains("was replaced"), "{error}");
    }
}
