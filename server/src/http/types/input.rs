//! The four forms of `input`: a text, texts, token ids, lists of token ids.
//!
//! Parsing takes one pass into typed vectors, because a JSON tree of a large request would need several times its size. It
//! counts items and token ids, and stops at the first one beyond the limit.

use std::cell::Cell;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::integer::Integer;

/// The most items of a request, as in OpenAI's API.
pub(crate) const MAX_ITEMS: usize = 2048;

/// A list may have this many times the token ids of the longest text. Truncation removes the others.
const EXCESS: usize = 8;

thread_local! {
    /// The longest text in tokens. serde passes no parameters to `Deserialize`.
    static LONGEST: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Runs `parse` on this thread, for models whose longest text has `longest` tokens.
pub(crate) fn with_longest<T>(longest: usize, parse: impl FnOnce() -> T) -> T {
    let before = LONGEST.replace(longest);
    let parsed = parse();
    LONGEST.set(before);
    parsed
}

/// The texts or token ids to embed; at least one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// Texts.
    Texts(Vec<String>),
    /// Token ids of the served model.
    Tokens(Vec<Vec<u32>>),
}

impl Input {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Tokens(lists) => lists.len(),
        }
    }

    /// The bytes of each text, or of each list of token ids.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = usize> {
        let (texts, lists): (&[String], &[Vec<u32>]) = match self {
            Self::Texts(texts) => (texts, &[]),
            Self::Tokens(lists) => (&[], lists),
        };
        let lists = lists.iter().map(|ids| size_of_val(ids.as_slice()));
        texts.iter().map(String::len).chain(lists)
    }
}

impl PartialSchema for Input {
    fn schema() -> RefOr<Schema> {
        let text = || {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .min_length(Some(1))
        };
        let id = || {
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .minimum(Some(0))
        };
        let ids = || ArrayBuilder::new().items(id()).min_items(Some(1));
        OneOfBuilder::new()
            .description(Some(FORMS))
            .item(text())
            .item(
                ArrayBuilder::new()
                    .items(text())
                    .min_items(Some(1))
                    .max_items(Some(MAX_ITEMS)),
            )
            .item(ids())
            .item(
                ArrayBuilder::new()
                    .items(ids())
                    .min_items(Some(1))
                    .max_items(Some(MAX_ITEMS)),
            )
            .into()
    }
}

impl ToSchema for Input {}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Forms)
    }
}

const FORMS: &str =
    "a text, an array of texts, an array of token ids, or an array of arrays of token ids";

struct Forms;

impl<'de> Visitor<'de> for Forms {
    type Value = Input;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FORMS)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Input, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Input, E> {
        Ok(Input::Texts(vec![text]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Input, A::Error> {
        match seq.next_element()? {
            None => Err(A::Error::custom(
                "the array is empty: there is nothing to embed",
            )),
            Some(Item::Text(first)) => rest(first, seq, item_fits, |item| match item {
                Item::Text(text) => Some(text),
                Item::Id(_) | Item::Ids(_) => None,
            })
            .map(Input::Texts),
            Some(Item::Ids(first)) => rest(first, seq, item_fits, |item| match item {
                Item::Ids(ids) => Some(ids),
                Item::Id(_) | Item::Text(_) => None,
            })
            .map(Input::Tokens),
            // One sequence. Its token ids are not items.
            Some(Item::Id(first)) => rest(first, seq, id_fits, |item| match item {
                Item::Id(id) => Some(id),
                Item::Ids(_) | Item::Text(_) => None,
            })
            .map(|ids| Input::Tokens(vec![ids])),
        }
    }
}

/// Reads the items after the first, which must be of the same type.
fn rest<'de, A: SeqAccess<'de>, T>(
    first: T,
    mut seq: A,
    fits: impl Fn(usize) -> Result<(), A::Error>,
    same_type: impl Fn(Item) -> Option<T>,
) -> Result<Vec<T>, A::Error> {
    let mut items = vec![first];
    while let Some(item) = seq.next_element()? {
        let index = items.len();
        fits(index)?;
        let item = same_type(item).ok_or_else(|| {
            A::Error::custom(format_args!(
                "item {index} has another type than item 0; expected {FORMS}"
            ))
        })?;
        items.push(item);
    }
    items.shrink_to_fit();
    Ok(items)
}

/// Checks that a request may have an item of this index. An error means that the following items are never stored.
fn item_fits<E: Error>(index: usize) -> Result<(), E> {
    if index < MAX_ITEMS {
        return Ok(());
    }
    Err(E::custom(format_args!(
        "too many items: a request has at most {MAX_ITEMS}"
    )))
}

/// As [`item_fits`], for a token id of a list.
fn id_fits<E: Error>(index: usize) -> Result<(), E> {
    let longest = LONGEST.get();
    let limit = longest.saturating_mul(EXCESS);
    if index < limit {
        return Ok(());
    }
    Err(E::custom(format_args!(
        "this server's maximum context length is {longest} tokens, however a list has more than {limit} token ids, which is too \
         long even for truncation: send fewer"
    )))
}

/// An item of an array.
enum Item {
    Text(String),
    Id(u32),
    Ids(Vec<u32>),
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyItem;

        impl<'de> Visitor<'de> for AnyItem {
            type Value = Item;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a token id, or an array of token ids")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Item, E> {
                Ok(Item::Text(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Item, E> {
                Ok(Item::Text(text))
            }

            fn visit_u64<E: Error>(self, id: u64) -> Result<Item, E> {
                Integer::from_u64(id).map(|Integer(id)| Item::Id(id))
            }

            fn visit_f64<E: Error>(self, id: f64) -> Result<Item, E> {
                Integer::from_f64(id).map(|Integer(id)| Item::Id(id))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Item, A::Error> {
                let mut ids = Vec::new();
                while let Some(Integer(id)) = seq.next_element()? {
                    id_fits(ids.len())?;
                    ids.push(id);
                }
                ids.shrink_to_fit();
                Ok(Item::Ids(ids))
            }
        }

        deserializer.deserialize_any(AnyItem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Input, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn all_four_forms_are_parsed() {
        let texts = |texts: &[&str]| {
            Ok(Input::Texts(
                texts.iter().map(|t| (*t).to_owned()).collect(),
            ))
        };
        assert_eq!(parse(r#""a\n""#), texts(&["a\n"]));
        assert_eq!(parse(r#"["a","ü"]"#), texts(&["a", "ü"]));
        assert_eq!(parse("[1,2.0]"), Ok(Input::Tokens(vec![vec![1, 2]])));
        assert_eq!(
            parse("[[1],[2,3]]"),
            Ok(Input::Tokens(vec![vec![1], vec![2, 3]]))
        );
    }

    #[test]
    fn other_forms_are_explained() {
        for (json, words) in [
            ("[]", "empty"),
            ("3", "array of texts"),
            (r#"["a",1]"#, "item 1 has another type"),
            ("[1,[2]]", "item 1 has another type"),
            ("[-1]", "a token id"),
            ("[1.5]", "not a whole number"),
            ("[4294967296]", "too large"),
            ("[[1],[\"a\"]]", "a whole number"),
            ("[[1.5]]", "not a whole number"),
        ] {
            let message = parse(json).unwrap_err();
            assert!(message.contains(words), "{json}: {message}");
        }
    }

    #[test]
    fn items_are_limited_and_token_ids_of_one_sequence_are_not_items() {
        let texts = |n: usize| format!("[{}]", vec!["\"a\""; n].join(","));
        assert_eq!(parse(&texts(MAX_ITEMS)).unwrap().len(), MAX_ITEMS);
        assert!(
            parse(&texts(MAX_ITEMS + 1))
                .unwrap_err()
                .contains("at most 2048")
        );
        let ids = format!("[{}]", vec!["1"; MAX_ITEMS + 1].join(","));
        assert_eq!(parse(&ids).unwrap().len(), 1);
    }

    #[test]
    fn a_list_of_token_ids_is_read_no_further_than_truncation_accepts() {
        let ids = |n: usize| format!("[{}]", vec!["1"; n].join(","));
        let limited = |json: &str| with_longest(4, || parse(json));
        let longest = Input::Tokens(vec![vec![1; 4 * EXCESS]]);
        assert_eq!(limited(&ids(4 * EXCESS)).as_ref(), Ok(&longest));
        let longer = ids(4 * EXCESS + 1);
        // Parsing ends before it reaches what is no JSON.
        let endless = longer.replace(']', ",?");
        for json in [
            longer.clone(),
            format!("[[1],{longer}]"),
            endless.clone(),
            format!("[[1],{endless}"),
        ] {
            let message = limited(&json).unwrap_err();
            assert!(
                message.contains("more than 32 token ids"),
                "{json}: {message}"
            );
        }
        assert!(parse(&longer).is_ok(), "the limit ends with its parse");
    }
}
