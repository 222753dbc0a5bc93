//! Text in, vectors out: tokenizer, queue and worker of one model.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::batch::Limits;
use crate::error::{Error, Result};
use crate::library::Library;
use crate::model::ModelInfo;
use crate::network::{Network, open_network};
use crate::queue::{Entry, Queue, Reply};
use crate::request::{Embedding, Request};
use crate::session::SessionSettings;
use crate::tokenization::{Encoding, Tokenizer};
use crate::{vector, worker};

/// How an engine runs.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The ONNX Runtime library; `None` to look for it.
    pub onnxruntime: Option<PathBuf>,
    /// The session.
    pub session: SessionSettings,
    /// Bounds of one batch.
    pub limits: Limits,
    /// Texts that may wait.
    pub queue: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            onnxruntime: None,
            session: SessionSettings::default(),
            limits: Limits::default(),
            queue: 8192,
        }
    }
}

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
    queue: Arc<Queue>,
    worker: Option<JoinHandle<()>>,
}

impl Engine {
    /// Opens a model directory, ours or another exporter's.
    ///
    /// # Errors
    /// The library, the directory, its tokenizer or its graph cannot be used, or an execution provider does not start.
    pub fn open(dir: &Path, options: &EngineOptions) -> Result<Self> {
        let model = ModelInfo::read(dir)?;
        let tokenizer = Tokenizer::open(
            &dir.join("tokenizer.json"),
            model.vocabulary,
            model.max_length,
        )?;
        let library = Library::load(
            options.onnxruntime.as_deref(),
            options.session.providers.wants_gpu(),
        )?;
        let network = open_network(library, dir, &options.session)?;
        Self::with_network(model, tokenizer, network, options)
    }

    /// An engine over a network of the caller's, which need not be ONNX Runtime's.
    ///
    /// # Errors
    /// The network's width is not the model's, or the system gives no thread.
    pub fn with_network(
        model: ModelInfo,
        tokenizer: Tokenizer,
        network: Box<dyn Network>,
        options: &EngineOptions,
    ) -> Result<Self> {
        if network.hidden_size() != model.hidden_size {
            return Err(Error::InvalidInput {
                field: "model",
                reason: format!(
                    "the graph's vectors are {} wide, and its configuration says {}: the files do not belong together",
                    network.hidden_size(),
                    model.hidden_size
                ),
            });
        }
        let queue = Arc::new(Queue::new(options.queue));
        let worker = worker::spawn(network, Arc::clone(&queue), options.limits)
            .map_err(|e| Error::Inference(format!("no worker thread: {e}")))?;
        Ok(Self {
            model,
            tokenizer,
            queue,
            worker: Some(worker),
        })
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
        let pending = self.submit(encodings.iter().map(|e| e.ids.clone()).collect())?;
        let answers = pending.into_iter().zip(encodings).zip(requests);
        answers
            .map(|((reply, encoding), request)| {
                let state = reply.blocking_recv().unwrap_or(Err(Error::ShuttingDown))?;
                Ok(self.finish(state, &encoding, request.dimensions))
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

    /// Queues token sequences, all or none; each receiver gets its full-width state.
    ///
    /// # Errors
    /// The queue is full or closed.
    pub fn submit(&self, sequences: Vec<Vec<u32>>) -> Result<Vec<oneshot::Receiver<Reply>>> {
        let (entries, receivers) = sequences
            .into_iter()
            .map(|ids| {
                let (reply, receiver) = oneshot::channel();
                (Entry { ids, reply }, receiver)
            })
            .unzip();
        self.queue.push(entries)?;
        Ok(receivers)
    }

    /// Cuts and normalises a state: the last step of [`Engine::embed`].
    #[must_use]
    pub fn finish(
        &self,
        mut state: Vec<f32>,
        encoding: &Encoding,
        dimensions: Option<usize>,
    ) -> Embedding {
        vector::cut_and_normalize(&mut state, dimensions.unwrap_or(self.model.hidden_size));
        Embedding {
            vector: state,
            tokens: encoding.ids.len(),
            truncated: encoding.truncated,
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

    /// The queue, for its length and to close it.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(worker) = self.worker.take() {
            // The worker catches panics; there is nobody left to tell of one.
            let _ = worker.join();
        }
    }
}
