//! The requests of the engine, and its results.

use std::borrow::Cow;
use std::time::Duration;

/// The prompt before a text.
///
/// ```
/// use lexivec_runtime::Prompt;
///
/// let prompt = Prompt::Instruction("Represent the medical concept:".to_owned());
/// assert_eq!(prompt.apply("stroke"), "Instruct: Represent the medical concept:\nQuery:stroke");
/// assert_eq!(Prompt::Verbatim("query: ".to_owned()).apply("stroke"), "query: stroke");
/// assert_eq!(Prompt::None.apply("stroke"), "stroke");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Prompt {
    /// No prompt: documents are embedded without one.
    #[default]
    None,
    /// An instruction, written as Qwen3-Embedding was trained with it: `Instruct: {instruction}\nQuery:{text}`.
    Instruction(String),
    /// A prompt of the checkpoint, put before the text as it is (sentence-transformers' `prompts`).
    Verbatim(String),
}

impl Prompt {
    /// The text with its prompt before it.
    #[must_use]
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self {
            Self::None => Cow::Borrowed(text),
            Self::Instruction(instruction) => {
                Cow::Owned(lexivec_models::with_instruction(instruction, text))
            }
            Self::Verbatim(prompt) => Cow::Owned(format!("{prompt}{text}")),
        }
    }
}

/// A text, or the model's own token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<'a> {
    /// A text; not empty.
    Text(Cow<'a, str>),
    /// Token ids of this model's vocabulary; a missing final end-of-sequence token is added.
    Tokens(Cow<'a, [u32]>),
}

/// What to do with a text that is longer than the model accepts.
///
/// ```
/// use lexivec_runtime::{Request, Tokenizer, Truncate};
///
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
/// let tokenizer = Tokenizer::open("models/nano/tokenizer.json".as_ref(), 16_384, 4)?;
/// let text = "the patient was admitted with acute chest pain";
/// assert!(tokenizer.encode(&Request::text(text)).is_err());
/// let request = Request { truncate: Truncate::End, ..Request::text(text) };
/// let encoding = tokenizer.encode(&request)?;
/// assert!(encoding.truncated);
/// assert_eq!(encoding.ids.len(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Truncate {
    /// Reject it.
    #[default]
    Reject,
    /// Truncate its end: keep the beginning.
    End,
    /// Truncate its start: keep the end.
    Start,
}

/// One text to embed.
///
/// ```
/// use lexivec_runtime::{Request, Truncate};
///
/// let request = Request {
///     dimensions: Some(64),
///     truncate: Truncate::End,
///     ..Request::text("cardiac arrest")
/// };
/// assert!(request.normalize);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// The text or token ids to embed.
    pub input: Input<'a>,
    /// The prompt before the text; must be [`Prompt::None`] with token ids.
    pub prompt: Prompt,
    /// Width of the vector, from 1 to the model's hidden size, which is the default.
    pub dimensions: Option<usize>,
    /// Whether and where a text that is too long is truncated.
    pub truncate: Truncate,
    /// Whether the vector is scaled to unit length; on by default.
    pub normalize: bool,
}

impl<'a> Request<'a> {
    /// A text without a prompt, at full width, rejected if it is too long.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self {
            input: Input::Text(text.into()),
            prompt: Prompt::None,
            dimensions: None,
            truncate: Truncate::Reject,
            normalize: true,
        }
    }
}

/// Where a state came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This request had it computed.
    Computed,
    /// An identical text of another request was in flight.
    Coalesced,
    /// The response cache had it.
    Cached,
}

/// A text's vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// The vector, as wide as requested; unit length unless the request says otherwise.
    pub vector: Vec<f32>,
    /// Number of tokens, those of the prompt and the end-of-sequence token included.
    pub tokens: usize,
    /// Whether the text was truncated.
    pub truncated: bool,
    /// Whether the vector was computed for this request.
    pub origin: Origin,
    /// How long the text waited for a session.
    pub queued: Duration,
    /// How long its batch took.
    pub infer: Duration,
}
