//! How many tokens a text has at least, judged by its bytes: a text that is much too long is recognised before it is
//! tokenised, which takes a hundred bytes of memory for each of its own.

use tokenizers::{DecoderWrapper, Tokenizer};

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
/// A normaliser may shorten texts more than form C does, for instance if it removes blanks. Such texts count as too long if
/// they have megabytes of what is removed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    /// Bytes of the longest token.
    longest: usize,
}

impl Bound {
    pub(super) fn of(tokenizer: &Tokenizer) -> Self {
        // Byte-level vocabularies write each byte as one character, others write the text itself.
        let by_bytes = matches!(tokenizer.get_decoder(), Some(DecoderWrapper::ByteLevel(_)));
        let bytes = |token: &str| match by_bytes {
            true => token.chars().count(),
            false => token.len(),
        };
        let vocabulary = tokenizer.get_vocab(true);
        let longest = vocabulary.keys().map(|token| bytes(token)).max();
        Self {
            longest: longest.unwrap_or(1).max(1),
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
