//! Truncation: which part of a text that is too long is kept.
//!
//! Truncation shortens the text and keeps the special tokens, because the last one's hidden state is the embedding. Bytes bound
//! tokens, so most of a text that is far too long is never tokenised.

use super::{Tokenizer, bound};
use crate::error::{Error, Result};
use crate::request::{Prompt, Request, Truncate};

impl Tokenizer {
    /// The part of a text that is tokenised: all of it, unless its bytes show that it is too long.
    pub(super) fn shorten<'a>(&self, request: &Request<'_>, text: &'a str) -> Result<&'a str> {
        if text.is_empty() {
            return Err(Error::InvalidInput {
                field: "input",
                reason: "the text is empty: there is nothing to embed".to_owned(),
            });
        }
        let prompt = request.prompt.apply("");
        let most = self.bound.most_bytes(text, self.max_length);
        if prompt.len() + text.len() <= most {
            return Ok(text);
        }
        let room = most.saturating_sub(prompt.len());
        match request.truncate {
            // Nothing of the text would be left.
            Truncate::End | Truncate::Start if room == 0 => Err(Error::MuchTooLong {
                tokens: self.bound.least_tokens(&prompt),
                limit: self.max_length,
            }),
            Truncate::Reject => {
                self.check_bytes(text)?;
                Ok(text)
            }
            Truncate::End => Ok(&text[..text.floor_char_boundary(room)]),
            Truncate::Start => {
                let start = text.len().saturating_sub(room);
                Ok(&text[text.ceil_char_boundary(start)..])
            }
        }
    }

    /// Rejects a text whose bytes show that it has too many tokens.
    pub(super) fn check_bytes(&self, text: &str) -> Result<()> {
        match self.bound.least_tokens(text) {
            tokens if tokens > self.max_length => Err(Error::MuchTooLong {
                tokens,
                limit: self.max_length,
            }),
            _ => Ok(()),
        }
    }

    /// The tokens of the part of a long prompt that truncation keeps, if these alone are too many.
    pub(super) fn encode_part(&self, prompt: &str, truncate: Truncate) -> Result<Option<Vec<u32>>> {
        let part = match truncate {
            Truncate::Start => self.bound.ending(prompt, self.max_length),
            Truncate::Reject | Truncate::End => self.bound.beginning(prompt, self.max_length),
        };
        let Some(part) = part else {
            return Ok(None);
        };
        let encoding = self.run(part, |inner, text| inner.encode(text, false))?;
        let settled = match truncate {
            Truncate::Start => bound::settled_ending(&encoding),
            Truncate::Reject | Truncate::End => bound::settled(&encoding),
        };
        if settled.len() <= self.max_length {
            return Ok(None);
        }
        if truncate == Truncate::Reject {
            return Err(Error::MuchTooLong {
                tokens: self.before.len() + settled.len() + self.after.len(),
                limit: self.max_length,
            });
        }
        Ok(Some([&self.before, settled, &self.after].concat()))
    }

    /// The part of a request's tokens that is kept of those that are too many.
    ///
    /// # Errors
    /// The text must not be truncated, or its prompt leaves no room for it.
    pub(super) fn truncate(&self, request: &Request<'_>, ids: &[u32]) -> Result<Vec<u32>> {
        let too_long = Error::TooLong {
            tokens: ids.len(),
            limit: self.max_length,
        };
        Ok(match request.truncate {
            Truncate::Reject => return Err(too_long),
            Truncate::End => self.keep_beginning(ids),
            Truncate::Start => {
                // An instruction says how to read the text, so it stays when the beginning of the text is removed.
                let head = self.head(&request.prompt)?;
                let room = self.max_length - self.after.len();
                let tail = room.checked_sub(head.len()).filter(|t| *t > 0);
                self.keep_end(ids, &head, tail.ok_or(too_long)?)
            }
        })
    }

    /// As many tokens from the beginning as the model accepts, and the special tokens at the end.
    fn keep_beginning(&self, ids: &[u32]) -> Vec<u32> {
        [&ids[..self.max_length - self.after.len()], &self.after].concat()
    }

    /// `head`, the last `tail` tokens of the text, and the special tokens at the end.
    fn keep_end(&self, ids: &[u32], head: &[u32], tail: usize) -> Vec<u32> {
        let text = &ids[..ids.len() - self.after.len()];
        [head, &text[text.len() - tail..], &self.after].concat()
    }

    /// The tokens before a text whose beginning is removed: those of the prompt alone, because the rest of the text may
    /// begin anywhere.
    fn head(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        let prompt = prompt.apply("");
        let encoding = self.run(&prompt, |inner, text| inner.encode_fast(text, false))?;
        Ok([&self.before, encoding.get_ids()].concat())
    }
}
