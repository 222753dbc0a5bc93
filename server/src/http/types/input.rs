//! The four forms of `input`: a text, texts, token ids, lists of token ids.
//!
//! Parsing takes one pass into typed vectors, because a JSON tree of a large request would need several times its size. It
//! counts items, and stops at the first item beyond the limit.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::integer::Integer;

/// The most items of a request, as in OpenAI's API.
pub(crate) const MAX_ITEMS: usize = 2048;

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
            Some(Item::Text(first)) => rest(first, seq, MAX_ITEMS, |item| match item {
                Item::Text(text) => Some(text),
                Item::Id(_) | Item::Ids(_) => None,
            })
            .map(Input::Texts),
            Some(Item::Ids(first)) => rest(first, seq, MAX_ITEMS, |item| match item {
                Item::Ids(ids) => Some(ids),
                Item::Id(_) | Item::Text(_) => None,
            })
            .map(Input::Tokens),
            // One sequence. The model's maximum length limits it, not the number of items.
            Some(Item::Id(first)) => rest(first, seq, usize::MAX, |item| match item {
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
    limit: usize,
    same_type: impl Fn(Item) -> Option<T>,
) -> Result<Vec<T>, A::Error> {
    let mut items = vec![first];
    while let Some(item) = seq.next_element()? {
        let index = items.len();
        // An error here means that the following items are never stored.
        if index == limit {
            return Err(A::Error::custom(format_args!(
                "too many items: a request has at most {limit}"
            )));
        }
        let item = same_type(item).ok_or_else(|| {
            A::Error::custom(format_args!(
                "item {index} has another type than item 0; expected {FORMS}"
            ))
        })?;
        items.push(item);
    }
    Ok(items)
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
                    ids.push(id);
                }
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
}
