//! A model that is ready to embed texts.

use lexivec_runtime::{Embedding, Engine, Request};

use crate::builder::ModelBuilder;
use crate::error::Result;

/// A loaded model. Threads may share it.
///
/// ```
/// use lexivec::{Model, Prompt, Request, cosine};
///
/// # // The example needs ONNX Runtime's library.
/// # if lexivec_runtime::Library::load(None, false).is_err() {
/// #     return Ok(());
/// # }
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
/// let model = Model::open("models/nano")?;
/// let documents = model.embed(&["cardiac arrest", "breach of contract"])?;
/// assert_eq!(documents[0].len(), model.engine().model().hidden_size);
///
/// let request = Request {
///     prompt: Prompt::Instruction("Represent the medical concept:".to_owned()),
///     ..Request::text("cardiac arrest")
/// };
/// let query = &model.embed_requests(&[request])?[0].vector;
/// assert!(cosine(query, &documents[0]) > cosine(query, &documents[1]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Model {
    engine: Engine,
}

impl Model {
    /// Opens a model with the defaults for a CPU: a model directory, a checkpoint folder, or a hub id.
    ///
    /// # Errors
    /// The model cannot be found, downloaded, converted or loaded.
    pub fn open(name: &str) -> Result<Self> {
        Self::builder(name).open()
    }

    /// Begins to open a model with other settings.
    #[must_use]
    pub fn builder(name: &str) -> ModelBuilder {
        ModelBuilder::new(name)
    }

    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine }
    }

    /// Embeds texts without an instruction, as documents are embedded. The vectors are in the order of the texts, as wide as the
    /// model's, and of unit length.
    ///
    /// # Errors
    /// A text is empty or too long, the queue is full, or inference fails.
    pub fn embed<T: AsRef<str>>(&self, texts: &[T]) -> Result<Vec<Vec<f32>>> {
        let requests: Vec<_> = texts
            .iter()
            .map(|text| Request::text(text.as_ref()))
            .collect();
        let embeddings = self.embed_requests(&requests)?;
        Ok(embeddings.into_iter().map(|found| found.vector).collect())
    }

    /// Embeds texts, each with its own instruction, width and truncation. The result is in the order of the requests.
    ///
    /// # Errors
    /// A request is invalid, the queue is full, or inference fails.
    pub fn embed_requests(&self, requests: &[Request<'_>]) -> Result<Vec<Embedding>> {
        Ok(self.engine.embed(requests)?)
    }

    /// The engine, for asynchronous use and its metrics.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}
