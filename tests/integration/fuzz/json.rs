//! JSON text, and mutations of it that a parser must survive.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

/// JSON that keeps what a parsed value loses: duplicate fields, and numbers and escapes as they are written.
#[derive(Debug, Clone)]
enum Json {
    Leaf(String),
    Array(Vec<Json>),
    /// Fields, with their names in quotes.
    Object(Vec<(String, Json)>),
}

/// A mutation. Positions are counted in the order of the text.
#[derive(Debug, Clone)]
pub(super) enum Mutation {
    /// Replaces a value, often by one of another type.
    Replace(Index, &'static str),
    /// Nests a value in this many arrays or objects.
    Nest(Index, usize, bool),
    /// Removes an item or field.
    Remove(Index, Index),
    /// Repeats an item or field this many times.
    Repeat(Index, Index, usize),
    /// Adds a field.
    Field(Index, &'static str, &'static str),
    /// Lengthens a text to this many bytes.
    Lengthen(Index, usize),
    /// Replaces this many bytes by others.
    Splice(Index, Vec<u8>, usize),
    /// Truncates the body.
    Truncate(Index),
}

const VALUES: [&str; 48] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-0.0",
    "-1",
    "1",
    "8",
    "9",
    "1.5",
    "1e0",
    "1E+2",
    "1e400",
    "-1e400",
    "1e-400",
    "16383",
    "16384",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "0x10",
    "01",
    "NaN",
    "-Infinity",
    "\"\"",
    "\"a\"",
    "\" \"",
    r#""\ud800""#,
    r#""\udc00\ud800""#,
    r#""\ud83d\ude00""#,
    r#""\u0000""#,
    r#""\uffff""#,
    r#""\x""#,
    "\"\u{feff}\"",
    "\"float\"",
    "\"base64\"",
    "\"end\"",
    "\"fake\"",
    "[]",
    "{}",
    "[[]]",
    "[[1],[]]",
    "[1,\"a\"]",
    "[null]",
    "{\"a\":1}",
    "'a'",
];

const NAMES: [&str; 14] = [
    "\"input\"",
    "\"inputs\"",
    "\"model\"",
    "\"dimensions\"",
    "\"encoding_format\"",
    "\"user\"",
    "\"instruction\"",
    "\"domain\"",
    "\"prompt_name\"",
    "\"truncate\"",
    "\"normalize\"",
    "\"\"",
    r#""in\u0070ut""#,
    r#""\ud800""#,
];

pub(super) fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>;
    let (values, names) = (|| select(&VALUES[..]), || select(&NAMES[..]));
    let bytes = prop::collection::vec(any::<u8>(), 0..4);
    // Around the limits: the number of items, the parser's depth, the model's maximum length.
    let times = prop_oneof![8 => 1usize..4, 1 => 2040usize..2060];
    let depth = prop_oneof![8 => 1usize..4, 1 => 100usize..140, 1 => Just(100_000)];
    let length = prop_oneof![8 => 1usize..600, 1 => Just(40_000), 1 => Just(1 << 20)];
    prop_oneof![
        (index(), values()).prop_map(|(at, value)| Mutation::Replace(at, value)),
        (index(), depth, any::<bool>())
            .prop_map(|(at, depth, object)| Mutation::Nest(at, depth, object)),
        (index(), index()).prop_map(|(at, item)| Mutation::Remove(at, item)),
        (index(), index(), times).prop_map(|(at, item, times)| Mutation::Repeat(at, item, times)),
        (index(), names(), values()).prop_map(|(at, name, value)| Mutation::Field(at, name, value)),
        (index(), length).prop_map(|(at, length)| Mutation::Lengthen(at, length)),
        (index(), bytes, 0usize..4).prop_map(|(at, bytes, gone)| Mutation::Splice(at, bytes, gone)),
        index().prop_map(Mutation::Truncate),
    ]
}

/// Applies mutations to a valid body.
pub(super) fn body(valid: &str, mutations: &[Mutation]) -> Vec<u8> {
    let mut json = Json::of(&serde_json::from_str(valid).unwrap());
    for mutation in mutations {
        json.mutate(mutation);
    }
    let mut text = String::new();
    json.write(&mut text);
    let mut bytes = text.into_bytes();
    for mutation in mutations {
        match mutation {
            Mutation::Splice(at, new, gone) => {
                let start = at.index(bytes.len() + 1);
                let end = (start + gone).min(bytes.len());
                bytes.splice(start..end, new.iter().copied());
            }
            Mutation::Truncate(at) => bytes.truncate(at.index(bytes.len() + 1)),
            _ => {}
        }
    }
    bytes
}

impl Json {
    fn of(value: &Value) -> Self {
        match value {
            Value::Array(items) => Self::Array(items.iter().map(Self::of).collect()),
            Value::Object(fields) => {
                let field = |(name, value): (&String, &Value)| {
                    (Value::from(name.as_str()).to_string(), Self::of(value))
                };
                Self::Object(fields.iter().map(field).collect())
            }
            leaf => Self::Leaf(leaf.to_string()),
        }
    }

    fn write(&self, text: &mut String) {
        match self {
            Self::Leaf(leaf) => text.push_str(leaf),
            Self::Array(items) => {
                text.push('[');
                for (place, item) in items.iter().enumerate() {
                    text.push_str(if place > 0 { "," } else { "" });
                    item.write(text);
                }
                text.push(']');
            }
            Self::Object(fields) => {
                text.push('{');
                for (place, (name, value)) in fields.iter().enumerate() {
                    text.push_str(if place > 0 { "," } else { "" });
                    text.push_str(name);
                    text.push(':');
                    value.write(text);
                }
                text.push('}');
            }
        }
    }

    fn children(&mut self) -> Vec<&mut Json> {
        match self {
            Self::Leaf(_) => Vec::new(),
            Self::Array(items) => items.iter_mut().collect(),
            Self::Object(fields) => fields.iter_mut().map(|(_, value)| value).collect(),
        }
    }

    fn count(&mut self) -> usize {
        1 + self.children().into_iter().map(Self::count).sum::<usize>()
    }

    /// The value at a position.
    fn at(&mut self, place: usize) -> &mut Json {
        if place == 0 {
            return self;
        }
        let mut before = 1;
        let child = self.children().iter_mut().position(|child| {
            let count = child.count();
            let found = place < before + count;
            before += if found { 0 } else { count };
            found
        });
        let child = self.children().swap_remove(child.unwrap());
        child.at(place - before)
    }

    fn mutate(&mut self, mutation: &Mutation) {
        let count = self.count();
        match mutation {
            Mutation::Replace(at, value) => {
                *self.at(at.index(count)) = Self::Leaf((*value).to_owned())
            }
            Mutation::Nest(at, depth, object) => {
                let value = self.at(at.index(count));
                let mut text = String::new();
                value.write(&mut text);
                let (open, close) = if *object {
                    ("{\"a\":", "}")
                } else {
                    ("[", "]")
                };
                *value = Self::Leaf(open.repeat(*depth) + &text + &close.repeat(*depth));
            }
            Mutation::Remove(at, item) => match self.at(at.index(count)) {
                Self::Array(items) if !items.is_empty() => {
                    drop(items.remove(item.index(items.len())))
                }
                Self::Object(fields) if !fields.is_empty() => {
                    drop(fields.remove(item.index(fields.len())))
                }
                _ => {}
            },
            Mutation::Repeat(at, item, times) => match self.at(at.index(count)) {
                Self::Array(items) if !items.is_empty() => {
                    let item = items[item.index(items.len())].clone();
                    items.extend(std::iter::repeat_n(item, *times));
                }
                Self::Object(fields) if !fields.is_empty() => {
                    let field = fields[item.index(fields.len())].clone();
                    fields.extend(std::iter::repeat_n(field, *times));
                }
                _ => {}
            },
            Mutation::Field(at, name, value) => {
                if let Self::Object(fields) = self.at(at.index(count)) {
                    fields.push(((*name).to_owned(), Self::Leaf((*value).to_owned())));
                }
            }
            Mutation::Lengthen(at, length) => {
                if let Self::Leaf(leaf) = self.at(at.index(count))
                    && leaf.starts_with('"')
                {
                    *leaf = format!("\"{}\"", "a ".repeat(*length / 2));
                }
            }
            Mutation::Splice(..) | Mutation::Truncate(_) => {}
        }
    }
}
