//! What is asked of the engine and what it answers.

use std::borrow::Cow;

use crate::flight::Origin;

/// What stands before a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Prefix {
    /// Nothing: documents are embedded bare.
    #[default]
    None,
    /// An instruction, written as Qwen3-Embedding was trained with it: `Instruct: {instruction}\nQuery:{text}`.
    Instruction(String),
    /// A prompt of the checkpoint's, put before the text as it is (sentence-transformers' `prompts`).
    Prompt(String),
}

impl Prefix {
    /// The whole prompt of a text.
    #[must_use]
    pub fn prompt<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self {
            Self::None => Cow::Borrowed(text),
            Self::Instruction(instruction) => {
                Cow::Owned(lexivec_models::with_instruction(instruction, text))
            }
            Self::Prompt(prompt) => Cow::Owned(format!("{prompt}{text}")),
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

/// What to do with a text that is longer than the model takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Truncate {
    /// Refuse it.
    #[default]
    Refuse,
    /// Cut its end: keep the beginning.
    End,
    /// Cut its start: keep the end.
    Start,
}

/// One text to embed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// What to embed.
    pub input: Input<'a>,
    /// What stands before a text; must be [`Prefix::None`] with token ids.
    pub prefix: Prefix,
    /// Width of the vector, 1 to the model's hidden size, which is the default.
    pub dimensions: Option<usize>,
    /// Whether a too long text may be cut, and where.
    pub truncate: Truncate,
    /// Whether the vector is scaled to unit length; on by default.
    pub normalize: bool,
}

impl<'a> Request<'a> {
    /// A bare text at full width, refused if too long.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self {
            input: Input::Text(text.into()),
            prefix: Prefix::None,
            dimensions: None,
            truncate: Truncate::Refuse,
            normalize: true,
        }
    }
}

/// A text's vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// As wide as asked; unit length unless asked otherwise.
    pub vector: Vec<f32>,
    /// Tokens computed for it, the instruction's and the end-of-sequence token included.
    pub tokens: usize,
    /// Whether the text was cut.
    pub truncated: bool,
    /// Whether it was computed for this request or known already.
    pub origin: Origin,
}
