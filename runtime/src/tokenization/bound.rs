//! A lower bound of a text's tokens, from its bytes. A text that is much too long is rejected before it is tokenised,
//! which takes a hundred bytes of memory per byte.

use tokenizers::{DecoderWrapper, Model as _, NormalizerWrapper, Tokenizer};

/// Normalisation form C makes a text at most three times shorter (Unicode Standard Annex 15: three Hangul letters
/// become one syllable). ASCII does not change.
const COMPOSITION: usize = 3;
/// Few texts have more bytes per token. This many bytes per allowed token usually show whether a longer text is too
/// long.
const DENSE: usize = 16;
/// The last tokens of a truncated text may differ from the whole text's: those of the last word, and parts of a
/// special token, which are shorter than this.
const MARGIN: usize = 64;

/// The bytes of a tokenizer's longest token, which bound the tokens of a text.
///
/// There is no bound for tokenizers whose tokens do not stand for all bytes of a text: those with an unknown token, or
/// with a normaliser that shortens texts more than form C does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    /// Bytes of the longest token.
    longest: usize,
}

impl Bound {
    /// The bound of a tokenizer for a model with this many token ids.
    pub(super) fn of(tokenizer: &Tokenizer, ids: usize) -> Self {
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
        // A byte-level vocabulary writes each byte as one character. Added tokens are written as they are.
        let model = tokenizer.get_model();
        let learned = (0..u32::try_from(ids).unwrap_or(u32::MAX))
            .filter_map(|id| Some(model.id_to_token(id)?.chars().count()));
        let added = tokenizer.get_added_tokens_decoder();
        let added = added.values().map(|token| token.content.len());
        Self {
            longest: learned.chain(added).max().unwrap_or(1).max(1),
        }
    }

    /// The maximum bytes of a text like this one with at most this many tokens.
    pub(super) fn most_bytes(self, text: &str, tokens: usize) -> usize {
        let most = tokens.saturating_mul(self.longest);
        if text.is_ascii() {
            most
        } else {
            most.saturating_mul(COMPOSITION)
        }
    }

    /// The minimum tokens of this text.
    pub(super) fn least_tokens(self, text: &str) -> usize {
        text.len().div_ceil(self.most_bytes(text, 1))
    }

    /// The beginning of a text that usually shows whether the text has more than this many tokens; `None` for shorter
    /// texts.
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

/// The last tokens of a text's ending that are also the last tokens of the whole text.
pub(super) fn settled_ending(ending: &tokenizers::Encoding) -> &[u32] {
    let words = ending.get_word_ids();
    let first = words.first().copied().flatten();
    let open = words.iter().zip(ending.get_offsets());
    let open = open.take_while(|(word, (start, _))| **word == first || *start < MARGIN);
    &ending.get_ids()[open.count()..]
}

/// The first tokens of a text's beginning that are also the first tokens of the whole text.
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
