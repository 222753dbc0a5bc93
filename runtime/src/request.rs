//! The requests of the engine, and its results.

use std::borrow::Cow;
use std::time::Duration;

use crate::scheduling::in_flight::Origin;

/// The prompt before a text.
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// What to embed.
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
