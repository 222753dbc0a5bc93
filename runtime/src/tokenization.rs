//! From a prompt to token ids.
//!
//! The special tokens are those that `tokenizer.json`'s post-processor adds, never tokenizer_config.json's: Qwen3-
//! Embedding appends `<|endoftext|>` while its tokenizer_config names `<|im_end|>` as end of sequence. Truncation cuts
//! the text and keeps the added tokens, for the last one's state is the embedding.

use std::path::Path;
use std::sync::Arc;

use tokenizers::Tokenizer as Inner;

use crate::error::{Error, Result};
use crate::request::{Input, Request, Truncate};

/// A prompt's token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoding {
    /// The ids, with the added special tokens.
    pub ids: Vec<u32>,
    /// Whether the text was cut to the maximum length.
    pub truncated: bool,
}

/// A model's tokenizer; cheap to clone and usable from any thread.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
    /// Tokens put before every text.
    before: Vec<u32>,
    /// Tokens put after it; the last is the one whose state is pooled.
    after: Vec<u32>,
    vocabulary: usize,
    max_length: usize,
}

impl Tokenizer {
    /// Reads `tokenizer.json`; `vocabulary` is the number of rows of the model's embedding table, `max_length` the
    /// longest sequence in tokens.
    ///
    /// # Errors
    /// The file cannot be read or understood, or appends tokens that the model does not have.
    pub fn open(path: &Path, vocabulary: usize, max_length: usize) -> Result<Self> {
        let bad = |reason: String| Error::Tokenizer {
            path: path.to_path_buf(),
            reason,
        };
        let bytes = fs_err::read(path).map_err(|e| lexivec_models::Error::io(path, e))?;
        let mut inner = Inner::from_bytes(bytes).map_err(|e| bad(e.to_string()))?;
        // The file may carry a truncation and padding of its training run.
        inner
            .with_truncation(None)
            .map_err(|e| bad(e.to_string()))?;
        inner.with_padding(None);
        let encode = |special| {
            inner
                .encode_fast("a", special)
                .map_err(|e| bad(e.to_string()))
        };
        let (bare, full) = (encode(false)?, encode(true)?);
        let (bare, full) = (bare.get_ids(), full.get_ids());
        let start = full
            .windows(bare.len().max(1))
            .position(|w| w == bare)
            .ok_or_else(|| {
                bad("its post-processor changes the tokens of the text itself".to_owned())
            })?;
        let (before, after) = (full[..start].to_vec(), full[start + bare.len()..].to_vec());
        if before.len() + after.len() >= max_length {
            return Err(bad(format!(
                "it adds {} tokens, and the model takes {max_length}",
                before.len() + after.len()
            )));
        }
        if let Some(id) = full.iter().find(|id| **id as usize >= vocabulary) {
            return Err(bad(format!(
                "it makes token {id}, and the model's vocabulary has {vocabulary}: it belongs to another model"
            )));
        }
        Ok(Self {
            inner: Arc::new(inner),
            before,
            after,
            vocabulary,
            max_length,
        })
    }

    /// Token ids of a request's whole prompt, with exactly the special tokens that the tokenizer adds.
    ///
    /// # Errors
    /// Empty text, ids out of the vocabulary, or a text that is too long and may not be cut.
    pub fn encode(&self, request: &Request<'_>) -> Result<Encoding> {
        let ids = match &request.input {
            Input::Text(text) => self.encode_text(&request.prefix.prompt(text), text.is_empty())?,
            Input::Tokens(ids) => self.check_tokens(ids)?,
        };
        self.fit(ids, request.truncate)
    }

    fn encode_text(&self, prompt: &str, empty: bool) -> Result<Vec<u32>> {
        if empty {
            return Err(Error::InvalidInput {
                field: "input",
                reason: "the text is empty: there is nothing to embed".to_owned(),
            });
        }
        let encoding = self
            .inner
            .encode_fast(prompt, true)
            .map_err(|e| Error::InvalidInput {
                field: "input",
                reason: format!("the text could not be tokenised: {e}"),
            })?;
        let ids = encoding.get_ids();
        match ids.iter().find(|id| **id as usize >= self.vocabulary) {
            Some(id) => Err(self.out_of_vocabulary(*id)),
            None => Ok(ids.to_vec()),
        }
    }

    fn check_tokens(&self, ids: &[u32]) -> Result<Vec<u32>> {
        if ids.is_empty() {
            return Err(Error::InvalidInput {
                field: "input",
                reason: "the list of token ids is empty".to_owned(),
            });
        }
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.vocabulary) {
            return Err(self.out_of_vocabulary(*id));
        }
        let mut ids = ids.to_vec();
        if !ids.ends_with(&self.after) {
            ids.extend(&self.after);
        }
        Ok(ids)
    }

    fn out_of_vocabulary(&self, id: u32) -> Error {
        Error::InvalidInput {
            field: "input",
            reason: format!(
                "token id {id} is not in this model's vocabulary of {}: the client tokenises for another model. Send text \
                 instead (LangChain: check_embedding_ctx_length=False)",
                self.vocabulary
            ),
        }
    }

    /// Refuses or cuts what is too long.
    fn fit(&self, ids: Vec<u32>, truncate: Truncate) -> Result<Encoding> {
        if ids.len() <= self.max_length {
            return Ok(Encoding {
                ids,
                truncated: false,
            });
        }
        if truncate == Truncate::Refuse {
            return Err(Error::TooLong {
                tokens: ids.len(),
                limit: self.max_length,
            });
        }
        let mut kept = ids;
        kept.truncate(self.max_length - self.after.len());
        kept.extend(&self.after);
        Ok(Encoding {
            ids: kept,
            truncated: true,
        })
    }

    /// The longest sequence in tokens.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The special tokens put before and after every text.
    #[must_use]
    pub fn added_tokens(&self) -> (&[u32], &[u32]) {
        (&self.before, &self.after)
    }
}
