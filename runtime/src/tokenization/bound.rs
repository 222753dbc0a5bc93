//! How many tokens a text has at least, judged by its bytes: a text that is much too long is recognised before it is
//! tokenised, which takes a hundred bytes of memory for each of its own.

use tokenizers::{DecoderWrapper, NormalizerWrapper, Tokenizer};

/// Normalisation form C makes a text at most three times shorter (Unicode Standard Annex 15: three Hangul letters become one
/// syllable). ASCII stays as it is.
const COMPOSITION: usize = 3;
/// Few texts have more bytes per token. Whether a longer one is too long usually shows in so many bytes per allowed token.
const DENSE: usize = 16;
/// Where a text is cut, its last tokens may differ from the whole text's: those of the last word, and parts of a special
/// token, which are shorter than this.
const MARGIN: usize = 64;

/// What the bytes of a text say about its tokens.
///
/// Nothing is concluded for tokenizers whose tokens do not stand for all bytes of a text: those with an unknown token, or with
/// a normaliser that shortens texts more than form C does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    /// Bytes of the longest token.
    longest: usize,
}

impl Bound {
    pub(super) fn of(tokenizer: &Tokenizer) -> Self {
        let by_bytes = matches!(tokenizer.get_decoder(), Some(DecoderWrapper::ByteLevel(_)));
        let composes = matches!(
            tokenizer.get_normalizer(),
            None | Some(NormalizerWrapper::NFC(_))
        );
        if !by_bytes || !composes {
            return Self {
                longest: usize::MAX,
            };
        }
        // A byte-level vocabulary writes each byte as one character; added tokens are written as they are.
        let vocabulary = tokenizer.get_vocab(false);
        let learned = vocabulary.keys().map(|token| token.chars().count());
        let added = tokenizer.get_added_tokens_decoder();
        let added = added.values().map(|token| token.content.len());
        Self {
            longest: learned.chain(added).max().unwrap_or(1).max(1),
        }
    }

    /// Most bytes of a text like this one that has at most so many tokens.
    pub(super) fn most_bytes(self, text: &str, tokens: usize) -> usize {
        let most = tokens.saturating_mul(self.longest);
        if text.is_ascii() {
            most
        } else {
            most.saturating_mul(COMPOSITION)
        }
    }

    /// Fewest tokens that this text may have.
    pub(super) fn least_tokens(self, text: &str) -> usize {
        text.len().div_ceil(self.most_bytes(text, 1))
    }

    /// The beginning of a text that shows, for most texts that are longer, that they have more than so many tokens; `None`
    /// for shorter texts.
    pub(super) fn beginning(self, text: &str, tokens: usize) -> Option<&str> {
        let end = tokens.saturating_mul(DENSE).saturating_add(MARGIN);
        (text.len() > end).then(|| &text[..text.floor_char_boundary(end)])
    }

    /// As [`beginning`](Self::beginning), from the other end.
    pub(super) fn ending(self, text: &str, tokens: usize) -> Option<&str> {
        let length = tokens.saturating_mul(DENSE).saturating_add(MARGIN);
        let start = text.len().checked_sub(length).filter(|start| *start > 0)?;
        Some(&text[text.ceil_char_boundary(start)..])
    }
}

/// The tokens of a text's ending that the whole text ends with, too.
pub(super) fn settled_ending(ending: &tokenizers::Encoding) -> &[u32] {
    let words = ending.get_word_ids();
    let first = words.first().copied().flatten();
    let open = words.iter().zip(ending.get_offsets());
    let open = open.take_while(|(word, (start, _))| **word == first || *start < MARGIN);
    &ending.get_ids()[open.count()..]
}

/// The tokens of a text's beginning that the whole text begins with, too.
pub(super) fn settled(beginning: &tokenizers::Encoding) -> &[u32] {
    let words = beginning.get_word_ids();
    let last = words.last().copied().flatten();
    let ends = beginning.get_offsets().iter().map(|(_, end)| *end);
    let margin = ends.max().unwrap_or(0).saturating_sub(MARGIN);
    let open = words.iter().zip(beginning.get_offsets());
    let open = open
        .rev()
        .take_while(|(word, (_, end))| **word == last || *end > margin);
    &beginning.get_ids()[..words.len() - open.count()]
}
