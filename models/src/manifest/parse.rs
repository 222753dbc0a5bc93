//! Parses the manifest, and names the field that an error is about.

use std::path::Path;

use serde::de::{DeserializeOwned, IgnoredAny};

use crate::error::{Error, Result};

/// Parses a manifest's text.
///
/// # Errors
/// [`Error::Invalid`] names a field that is missing or has another type; [`Error::Json`] if the text is not JSON.
pub(super) fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T> {
    // serde_json calls some values of a wrong type errors of syntax, so the syntax is checked apart.
    serde_json::from_str::<IgnoredAny>(text).map_err(|source| Error::Json {
        path: path.to_path_buf(),
        source,
    })?;
    serde_json::from_str(text).map_err(|source| wrong_field(text, path, &source))
}

fn wrong_field(text: &str, path: &Path, source: &serde_json::Error) -> Error {
    let field = field_at(text, source.line(), source.column());
    let message = source.to_string();
    let missing = message.strip_prefix("missing field `");
    match missing.and_then(|rest| rest.split_once('`')) {
        Some((name, _)) => {
            let field = [field.as_str(), name].join(if field.is_empty() { "" } else { "." });
            Error::invalid(path, field, "is missing: convert the model again")
        }
        None => Error::invalid(
            path,
            field,
            format!("cannot be read ({message}): convert the model again"),
        ),
    }
}

/// An object or array that contains a position.
enum Container {
    /// With the last key before the position.
    Object(String),
    /// With the number of commas before the position.
    Array(usize),
}

/// The field that ends at a position of valid JSON, such as `decoder.heads`; empty for the whole document.
fn field_at(text: &str, line: usize, column: usize) -> String {
    let before: usize = text
        .split_inclusive('\n')
        .take(line - 1)
        .map(str::len)
        .sum();
    let end = text.len().min(before + column);
    let bytes = text.as_bytes();
    let mut containers: Vec<Container> = Vec::new();
    let mut at = 0;
    while at < end {
        match bytes[at] {
            b'{' => containers.push(Container::Object(String::new())),
            b'[' => containers.push(Container::Array(0)),
            b'}' | b']' => {
                containers.pop();
            }
            b',' => {
                if let Some(Container::Array(index)) = containers.last_mut() {
                    *index += 1;
                }
            }
            b'"' => {
                let start = at + 1;
                at = end_of_string(bytes, start);
                let is_key = text[at + 1..].trim_start().starts_with(':');
                if let (true, Some(Container::Object(key))) = (is_key, containers.last_mut()) {
                    text[start..at].clone_into(key);
                }
            }
            _ => {}
        }
        at += 1;
    }
    let names = containers.into_iter().map(|container| match container {
        Container::Object(key) => key,
        Container::Array(index) => index.to_string(),
    });
    let names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
    names.join(".")
}

/// The index of the quote that ends a string whose first character is at `at`.
fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_named_by_its_keys_and_indices() {
        let text = r#"{"a\"": 1,
            "list": [10, {"x,y": 20}, 30], "end": {"z": [40]}}"#;
        for (value, field) in [
            ("1", "a\\\""),
            ("10", "list.0"),
            ("20", "list.1.x,y"),
            ("30", "list.2"),
            ("40", "end.z.0"),
        ] {
            let start = text
                .find(&format!(" {value}"))
                .or(text.find(&format!("[{value}")));
            let before = &text[..=start.unwrap()];
            let line = before.matches('\n').count() + 1;
            let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1) + 1;
            assert_eq!(field_at(text, line, column), field, "{value}");
        }
    }
}
