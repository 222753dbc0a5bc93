//! Texts from .txt, .jsonl, .csv, .tsv and .parquet files, or standard input, one row at a time.
//!
//! A row is a line, or a record of a table. Callers match vectors to rows by number, so the reader does not skip a row without a text,
//! and reports it as an error with its place.

use std::collections::VecDeque;
use std::io::{BufRead, Read};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use csv::ByteRecord;
use lexivec_models::text::without_mark;
use serde_json::Value;

use super::file_format::{InputFormat, is_special, is_stdin};
use super::json_field::{JsonFieldError, json_fields, json_object, kind};
use super::parquet::{self, Carried};
use super::table::{MAX_ROW_BYTES, Row, Table, missing};
use crate::surrogate;

/// A text and its place, for messages: `terms.csv:12`.
#[derive(Debug, Clone)]
pub struct Text {
    /// The text.
    pub text: String,
    /// File and line.
    pub place: String,
    /// All columns of the row, for an output that has them, too.
    pub(super) carried: Option<Carried>,
}

/// A row without a text.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// The line, or the field, is empty.
    #[error(
        "{place}: there is no text in this row. Skipping it would shift the rows after it: fill it, remove it, or pass \
         --skip-empty to skip all empty rows"
    )]
    Empty {
        /// File and line.
        place: String,
    },
    /// The row cannot be read; the next one can.
    #[error("{place}: {reason}")]
    Bad {
        /// File and line.
        place: String,
        /// What is wrong.
        reason: String,
        /// The row as it stands in the file, as far as it is text.
        text: String,
    },
    /// The file cannot be read, or its rest cannot.
    #[error(transparent)]
    File(anyhow::Error),
}

pub(super) type Rows = Box<dyn Iterator<Item = Result<Text, RowError>>>;

/// A source of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
enum TextSource {
    Stdin(InputFormat),
    File(PathBuf, InputFormat),
}

/// The rows of several files, one file after another; a file is opened when it is reached.
pub struct Reader {
    sources: VecDeque<TextSource>,
    field: String,
    column: String,
    carry: bool,
    current: Option<Rows>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// Reads `files`, or standard input if there are none. `format` is the format of all of them. By default the endings decide, and
    /// standard input holds lines.
    ///
    /// # Errors
    /// The ending of a file is unknown, or standard input is named twice.
    pub fn new(
        files: &[PathBuf],
        format: Option<InputFormat>,
        field: &str,
        column: &str,
    ) -> Result<Self, String> {
        let mut sources = VecDeque::new();
        for file in files {
            let format = format.map_or_else(|| InputFormat::of(file), Ok)?;
            sources.push_back(if is_stdin(file) {
                TextSource::Stdin(format)
            } else {
                TextSource::File(file.clone(), format)
            });
        }
        if files.is_empty() {
            sources.push_back(TextSource::Stdin(format.unwrap_or(InputFormat::Lines)));
        }
        let is_stdin = |source: &&TextSource| matches!(source, TextSource::Stdin(_));
        if sources.iter().filter(is_stdin).count() > 1 {
            return Err("standard input is named twice, and can only be read once".to_owned());
        }
        Ok(Self {
            sources,
            field: field.to_owned(),
            column: column.to_owned(),
            carry: false,
            current: None,
        })
    }

    /// Reads all columns of tables, for an output that has them, too.
    pub(super) fn carry_columns(&mut self) {
        self.carry = true;
    }

    /// The files that are read.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let name = |source: &TextSource| match source {
            TextSource::Stdin(_) => "/dev/stdin".into(),
            TextSource::File(path, _) => path.clone(),
        };
        self.sources.iter().map(name).collect()
    }

    /// Whether it reads standard input.
    #[must_use]
    pub fn reads_stdin(&self) -> bool {
        let mut sources = self.sources.iter();
        sources.any(|source| matches!(source, TextSource::Stdin(_)))
    }

    /// Reads every file once before the work starts, and passes each row without a text to `judge`. Returns the number of rows with a
    /// text, or `None` if it reads standard input or a pipe, which can be read only once.
    ///
    /// # Errors
    /// A file is missing or cannot be read, or `judge` returns an error.
    pub fn check(
        &self,
        mut judge: impl FnMut(RowError) -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<u64>> {
        let mut count = Some(0);
        // Reading the first file may take long, so all files are opened before.
        for source in &self.sources {
            if let TextSource::File(path, _) = source
                && !is_special(path)
            {
                drop(self.open(source, false)?);
            }
        }
        for source in &self.sources {
            match source {
                TextSource::File(path, _) if !is_special(path) => {
                    for row in self.open(source, false)? {
                        match row {
                            Ok(_) => count = count.map(|count| count + 1),
                            Err(RowError::File(error)) => return Err(error),
                            Err(error) => judge(error)?,
                        }
                    }
                }
                TextSource::File(..) | TextSource::Stdin(_) => count = None,
            }
        }
        Ok(count)
    }

    fn open(&self, source: &TextSource, carry: bool) -> anyhow::Result<Rows> {
        match source {
            TextSource::Stdin(format) => {
                let name = "standard input".to_owned();
                self.rows(std::io::stdin(), name, *format, carry)
            }
            TextSource::File(path, InputFormat::Parquet) if !is_special(path) => {
                parquet::texts(path, &self.column, carry)
            }
            TextSource::File(path, format) => {
                let file = fs_err::File::open(path)?;
                if file.metadata()?.is_dir() {
                    return Err(anyhow!("{}: this is a folder, not a file", path.display()));
                }
                self.rows(file, path.display().to_string(), *format, carry)
            }
        }
    }

    fn rows(
        &self,
        source: impl Read + 'static,
        name: String,
        format: InputFormat,
        carry: bool,
    ) -> anyhow::Result<Rows> {
        let source = without_mark(source).with_context(|| name.clone())?;
        match format {
            InputFormat::Lines => Ok(Box::new(Lines::new(source, name).map(one_line))),
            InputFormat::JsonLines => Ok(json_lines(source, name, self.field.clone())),
            InputFormat::Csv => table_column(source, name, b',', &self.column, carry),
            InputFormat::Tsv => table_column(source, name, b'\t', &self.column, carry),
            InputFormat::Parquet => Err(anyhow!(
                "{name}: Parquet is read from its end, so it must be in a file"
            )),
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Text, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.current.as_mut().and_then(Iterator::next) {
                return Some(row);
            }
            let source = self.sources.pop_front()?;
            match self.open(&source, self.carry) {
                Ok(rows) => self.current = Some(rows),
                Err(error) => return Some(Err(RowError::File(error))),
            }
        }
    }
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

/// A text, or an error if it has only white space. All formats share this rule.
pub(crate) fn filled(text: &str, place: String) -> Result<Text, RowError> {
    if text.trim().is_empty() {
        return Err(RowError::Empty { place });
    }
    Ok(Text {
        text: text.to_owned(),
        place,
        carried: None,
    })
}

fn json_lines(source: impl BufRead + 'static, name: String, field: String) -> Rows {
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
    let names = fields.into_iter().map(|(name, _)| name).collect();
    missing("field", field, names)
}

fn table_column(
    source: impl BufRead + 'static,
    name: String,
    delimiter: u8,
    column: &str,
    carry: bool,
) -> anyhow::Result<Rows> {
    let table = Table::new(source, delimiter).with_context(|| name.clone())?;
    let index = table
        .column(column)
        .map_err(|error| anyhow!("{name}: {error} (--column)"))?;
    let columns: Arc<[String]> = table.columns().into();
    Ok(Box::new(table.map(move |row| {
        let (line, row) = row.map_err(|error| RowError::File(error.context(name.clone())))?;
        let place = format!("{name}:{line}");
        let bad = |reason: &str, text: &[u8]| RowError::Bad {
            place: place.clone(),
            reason: reason.to_owned(),
            text: String::from_utf8_lossy(text).into_owned(),
        };
        match row {
            Row::Blank => Err(RowError::Empty { place }),
            Row::Uneven(record, reason) => Err(bad(&reason, &as_csv(&record))),
            Row::Fields(fields) => {
                let field = fields.get(index).unwrap_or_default();
                let Ok(text) = std::str::from_utf8(field) else {
                    return Err(bad("the field is not UTF-8 text", field));
                };
                let carried = match carry {
                    false => None,
                    true => match parquet::carried(&columns, &fields) {
                        Some(carried) => Some(carried),
                        None => return Err(bad("the row is not UTF-8 text", &as_csv(&fields))),
                    },
                };
                let text = filled(text, place)?;
                Ok(Text { carried, ..text })
            }
        }
    })))
}

/// A record as a line of a file, without the line's end.
fn as_csv(record: &ByteRecord) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing into memory cannot fail.
    let _ = writer.write_byte_record(record);
    let mut line = writer.into_inner().unwrap_or_default();
    line.truncate(line.trim_ascii_end().len());
    line
}

#[cfg(test)]
mod tests;
