//! The seam between what is measured and what measures it: one side of a comparison.

use lexivec_runtime::Layer;
use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use super::vectors::Vectors;

/// Turns texts into vectors: a model in this process, or a server elsewhere.
pub trait Embedder {
    /// The vectors of some texts, in their order, at full width; bare, as they stand.
    ///
    /// # Errors
    /// The side fails, or answers with something else than a vector of its width for each text.
    fn embed(&mut self, texts: &[&str]) -> Result<Embedded>;

    /// Keys and values of every layer for some texts, which run as one batch; none where they cannot be seen.
    ///
    /// # Errors
    /// The side fails.
    fn layers(&mut self, _texts: &[&str]) -> Result<Vec<Layer>> {
        Ok(Vec::new())
    }
}

/// What embedding gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// A vector for each text; its length means nothing.
    pub vectors: Vectors,
    /// Tokens of all texts together; `None` where a server does not tell.
    pub tokens: Option<usize>,
    /// Tokens of each text; empty where a server does not tell.
    pub lengths: Vec<usize>,
    /// Texts that were cut to what the model takes.
    pub cut: usize,
    /// Texts whose vector was not finite, by position; their rows are zeros.
    pub not_finite: Vec<usize>,
}

impl Embedded {
    /// Nothing yet, of a width.
    #[must_use]
    pub fn new(width: usize) -> Self {
        Self {
            vectors: Vectors::new(width),
            tokens: Some(0),
            lengths: Vec::new(),
            cut: 0,
            not_finite: Vec::new(),
        }
    }

    /// Adds what the texts after these gave.
    pub fn append(&mut self, next: &Self) {
        let before = self.vectors.len();
        self.vectors.append(&next.vectors);
        self.tokens = self
            .tokens
            .zip(next.tokens)
            .map(|(before, next)| before + next);
        self.lengths.extend(&next.lengths);
        self.cut += next.cut;
        self.not_finite
            .extend(next.not_finite.iter().map(|i| before + i));
    }
}

/// What a side is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SideKind {
    /// A model directory.
    Model,
    /// A checkpoint, as its float32 graph.
    Checkpoint,
    /// A server with the OpenAI API.
    Endpoint,
}

/// What is known of a side besides its vectors. All of it is read: from the manifest, the disk, the server's answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// What it is called in this report: the folder's name, or the server's and its model's.
    pub name: String,
    /// As it was given.
    pub given: String,
    /// What it is.
    pub kind: SideKind,
    /// The checkpoint that it was made from, where it says so.
    pub source: Option<String>,
    /// Number formats, as the manifest or the server spells them; `None` where nothing says.
    pub precision: Option<String>,
    /// Where it computes.
    pub execution_provider: Option<String>,
    /// Width of the full vector.
    pub width: usize,
    /// The longest text in tokens.
    pub max_length: Option<usize>,
    /// Bytes of its files on disk.
    pub bytes: Option<u64>,
    /// What loading it costs, in a process of its own.
    pub footprint: Option<Footprint>,
    /// What the reader should know about it; full sentences.
    pub notes: Vec<String>,
}

/// What loading a model costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Footprint {
    /// Seconds to load it, its files being in the page cache.
    pub load_seconds: f64,
    /// Bytes by which the process's resident memory grew by loading it; of the host, not of a GPU.
    pub loaded_bytes: u64,
    /// The same at its peak, when texts had been embedded.
    pub peak_bytes: u64,
}

/// One side of a comparison.
pub struct Side {
    /// What it is.
    pub facts: Facts,
    /// What embeds.
    pub embedder: Box<dyn Embedder>,
}

impl std::fmt::Debug for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Side")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

impl Side {
    /// The vectors of some texts, checked to be as many and as wide as they should be.
    ///
    /// # Errors
    /// The side fails, or its answer does not fit.
    pub fn embed(&mut self, texts: &[&str]) -> Result<Embedded> {
        let found = self.embedder.embed(texts)?;
        let vectors = &found.vectors;
        if vectors.len() == texts.len() && vectors.width() == self.facts.width {
            return Ok(found);
        }
        Err(Error::Answer {
            side: self.facts.name.clone(),
            reason: format!(
                "{} texts gave {} vectors of {} dimensions, and {} of {} were expected",
                texts.len(),
                vectors.len(),
                vectors.width(),
                texts.len(),
                self.facts.width
            ),
        })
    }
}
