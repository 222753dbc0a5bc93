//! Texts from .txt, .jsonl, .csv, .tsv, .parquet and .arrow files, objects, or standard input, one row at a time.
//!
//! An object is copied to this machine when its turn comes, and the next one while it is read. So only the first object is opened before the
//! work starts.
//!
//! A row is a line, or a record of a table. Callers match vectors to rows by number, so the reader does not skip a row without a text,
//! and reports it as an error with its place.

mod column;
mod lines;

use std::collections::VecDeque;
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use lexivec_models::text::without_mark;

use super::file_format::{InputFormat, is_special, is_stdin};
use super::inputs::Input;
use super::location::{is_url, only_texts};
use super::parquet::{self, Carried};
use super::store::Object;

pub(crate) use lines::json_reason;

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
#[derive(Debug)]
enum TextSource {
    Stdin(InputFormat),
    File(PathBuf, InputFormat),
    Object(Object, InputFormat),
}

impl TextSource {
    /// Whether it can be opened again at its beginning.
    fn is_seekable(&self) -> bool {
        match self {
            Self::Stdin(_) => false,
            Self::File(path, _) => !is_special(path),
            Self::Object(..) => true,
        }
    }
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
        if let Some(url) = files.iter().find(|file| is_url(file)) {
            return Err(only_texts(url));
        }
        let files = files.iter().cloned().map(Input::File).collect();
        Self::of(files, format, field, column)
    }

    /// Reads files and objects, as [`new`](Self::new) does.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub(crate) fn of(
        inputs: Vec<Input>,
        format: Option<InputFormat>,
        field: &str,
        column: &str,
    ) -> Result<Self, String> {
        let mut sources = VecDeque::new();
        for input in inputs {
            let format = format.map_or_else(|| InputFormat::of(input.name()), Ok)?;
            sources.push_back(match input {
                Input::File(path) if is_stdin(&path) => TextSource::Stdin(format),
                Input::File(path) => TextSource::File(path, format),
                Input::Object(object) => TextSource::Object(object, format),
            });
        }
        if sources.is_empty() {
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

    /// The files that are read, and the URLs of objects.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let name = |source: &TextSource| match source {
            TextSource::Stdin(_) => "/dev/stdin".into(),
            TextSource::File(path, _) => path.clone(),
            TextSource::Object(object, _) => object.url().into(),
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
    /// text, or `None` if it reads standard input or a pipe, which can be read only once, or objects, of which the first one is opened.
    ///
    /// # Errors
    /// A file is missing or cannot be read, or `judge` returns an error.
    pub fn check(
        &self,
        mut judge: impl FnMut(RowError) -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<u64>> {
        let mut count = Some(0);
        // Reading the first file may take long, so all files are opened before.
        for source in self.checked_sources() {
            drop(self.open(source, false)?);
        }
        for source in &self.sources {
            if !source.is_seekable() || matches!(source, TextSource::Object(..)) {
                count = None;
                continue;
            }
            for row in self.open(source, false)? {
                match row {
                    Ok(_) => count = count.map(|count| count + 1),
                    Err(RowError::File(error)) => return Err(error),
                    Err(error) => judge(error)?,
                }
            }
        }
        Ok(count)
    }

    /// The first row with a text of each file that is opened before the work starts, with all of its columns.
    ///
    /// # Errors
    /// A file cannot be opened.
    pub(super) fn first_rows(&self) -> anyhow::Result<Vec<Text>> {
        let mut first = Vec::new();
        for source in self.checked_sources() {
            let rows = self.open(source, true)?;
            // Nothing can be read after such an error.
            let rows = rows.take_while(|row| !matches!(row, Err(RowError::File(_))));
            first.extend(rows.filter_map(Result::ok).next());
        }
        Ok(first)
    }

    /// The sources that are opened before the work starts: those that can be read twice, and one object of them.
    fn checked_sources(&self) -> impl Iterator<Item = &TextSource> {
        let mut objects = 0;
        self.sources.iter().filter(move |source| {
            objects += usize::from(matches!(source, TextSource::Object(..)));
            source.is_seekable() && (objects < 2 || !matches!(source, TextSource::Object(..)))
        })
    }

    fn open(&self, source: &TextSource, carry: bool) -> anyhow::Result<Rows> {
        match source {
            TextSource::Stdin(format) => {
                let name = "standard input".to_owned();
                self.rows(std::io::stdin(), name, *format, carry)
            }
            TextSource::File(path, InputFormat::Parquet | InputFormat::Arrow)
                if !is_special(path) =>
            {
                parquet::texts(path, None, &self.column, carry)
            }
            TextSource::Object(object, format) => {
                let file = object.file()?;
                match format {
                    InputFormat::Parquet | InputFormat::Arrow => {
                        parquet::texts(object.url().as_ref(), Some(file), &self.column, carry)
                    }
                    format => self.rows(file, object.url().to_owned(), *format, carry),
                }
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
            InputFormat::Lines => Ok(lines::texts(source, name)),
            InputFormat::JsonLines => Ok(lines::json_lines(source, name, self.field.clone())),
            InputFormat::Csv => column::texts(source, name, b',', &self.column, carry),
            InputFormat::Tsv => column::texts(source, name, b'\t', &self.column, carry),
            InputFormat::Parquet | InputFormat::Arrow => Err(anyhow!(
                "{name}: Parquet and Arrow are read from their end, so it must be in a file"
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
            // Frees the copy of an object before the next one is fetched.
            self.current = None;
            let source = self.sources.pop_front()?;
            match self.open(&source, self.carry) {
                Ok(rows) => self.current = Some(rows),
                Err(error) => return Some(Err(RowError::File(error))),
            }
            if let Some(TextSource::Object(next, _)) = self.sources.front() {
                next.fetch();
            }
        }
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

#[cfg(test)]
mod tests;
