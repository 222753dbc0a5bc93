//! A system under comparison: facts about it, and an embedder.

use lexivec_runtime::Layer;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::vectors::Vectors;

/// Turns texts into vectors: a model in this process, or a client of a server. [`Comparison`](crate::Comparison) has an
/// implementation.
pub trait Embedder {
    /// Embeds texts at full width, without an instruction, in their order.
    ///
    /// # Errors
    /// The system fails, or returns something other than a vector of its width for each text.
    fn embed(&mut self, texts: &[&str]) -> Result<Embedded>;

    /// Keys and values of every layer for texts that run as one batch; empty if the system does not expose them.
    ///
    /// # Errors
    /// The system fails.
    fn layers(&mut self, _texts: &[&str]) -> Result<Vec<Layer>> {
        Ok(Vec::new())
    }
}

/// The vectors of some texts, with token counts and defects.
///
/// ```
/// use lexivec_evaluate::Embedded;
///
/// let mut embedded = Embedded::new(2);
/// embedded.vectors.push(&[0.6, 0.8]);
/// embedded.lengths.push(3);
/// embedded.tokens = Some(3);
/// assert_eq!((embedded.vectors.len(), embedded.truncated), (1, 0));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// A vector for each text, not normalised.
    pub vectors: Vectors,
    /// The number of tokens of all texts together; `None` if a server does not report it.
    pub tokens: Option<usize>,
    /// The number of tokens of each text; empty if a server does not report it.
    pub lengths: Vec<usize>,
    /// How many texts were truncated to the model's maximum length.
    pub truncated: usize,
    /// The positions of texts whose vector was not finite. Their rows are zeros.
    pub not_finite: Vec<usize>,
}

impl Embedded {
    /// No vectors yet, of this width.
    #[must_use]
    pub fn new(width: usize) -> Self {
        Self {
            vectors: Vectors::new(width),
            tokens: Some(0),
            lengths: Vec::new(),
            truncated: 0,
            not_finite: Vec::new(),
        }
    }

    /// Adds the result of the texts that follow.
    pub(crate) fn append(&mut self, next: &Self) {
        let before = self.vectors.len();
        self.vectors.append(&next.vectors);
        self.tokens = self
            .tokens
            .zip(next.tokens)
            .map(|(before, next)| before + next);
        self.lengths.extend(&next.lengths);
        self.truncated += next.truncated;
        self.not_finite
            .extend(next.not_finite.iter().map(|i| before + i));
    }
}

/// The kind of a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SystemKind {
    /// A model directory.
    Model,
    /// A checkpoint, as its float32 graph.
    Checkpoint,
    /// A server with the OpenAI API.
    Endpoint,
}

/// The facts about a system besides its vectors, from its manifest, its files or its server's responses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SystemFacts {
    /// Its name in reports: that of the folder, or of the server and its model.
    pub name: String,
    /// The folder, hub id or address that the user gave.
    pub given: String,
    /// Its kind.
    pub kind: SystemKind,
    /// The checkpoint that it was converted from, if known.
    pub source: Option<String>,
    /// Its precision, as the manifest or the server spells it, if known.
    pub precision: Option<String>,
    /// The execution provider that runs it, if known.
    pub execution_provider: Option<String>,
    /// The width of a full vector.
    pub width: usize,
    /// The maximum length of a text in tokens, if known.
    pub max_length: Option<usize>,
    /// The size of its files in bytes, if known.
    pub bytes: Option<u64>,
    /// The cost of loading it in a process of its own, if measured.
    pub footprint: Option<Footprint>,
    /// Notes for the reader, in full sentences.
    pub notes: Vec<String>,
}

impl SystemFacts {
    /// The facts of a system of which no more is known.
    ///
    /// ```
    /// use lexivec_evaluate::{SystemFacts, SystemKind};
    ///
    /// let facts = SystemFacts {
    ///     precision: Some("int8".to_owned()),
    ///     ..SystemFacts::new("nano", SystemKind::Model, 256)
    /// };
    /// assert_eq!((facts.given.as_str(), facts.max_length), ("nano", None));
    /// ```
    #[must_use]
    pub fn new(name: &str, kind: SystemKind, width: usize) -> Self {
        Self {
            name: name.to_owned(),
            given: name.to_owned(),
            kind,
            source: None,
            precision: None,
            execution_provider: None,
            width,
            max_length: None,
            bytes: None,
            footprint: None,
            notes: Vec::new(),
        }
    }
}

/// The cost of loading a model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Footprint {
    /// Seconds to load it while its files are in the page cache.
    pub load_seconds: f64,
    /// Growth of the process's resident memory by loading it, in bytes of the host.
    pub loaded_bytes: u64,
    /// Growth of resident memory at its peak while texts were embedded, in bytes.
    pub peak_bytes: u64,
}

/// A system under comparison.
///
/// ```
/// use lexivec_evaluate::{Embedded, Embedder, Error, Result, System, SystemFacts, SystemKind};
///
/// /// Answers with one vector, however many texts it is given.
/// struct Broken;
///
/// impl Embedder for Broken {
///     fn embed(&mut self, _texts: &[&str]) -> Result<Embedded> {
///         let mut embedded = Embedded::new(2);
///         embedded.vectors.push(&[0.6, 0.8]);
///         Ok(embedded)
///     }
/// }
///
/// let mut system = System {
///     facts: SystemFacts::new("broken", SystemKind::Endpoint, 2),
///     embedder: Box::new(Broken),
/// };
/// assert!(system.embed(&["one"]).is_ok());
/// let error = system.embed(&["one", "two"]).unwrap_err();
/// assert!(matches!(error, Error::Response { .. }));
/// ```
pub struct System {
    /// The facts about it.
    pub facts: SystemFacts,
    /// Embeds its texts.
    pub embedder: Box<dyn Embedder>,
}

impl std::fmt::Debug for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("System")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

impl System {
    /// Embeds texts, and checks the number and width of the vectors.
    ///
    /// # Errors
    /// The system fails, or the number or width of its vectors is wrong.
    pub fn embed(&mut self, texts: &[&str]) -> Result<Embedded> {
        let found = self.embedder.embed(texts)?;
        let vectors = &found.vectors;
        if vectors.len() == texts.len() && vectors.width() == self.facts.width {
            return Ok(found);
        }
        Err(Error::Response {
            system: self.facts.name.clone(),
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
