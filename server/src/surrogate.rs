//! Finds lone surrogates in JSON, so that an error can name them.
//!
//! JSON escapes a character beyond U+FFFF as a surrogate pair, such as `\ud83d\ude00`. A program that splits texts by UTF-16
//! units may split a pair, and half a pair is not a character. serde_json reports "unexpected end of hex escape".

use std::fmt;

/// A surrogate without its other half, and its place in the document.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LoneSurrogate {
    /// The escape, such as `\ud83d`.
    escape: String,
    /// The path of the text, such as `input[3]`; empty if the document is one text.
    pub(crate) path: String,
}

impl fmt::Display for LoneSurrogate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "`{}`: ", self.path)?;
        }
        write!(
            f,
            "the escape {} is a lone surrogate, half of a character such as an emoji: the text was split within that character. \
             Split texts between characters, or replace the escape",
            self.escape
        )
    }
}

impl LoneSurrogate {
    /// The field of the document that contains the text.
    pub(crate) fn field(&self) -> Option<&str> {
        let field = self.path.split(['.', '[']).next();
        field.filter(|field| !field.is_empty())
    }
}

/// An array or object around a value.
enum Container {
    /// The index of the current item.
    Array(usize),
    /// The name of the current field, once it is read.
    Object(String),
}

/// The most arrays and objects around a text, as in serde_json. Without a limit, brackets alone would exhaust the memory.
const MAX_DEPTH: usize = 128;

/// Finds the first lone surrogate in valid JSON. Returns `None`, too, if an earlier value is nested too deep.
pub(crate) fn find(json: &[u8]) -> Option<LoneSurrogate> {
    let mut around: Vec<Container> = Vec::new();
    let mut name_follows = false;
    let mut at = 0;
    while at < json.len() {
        match json[at] {
            b'{' | b'[' if around.len() >= MAX_DEPTH => return None,
            b'"' => {
                let text = &json[at + 1..];
                let end = end_of_string(text);
                let text = &text[..end];
                if let Some(escape) = lone(text) {
                    let path = path(&around);
                    return Some(LoneSurrogate { escape, path });
                }
                if name_follows && let Some(Container::Object(name)) = around.last_mut() {
                    *name = String::from_utf8_lossy(&text[..text.len().min(64)]).into_owned();
                }
                at += end + 1;
                name_follows = false;
            }
            b'{' => {
                around.push(Container::Object(String::new()));
                name_follows = true;
            }
            b'[' => around.push(Container::Array(0)),
            b'}' | b']' => drop(around.pop()),
            b',' => match around.last_mut() {
                Some(Container::Array(item)) => *item += 1,
                Some(Container::Object(name)) => {
                    name.clear();
                    name_follows = true;
                }
                None => {}
            },
            _ => {}
        }
        at += 1;
    }
    None
}

fn path(around: &[Container]) -> String {
    let mut path = String::new();
    for within in around {
        match within {
            Container::Array(item) => path += &format!("[{item}]"),
            Container::Object(name) if path.is_empty() || name.is_empty() => path += name,
            Container::Object(name) => path += &format!(".{name}"),
        }
    }
    path
}

/// The position of the quote that ends a string.
fn end_of_string(text: &[u8]) -> usize {
    let mut at = 0;
    while at < text.len() && text[at] != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    at.min(text.len())
}

/// The first escape of a lone surrogate in a string.
fn lone(text: &[u8]) -> Option<String> {
    let mut at = 0;
    while at < text.len() {
        if text[at] != b'\\' {
            at += 1;
            continue;
        }
        match unit(&text[at..]) {
            Some(0xd800..=0xdbff) if matches!(unit(&text[at + 6..]), Some(0xdc00..=0xdfff)) => {
                at += 12;
            }
            Some(0xd800..=0xdfff) => {
                return Some(String::from_utf8_lossy(&text[at..at + 6]).into_owned());
            }
            Some(_) => at += 6,
            None => at += 2,
        }
    }
    None
}

/// The UTF-16 code unit of the escape at the beginning of `text`.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    let digits = std::str::from_utf8(digits).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates_are_found_with_their_path() {
        for (json, escape, path) in [
            (r#"{"input":"\ud83d"}"#, r"\ud83d", "input"),
            (
                r#"{"model":"\ud83d\ude00","input":["a","b\"\\","x\uDE00"]}"#,
                r"\uDE00",
                "input[2]",
            ),
            (
                r#"{"a":[1,2],"input":[["\u0041"],["b","\udc00\ud800"]]}"#,
                r"\udc00",
                "input[1][1]",
            ),
            (
                r#"{"a":{"b":"c"},"b":{"c":{"d":"\ud800x"}}}"#,
                r"\ud800",
                "b.c.d",
            ),
            (r#""\ud800\u0041""#, r"\ud800", ""),
            (r#"{"\ud800":1}"#, r"\ud800", ""),
        ] {
            let found = find(json.as_bytes()).unwrap();
            assert_eq!(
                (found.escape.as_str(), found.path.as_str()),
                (escape, path),
                "{json}"
            );
        }
    }

    #[test]
    fn values_that_are_nested_too_deep_are_not_searched() {
        for open in ["[", "{\"a\":"] {
            let nested = |depth: usize| open.repeat(depth) + r#""\ud800""#;
            assert!(find(nested(MAX_DEPTH).as_bytes()).is_some());
            assert_eq!(find(nested(MAX_DEPTH + 1).as_bytes()), None);
        }
    }

    #[test]
    fn pairs_other_escapes_and_invalid_json_have_no_lone_surrogate() {
        for json in [
            r#"{"input":"\ud83d\ude00 \u00e9 \\ud83d"}"#,
            r#"{"input":"\u12"#,
            r#"{"input":"\"#,
            "{]}\",:",
            "",
        ] {
            assert_eq!(find(json.as_bytes()), None, "{json}");
        }
    }
}
