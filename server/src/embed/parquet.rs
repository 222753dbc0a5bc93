//! Parquet files in and out.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use csv::ByteRecord;
use lexivec_tables::{Row, Settings, Table, Texts, Writer};

use super::output::Partial;
use super::read::{RowError, Rows, Text, filled};
use super::record::Record;

/// Whether this build reads and writes Parquet.
pub(super) const IS_BUILT: bool = true;
/// The message of builds that do not.
pub(super) const MISSING: &str = "";

/// The columns of a row.
pub(super) type Carried = Row;

/// The texts of a column of a file, which `path` names. Rows are counted from 0. `copy` is the open copy of an object, to which no path
/// leads.
///
/// # Errors
/// The file cannot be read, or has no such column of texts.
pub(super) fn texts(
    path: &Path,
    copy: Option<File>,
    column: &str,
    carry: bool,
) -> anyhow::Result<Rows> {
    let table = match copy {
        Some(file) => Table::of_file(file, path)?,
        None => Table::open(path)?,
    };
    let texts = Texts::new(&table, column, carry);
    let texts = texts.map_err(|error| with_flag(error, "--column"))?;
    let name = path.display().to_string();
    Ok(Box::new(texts.map(move |row| {
        let row = row.map_err(|error| {
            RowError::File(anyhow!(
                "{error}. Rows are decoded together, so --on-error skip cannot leave single ones of them out: write the file again"
            ))
        })?;
        let place = format!("{name}: row {}", row.row);
        let text = filled(&row.text.unwrap_or_default(), place)?;
        Ok(Text {
            carried: row.carried,
            ..text
        })
    })))
}

/// The error, with the flag that names another column if that would help.
pub(crate) fn with_flag(error: lexivec_tables::Error, flag: &str) -> anyhow::Error {
    match error.is_of_column() {
        true => anyhow!("{error} ({flag})"),
        false => error.into(),
    }
}

/// The row of a table of texts; `None` if it is not UTF-8.
pub(super) fn carried(columns: &Arc<[String]>, fields: &ByteRecord) -> Option<Carried> {
    let fields = fields.iter().map(|field| std::str::from_utf8(field).ok());
    let fields: Option<Vec<&str>> = fields.collect();
    let fields = fields?.into_iter().map(str::to_owned).collect();
    Some(Row::of_texts(columns, fields))
}

/// The columns of a row, which are those of its table, or else its text.
fn row_of(text: &Text, column: &Arc<[String]>) -> Row {
    match &text.carried {
        Some(carried) => carried.clone(),
        None => Row::of_texts(column, vec![text.text.clone()]),
    }
}

/// The column of texts that have no others.
fn text_column() -> Arc<[String]> {
    ["text".to_owned()].into()
}

/// Checks that rows with the columns of these ones can be written to one file, with vectors in a column of this name.
///
/// # Errors
/// The columns cannot be written, a column has the name of that of the vectors, or rows have different columns.
pub(super) fn check(rows: &[Text], vector_column: &str) -> anyhow::Result<()> {
    let column = text_column();
    let mut rows = rows.iter().map(|row| row_of(row, &column));
    let Some(first) = rows.next() else {
        return Ok(());
    };
    let settings = Settings {
        vector_column: vector_column.to_owned(),
        width: 1,
        metadata: Vec::new(),
    };
    let writer = Writer::new(std::io::sink(), &first, settings);
    let writer = writer.map_err(|error| with_flag(error, "--vector-column"))?;
    for row in rows {
        writer.check(&row)?;
    }
    Ok(())
}

/// How long vectors wait for their row group to fill, before they are kept in a smaller one.
const MOST_WAIT: Duration = Duration::from_mins(5);

/// A .parquet file that is being written.
#[derive(Debug)]
pub(super) struct ParquetOutput {
    state: State,
    settings: Settings,
    /// The column of texts that have no others.
    text: Arc<[String]>,
    /// When the last row group was kept, or the file was opened.
    kept: Instant,
    most_wait: Duration,
}

#[derive(Debug)]
enum State {
    /// No row has come yet. The footer is that of an unfinished file.
    Waiting(Box<Partial>, Option<Vec<u8>>),
    Writing(Box<Writer<Partial>>),
    /// Starting the file failed.
    Failed,
}

impl ParquetOutput {
    /// # Errors
    /// The record of an unfinished file is damaged.
    pub(super) fn new(partial: Partial, record: Option<&Record>) -> anyhow::Result<Self> {
        let footer = record.and_then(|record| record.footer.as_ref());
        let footer = footer.map(|footer| BASE64_STANDARD.decode(footer));
        let footer = footer
            .transpose()
            .context("the record of the unfinished job")?;
        Ok(Self {
            state: State::Waiting(Box::new(partial), footer),
            settings: Settings {
                vector_column: String::new(),
                width: 0,
                metadata: Vec::new(),
            },
            text: text_column(),
            kept: Instant::now(),
            most_wait: MOST_WAIT,
        })
    }

    pub(super) fn describe(&mut self, column: &str, metadata: Vec<(String, String)>) {
        column.clone_into(&mut self.settings.vector_column);
        self.settings.metadata = metadata;
    }

    fn partial(&self) -> Option<&Partial> {
        match &self.state {
            State::Waiting(partial, _) => Some(partial),
            State::Writing(writer) => Some(writer.sink()),
            State::Failed => None,
        }
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        let files = self.partial().map(Partial::files);
        files.map_or(Vec::new(), |files| files.map(Path::to_path_buf).into())
    }

    pub(super) fn kept(&self) -> Option<&Path> {
        self.partial()?.kept()
    }

    /// Starts or continues the file. `first` decides the columns of a new one.
    fn writer(
        &mut self,
        first: Option<&Row>,
        width: usize,
    ) -> anyhow::Result<&mut Writer<Partial>> {
        if matches!(self.state, State::Waiting(..))
            && let State::Waiting(partial, footer) =
                std::mem::replace(&mut self.state, State::Failed)
        {
            self.settings.width = width;
            let settings = self.settings.clone();
            let writer = match (footer, first) {
                (Some(footer), _) => {
                    let [_, path, _] = partial.files();
                    let (written, _) = fs_err::File::open(path)?.into_parts();
                    Writer::resume(*partial, &written, footer, settings)
                        .context("the unfinished output cannot be continued")?
                }
                (None, Some(first)) => Writer::new(*partial, first, settings)
                    .map_err(|error| with_flag(error, "--vector-column"))?,
                (None, None) => return Err(anyhow!("there is no row")),
            };
            self.state = State::Writing(Box::new(writer));
        }
        match &mut self.state {
            State::Writing(writer) => Ok(writer),
            _ => Err(anyhow!("the output could not be started")),
        }
    }

    pub(super) fn push(&mut self, row: &Text, vector: &[f32]) -> anyhow::Result<()> {
        let row = row_of(row, &self.text);
        let writer = self.writer(Some(&row), vector.len())?;
        Ok(writer.push(row, vector)?)
    }

    /// Completes a row group and saves the record, if the row group is full, the job's `last`, or has waited long. Returns whether it did.
    pub(super) fn keep(&mut self, record: Record, last: bool) -> anyhow::Result<bool> {
        let State::Writing(writer) = &mut self.state else {
            return Ok(false);
        };
        if !last && !writer.is_full() && self.kept.elapsed() < self.most_wait {
            return Ok(false);
        }
        writer.complete()?;
        let footer = Some(BASE64_STANDARD.encode(writer.footer()?));
        writer.sink_mut().keep(Record { footer, ..record })?;
        self.kept = Instant::now();
        Ok(true)
    }

    /// Completes the file, whose vectors have this width.
    pub(super) fn finish(mut self, width: usize) -> anyhow::Result<()> {
        self.writer(None, width)?;
        match self.state {
            State::Writing(writer) => writer.finish()?.finish(&[]),
            _ => Err(anyhow!("the output could not be started")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_that_have_waited_long_are_kept_in_a_small_row_group() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        let open = || {
            let (partial, record) = Partial::open(&path, true).unwrap();
            let output = ParquetOutput::new(partial, record.as_ref()).unwrap();
            (output, record.map_or(0, |record| record.rows))
        };
        let push = |output: &mut ParquetOutput| {
            output.describe("embedding", Vec::new());
            let text = filled("heart", String::new()).unwrap();
            output.push(&text, &[1.0, 2.0]).unwrap();
        };
        let rows = |rows: usize| Record {
            rows,
            ..Record::default()
        };
        let (mut output, _) = open();
        push(&mut output);
        assert!(!output.keep(rows(1), false).unwrap());
        output.most_wait = Duration::ZERO;
        assert!(output.keep(rows(1), false).unwrap());
        drop(output);
        let (mut output, kept) = open();
        assert_eq!(kept, 1);
        push(&mut output);
        output.finish(2).unwrap();
        assert_eq!(Table::open(&path).unwrap().rows(), 2);
    }
}
