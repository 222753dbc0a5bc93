//! Texts of lines: a text each, or a JSON object.

use std::io::{BufRead, Read as _};

use anyhow::anyhow;
use serde_json::Value;

use super::super::json_field::{JsonFieldError, json_fields, json_object, kind};
use super::super::table::{MAX_ROW_BYTES, missing};
use super::{RowError, Rows, Text, filled};
use crate::surrogate;

/// A text per line.
pub(super) fn texts(source: impl BufRead + 'static, name: String) -> Rows {
    Box::new(Lines::new(source, name).map(one_line))
}

/// A JSON object per line, whose field `field` has the text.
pub(super) fn json_lines(source: impl BufRead + 'static, name: String, field: String) -> Rows {
    Box::new(Lines::new(source, name).map(move |line| {
        let Text {
            text: line, place, ..
        } = line?;
        let reason = match json_fields(&line, [&field]) {
            Ok([Some(Value::String(text))]) => return filled(&text, place),
            Ok([Some(Value::Null)]) => return filled("", place),
            Ok([Some(value)]) => format!(
                "the field `{field}` holds {}, and a text is needed (--field)",
                kind(&value)
            ),
            Ok([None]) => format!("{} (--field)", no_field(&line, &field)),
            Err(error) => json_reason(&error, &line),
        };
        Err(RowError::Bad {
            place,
            reason,
            text: line,
        })
    }))
}

/// The message of a line whose fields cannot be read. It names a lone surrogate, which the JSON parser does not.
pub(crate) fn json_reason(error: &JsonFieldError, line: &str) -> String {
    match (error, surrogate::find(line.as_bytes())) {
        (JsonFieldError::NotJson(_), Some(lone)) => lone.to_string(),
        _ => error.to_string(),
    }
}

/// The message that an object has no such field, with the fields that it has.
fn no_field(line: &str, field: &str) -> String {
    let fields = json_object(line).unwrap_or_default();
    let names: Vec<String> = fields.into_iter().map(|(name, _)| name).collect();
    missing("field", field, &names)
}

/// Lines without their ends, `\n` or `\r\n`.
struct Lines<R> {
    source: R,
    name: String,
    count: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn new(source: R, name: String) -> Self {
        Self {
            source,
            name,
            count: 0,
            line: Vec::new(),
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Text, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.line.clear();
        self.count += 1;
        let place = format!("{}:{}", self.name, self.count);
        let mut bounded = self.source.by_ref().take(MAX_ROW_BYTES as u64 + 1);
        match bounded.read_until(b'\n', &mut self.line) {
            Ok(0) => return None,
            Ok(_) if self.line.len() > MAX_ROW_BYTES => {
                let reason = format!(
                    "{place}: the line is longer than {} MiB",
                    MAX_ROW_BYTES >> 20
                );
                return Some(Err(RowError::File(anyhow!(reason))));
            }
            Ok(_) => {}
            Err(error) => return Some(Err(RowError::File(anyhow!(error).context(place)))),
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Some(match std::str::from_utf8(line) {
            Ok(text) => filled(text, place),
            Err(_) => Err(RowError::Bad {
                place,
                reason: "the line is not UTF-8 text".to_owned(),
                text: String::from_utf8_lossy(line).into_owned(),
            }),
        })
    }
}

/// Rejects a carriage return within a line. Old Mac files end lines with it, and many programs (Python's `open` among them) count
/// it as a line's end. Accepting it would give fewer rows than those programs count.
fn one_line(row: Result<Text, RowError>) -> Result<Text, RowError> {
    match row {
        Ok(Text { text, place, .. }) if text.contains('\r') => Err(RowError::Bad {
            place,
            reason: "the line has a carriage return within it, which many programs count as the end of a line: end lines with \
                     \\n or \\r\\n, or write texts of several lines as .jsonl"
                .to_owned(),
            text,
        }),
        row => row,
    }
}
