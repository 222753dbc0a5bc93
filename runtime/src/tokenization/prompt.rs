//! Caches the tokens of prompts, which many texts share.
//!
//! An instruction of fifty tokens stands before terms of three. All but its last tokens are the same whatever the text
//! is, if the tokenizer splits texts into words by a regular expression and tokenises each word by itself.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use tokenizers::{NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

/// Maximum number of cached prompts.
const MAX_PROMPTS: usize = 16;
/// Maximum bytes of a cached prompt.
const MAX_BYTES: usize = 4096;
/// Possible beginnings of a text: one of each kind of character that regular expressions of tokenizers distinguish.
const BEGINNINGS: [&str; 16] = [
    "a", "A", "1", " ", "  a", " a", "\n", "\n\n", "\r\n", "\t", ".", ":", "'s", "\u{301}", "中",
    "🩺",
];

/// The tokens of recent prompts.
#[derive(Debug)]
pub(super) struct PromptCache {
    /// Whether the tokenizer allows caching.
    is_possible: bool,
    recent: Mutex<VecDeque<Arc<CachedPrompt>>>,
}

#[derive(Debug)]
struct CachedPrompt {
    prompt: String,
    /// Computed when the prompt comes for the second time.
    head: Option<Option<Arc<Head>>>,
}

/// The beginning of a prompt whose tokens do not depend on what comes after it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Its tokens without special tokens.
    pub(super) ids: Vec<u32>,
    /// Its length.
    pub(super) bytes: usize,
}

impl PromptCache {
    pub(super) fn of(tokenizer: &Tokenizer) -> Self {
        Self {
            is_possible: splits_into_words(tokenizer),
            recent: Mutex::default(),
        }
    }

    /// The cached beginning of `prompt`; `None` if there is none, or the prompt comes for the first time.
    pub(super) fn head(&self, tokenizer: &Tokenizer, prompt: &str) -> Option<Arc<Head>> {
        if !self.is_possible || prompt.is_empty() || prompt.len() > MAX_BYTES {
            return None;
        }
        let known = {
            let mut recent = self.lock();
            let known = recent.iter().position(|known| known.prompt == prompt);
            let known = known.and_then(|place| recent.remove(place));
            let Some(known) = known else {
                insert(&mut recent, prompt, None);
                return None;
            };
            recent.push_front(Arc::clone(&known));
            known
        };
        if let Some(head) = &known.head {
            return head.clone();
        }
        let head = find(tokenizer, prompt).map(Arc::new);
        let mut recent = self.lock();
        recent.retain(|known| known.prompt != prompt);
        insert(&mut recent, prompt, Some(head.clone()));
        head
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<CachedPrompt>>> {
        // Nothing under the lock leaves the list half-changed.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn insert(recent: &mut VecDeque<Arc<CachedPrompt>>, prompt: &str, head: Option<Option<Arc<Head>>>) {
    let prompt = prompt.to_owned();
    recent.push_front(Arc::new(CachedPrompt { prompt, head }));
    recent.truncate(MAX_PROMPTS);
}

/// Whether words are split off from left to right, and tokenised each by itself.
fn splits_into_words(tokenizer: &Tokenizer) -> bool {
    let normalizer = tokenizer.get_normalizer();
    let composes = matches!(normalizer, None | Some(NormalizerWrapper::NFC(_)));
    let by_words = match tokenizer.get_pre_tokenizer() {
        Some(PreTokenizerWrapper::ByteLevel(bytes)) => bytes.use_regex && !bytes.add_prefix_space,
        Some(PreTokenizerWrapper::Sequence(steps)) => match steps.as_ref() {
            [
                PreTokenizerWrapper::Split(_),
                PreTokenizerWrapper::ByteLevel(bytes),
            ] => !bytes.use_regex && !bytes.add_prefix_space,
            _ => false,
        },
        _ => false,
    };
    composes && by_words
}

/// Finds the tokens and words that a prompt begins with, whatever comes after it.
fn find(tokenizer: &Tokenizer, prompt: &str) -> Option<Head> {
    let added = tokenizer.get_added_tokens_decoder();
    let mut added = added.values().map(|token| token.content.as_str());
    // A special token is not a word, and the text may complete it.
    if added.any(|token| prompt.contains(token) || overlap(prompt, token)) {
        return None;
    }
    let alone = encode(tokenizer, prompt)?;
    let mut common = alone.len();
    for beginning in BEGINNINGS {
        let longer = encode(tokenizer, &format!("{prompt}{beginning}"))?;
        let same = alone.iter().zip(&longer);
        common = common.min(same.take_while(|(a, b)| a == b).count());
    }
    // The last common word ends where another word always begins.
    let end = alone.get(common)?.bytes.start;
    let before = &alone[..common];
    let is_boundary = prompt.is_char_boundary(end) && before.last()?.word != alone[common].word;
    // What comes after blanks decides how they are split, however far away it is.
    let goes_on = prompt[end..].chars().any(|c| !c.is_whitespace());
    (is_boundary && goes_on).then(|| Head {
        ids: before.iter().map(|token| token.id).collect(),
        bytes: end,
    })
}

/// Whether `token` may begin within `text` and end after it.
fn overlap(text: &str, token: &str) -> bool {
    let parts = token.char_indices().skip(1).map(|(end, _)| &token[..end]);
    parts.into_iter().any(|part| text.ends_with(part))
}

#[derive(Debug, PartialEq, Eq)]
struct TokenSpan {
    id: u32,
    word: Option<u32>,
    bytes: Range<usize>,
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Option<Vec<TokenSpan>> {
    let encoding = tokenizer.encode(text, false).ok()?;
    let tokens = encoding.get_ids().iter().zip(encoding.get_word_ids());
    let tokens = tokens.zip(encoding.get_offsets());
    let token = |((id, word), (start, end)): ((&u32, &Option<u32>), &(usize, usize))| TokenSpan {
        id: *id,
        word: *word,
        bytes: *start..*end,
    };
    Some(tokens.map(token).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    static NANO: LazyLock<Tokenizer> = LazyLock::new(|| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/nano/tokenizer.json");
        Tokenizer::from_file(path).unwrap()
    });

    /// The tokens of the whole, and those of its two parts.
    fn both(prompt: &str, text: &str) -> Option<(Vec<u32>, Vec<u32>)> {
        let ids = |text: &str| NANO.encode_fast(text, false).unwrap().get_ids().to_vec();
        let whole = format!("{prompt}{text}");
        let head = find(&NANO, prompt)?;
        let rest = ids(&whole[head.bytes..]);
        Some((ids(&whole), [head.ids, rest].concat()))
    }

    #[test]
    fn all_but_the_last_word_of_an_instruction_is_cached() {
        let prompt = lexivec_models::with_instruction("Retrieve similar medical terms", "");
        let head = find(&NANO, &prompt).unwrap();
        assert!(prompt[head.bytes..].len() <= "Query:".len(), "{head:?}");
        for text in [
            "heart",
            " heart",
            "1",
            "\n",
            "'s",
            "<|endoftext|>",
            "e\u{301}",
        ] {
            let (whole, parts) = both(&prompt, text).unwrap();
            assert_eq!(whole, parts, "{text:?}");
        }
    }

    #[test]
    fn special_tokens_are_left_to_the_whole() {
        assert_eq!(find(&NANO, "one two <|endoftext|> three"), None);
        assert_eq!(find(&NANO, "one two three <|im_"), None);
        assert_eq!(find(&NANO, "one two three <"), None);
    }

    #[test]
    fn a_prompt_is_cached_from_its_second_time_until_others_evict_it() {
        let cache = PromptCache::of(&NANO);
        let head = |prompt: &str| cache.head(&NANO, prompt);
        assert_eq!(head("one two three:"), None);
        assert!(head("one two three:").is_some());
        assert!(head("one two three:").is_some());
        for i in 0..MAX_PROMPTS {
            assert_eq!(head(&format!("{i} two three:")), None);
        }
        assert_eq!(head("one two three:"), None);
        assert_eq!(head(&"a ".repeat(MAX_BYTES)), None);
        assert!(cache.lock().len() <= MAX_PROMPTS);
    }

    const PARTS: &str = "([ \t\r\n]{1,3}|[a-zA-Z]{1,4}|[0-9.,:;!'()<|-]{1,3}|é|e\u{301}|ñ|\u{301}|\u{327}|각|\u{1100}\u{1161}|\
                         \u{11a8}|中|文|🩺|<\\|endoftext\\|>|'s|'LL){0,8}";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn parts_have_the_tokens_of_the_whole(prompt in PARTS, text in PARTS) {
            if let Some((whole, parts)) = both(&prompt, &text) {
                prop_assert_eq!(whole, parts);
            }
        }
    }
}
