//! Turns a prompt into token ids.
//!
//! The special tokens are those that `tokenizer.json`'s post-processor adds, never tokenizer_config.json's:
//! Qwen3-Embedding appends `<|endoftext|>`, while its tokenizer_config names `<|im_end|>` as end of sequence.
//! * [`truncation`] shortens texts that are too long, by their bytes where those suffice; [`bound`] relates bytes to tokens.
//! * [`prompt`] caches the tokens of prompts; [`parse`] reads the file.

mod bound;
mod parse;
mod prompt;
mod truncation;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use tokenizers::{ModelWrapper, Tokenizer as Inner};

use bound::Bound;
use prompt::PromptCache;

use crate::error::{Error, Result};
use crate::request::{Input, Prompt, Request, Truncate};

/// The token ids of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoding {
    /// The ids, with the added special tokens.
    pub ids: Vec<u32>,
    /// Whether the text was truncated to the maximum length.
    pub truncated: bool,
}

/// A token of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// The part of the prompt that it stands for, or its name if it is a special token.
    pub text: String,
    /// The range of that part in characters; `None` for special tokens.
    pub place: Option<(usize, usize)>,
}

/// A model's tokenizer; cheap to clone and usable from any thread.
///
/// ```
/// use lexivec_runtime::{Input, Request, Tokenizer};
///
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
/// let (vocabulary, max_length) = (16_384, 4096);
/// let tokenizer = Tokenizer::open("models/nano/tokenizer.json".as_ref(), vocabulary, max_length)?;
/// let ids = tokenizer.encode(&Request::text("cardiac arrest"))?.ids;
/// assert_eq!(ids.last(), Some(&16_381)); // <|endoftext|>
///
/// // The token ids of a text are the same request.
/// let tokens = Input::Tokens(ids.as_slice().into());
/// let request = Request { input: tokens, ..Request::text("") };
/// assert_eq!(tokenizer.encode(&request)?.ids, ids);
///
/// let parts = tokenizer.tokens("cardiac arrest", false)?;
/// let text: String = parts.iter().map(|token| token.text.as_str()).collect();
/// assert_eq!(text, "cardiac arrest");
/// assert!(tokenizer.encode(&Request::text("")).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
    /// The special tokens before every text.
    before: Vec<u32>,
    /// The special tokens after every text. The last one's hidden state is pooled.
    after: Vec<u32>,
    vocabulary: usize,
    max_length: usize,
    bound: Bound,
    prompt_cache: Arc<PromptCache>,
}

impl Tokenizer {
    /// Reads `tokenizer.json`. `vocabulary` is the number of rows of the model's embedding table, `max_length` the
    /// maximum sequence length in tokens.
    ///
    /// # Errors
    /// The file cannot be read or parsed, or adds tokens that the model does not have.
    pub fn open(path: &Path, vocabulary: usize, max_length: usize) -> Result<Self> {
        let bad = |reason: String| Error::Tokenizer {
            path: path.to_path_buf(),
            reason,
        };
        let bytes = lexivec_models::text::read_bytes(path)
            .map_err(|e| lexivec_models::Error::io(path, e))?;
        let mut inner = parse::parse(&bytes).map_err(|e| bad(e.to_string()))?;
        if let ModelWrapper::BPE(model) = inner.get_model()
            && let Some(dropout) = model.dropout.filter(|dropout| *dropout > 0.0)
        {
            return Err(bad(format!(
                "its model leaves out merges at random (`dropout` is {dropout}), so that a text would have another vector each time: \
                 set `dropout` to null"
            )));
        }
        // The file may contain the truncation and padding of a training run.
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
            bound: Bound::of(&inner, vocabulary),
            prompt_cache: Arc::new(PromptCache::of(&inner)),
            inner: Arc::new(inner),
            before,
            after,
            vocabulary,
            max_length,
        })
    }

    /// The token ids of a request's whole prompt, with exactly the special tokens that the tokenizer adds.
    ///
    /// # Errors
    /// The text is empty, an id is not in the vocabulary, or the text is too long and must not be truncated.
    pub fn encode(&self, request: &Request<'_>) -> Result<Encoding> {
        let (ids, shortened) = match &request.input {
            Input::Text(text) => {
                let kept = self.shorten(request, text)?;
                (self.encode_text(request, kept)?, kept.len() < text.len())
            }
            Input::Tokens(ids) => (self.check_tokens(ids, request.truncate)?, false),
        };
        if ids.len() <= self.max_length {
            return Ok(Encoding {
                ids,
                truncated: shortened,
            });
        }
        Ok(Encoding {
            ids: self.truncate(request, &ids)?,
            truncated: true,
        })
    }

    /// Checks that a prompt leaves room for a text.
    ///
    /// # Errors
    /// The prompt has more tokens than the model accepts.
    pub fn check_prompt(&self, prompt: &Prompt) -> Result<()> {
        let prompt = prompt.apply("");
        // Every token has at least one byte.
        if prompt.len() < self.max_length {
            return Ok(());
        }
        let beginning = self.bound.beginning(&prompt, self.max_length);
        let beginning = beginning.unwrap_or(&prompt);
        let tokens = self.run(beginning, |inner, text| inner.encode_fast(text, true))?;
        if tokens.len() < self.max_length {
            return Ok(());
        }
        Err(Error::InvalidInput {
            field: "instruction",
            reason: format!(
                "the instruction alone has more than the {} tokens that this model takes: shorten it",
                self.max_length
            ),
        })
    }

    /// The tokens of a prompt, with the parts that they stand for.
    ///
    /// # Errors
    /// The text cannot be tokenised, or is so long that this model could not accept it whatever its tokens are.
    pub fn tokens(&self, prompt: &str, special: bool) -> Result<Vec<Token>> {
        self.check_bytes(prompt)?;
        let encoding = self.run(prompt, |inner, text| {
            inner.encode_char_offsets(text, special)
        })?;
        let characters: Vec<char> = prompt.chars().collect();
        let token = |i: usize| {
            let special = encoding.get_special_tokens_mask()[i] == 1;
            let (start, stop) = encoding.get_offsets()[i];
            let place = (!special).then_some((start, stop));
            Token {
                id: encoding.get_ids()[i],
                text: match characters.get(start..stop) {
                    Some(part) if !special => part.iter().collect(),
                    _ => encoding.get_tokens()[i].clone(),
                },
                place,
            }
        };
        Ok((0..encoding.len()).map(token).collect())
    }

    /// The token ids of a text with its prompt. If there are too many, they may be only those that truncation keeps and
    /// some more.
    fn encode_text(&self, request: &Request<'_>, text: &str) -> Result<Vec<u32>> {
        let prompt = request.prompt.apply(text);
        let ids = match self.encode_part(&prompt, request.truncate)? {
            Some(ids) => ids,
            None => self.encode_whole(&request.prompt, &prompt)?,
        };
        match ids.iter().find(|id| **id as usize >= self.vocabulary) {
            Some(id) => Err(self.out_of_vocabulary(*id)),
            None => Ok(ids),
        }
    }

    /// The token ids of a text whose prompt's tokens may be cached.
    fn encode_whole(&self, prompt: &Prompt, whole: &str) -> Result<Vec<u32>> {
        let head = self.prompt_cache.head(&self.inner, &prompt.apply(""));
        let Some(head) = head else {
            let encoding = self.run(whole, |inner, text| inner.encode_fast(text, true))?;
            return Ok(encoding.get_ids().to_vec());
        };
        let rest = &whole[head.bytes..];
        let rest = self.run(rest, |inner, text| inner.encode_fast(text, false))?;
        Ok([&self.before, &head.ids, rest.get_ids(), &self.after].concat())
    }

    /// Tokenises. A panic of the library counts as the text's error, because its regular expressions give up on
    /// millions of blanks.
    fn run(
        &self,
        text: &str,
        encode: impl FnOnce(&Inner, &str) -> tokenizers::Result<tokenizers::Encoding>,
    ) -> Result<tokenizers::Encoding> {
        let encoding = catch_unwind(AssertUnwindSafe(|| encode(&self.inner, text)));
        match encoding {
            Ok(encoding) => encoding.map_err(|error| untokenizable(&error.to_string())),
            Err(_) => Err(untokenizable("the tokenizer gave up on it")),
        }
    }

    fn check_tokens(&self, ids: &[u32], truncate: Truncate) -> Result<Vec<u32>> {
        if ids.is_empty() {
            return Err(Error::InvalidInput {
                field: "input",
                reason: "the list of token ids is empty".to_owned(),
            });
        }
        if ids.len() > self.max_length && truncate == Truncate::Reject {
            return Err(Error::TooLong {
                tokens: ids.len(),
                limit: self.max_length,
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

    /// The maximum sequence length in tokens.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The special tokens before and after every text.
    #[must_use]
    pub fn added_tokens(&self) -> (&[u32], &[u32]) {
        (&self.before, &self.after)
    }
}

fn untokenizable(reason: &str) -> Error {
    Error::InvalidInput {
        field: "input",
        reason: format!("the text could not be tokenised: {reason}"),
    }
}

#[cfg(test)]
mod tests;
