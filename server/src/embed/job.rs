//! The work of `lexivec embed`: reads rows, embeds them chunk by chunk, and writes vectors.
//!
//! The texts of a chunk are sorted by length and run together. Memory holds two chunks, however long the input is: one is computed while
//! the other is read or written. After each chunk, a job that writes to a file can be resumed.

mod description;
mod input;
mod parts;

pub(super) use description::Description;

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use lexivec_runtime::{Engine, Request};

use super::chunk::{CHUNKS_IN_FLIGHT, MOST_TEXTS, Numbered, Submitted};
use super::errors::Rejects;
use super::output::beside;
use super::parquet;
use super::parts::Parts;
use super::read::{Reader, RowError};
use super::record::{Counts, Position, Record};
use super::settings::{Done, OnError, Settings};
use super::write::{OutputFormat, Writer};
use crate::paths::check_output;
use crate::projections::ProjectionFile;
use crate::stdio::Closed;

/// The most texts that a job submits before it waits: the room that it needs in the engine's queue.
pub const MOST_QUEUED: usize = CHUNKS_IN_FLIGHT * MOST_TEXTS;

/// A job whose inputs and output are open, and that has no model yet.
#[derive(Debug)]
pub struct Job {
    reader: Reader,
    writer: Writer,
    format: OutputFormat,
    rejects: Rejects,
    on_error: OnError,
    skip_empty: bool,
    projection: Option<Arc<ProjectionFile>>,
    vector_column: String,
    resume: bool,
    /// The folder of an output in parts, of which `writer` writes one.
    parts: Option<Parts>,
    /// What a file of vectors says about them.
    description: Vec<(String, String)>,
    found: Option<Record>,
    /// How far the input is read.
    position: Position,
    /// How far vectors are written.
    record: Record,
    /// Rows of the input, where they could be counted.
    pub rows: Option<u64>,
}

impl Job {
    /// Checks all inputs as far as they can be read twice, and opens the output.
    ///
    /// # Errors
    /// A file cannot be read or written, or a row is wrong and [`OnError::Stop`] is set.
    pub fn open(
        mut reader: Reader,
        format: OutputFormat,
        settings: &Settings<'_>,
    ) -> anyhow::Result<Self> {
        if format == OutputFormat::Parquet {
            reader.carry_columns();
        }
        if let Some(output) = settings.output {
            check_output(output, reader.files().iter().map(PathBuf::as_path))?;
        }
        let skip_empty = settings.skip_empty;
        let rows = reader.check(|error| match (&error, settings.on_error) {
            (RowError::Empty { .. }, _) if skip_empty => Ok(()),
            (_, OnError::Skip) => Ok(()),
            (_, OnError::Stop) => Err(error.into()),
        })?;
        if format == OutputFormat::Parquet {
            parquet::check(&reader.first_rows()?, settings.vector_column)?;
        }
        let parts = match (settings.output, settings.part_rows) {
            (Some(folder), Some(rows)) => {
                let inputs = reader.files();
                let parts = Parts::open(folder, format, rows, &inputs, settings.resume)?;
                Some(parts)
            }
            _ => None,
        };
        let part = parts.as_ref().map(Parts::next);
        let file = part.as_deref().or(settings.output);
        let (writer, found) = Writer::create(file, format, settings.resume)?;
        let found = found.or_else(|| parts.as_ref()?.progress());
        let named = || settings.output.map(|path| beside(path, ".errors.jsonl"));
        let is_file = writer.is_file();
        let errors = settings.errors.map(Path::to_path_buf);
        let errors = errors.or_else(|| named().filter(|_| is_file));
        let rejects = match errors.filter(|_| settings.on_error == OnError::Skip) {
            Some(path) => {
                let inputs = reader.files().into_iter().map(|path| (path, "an input"));
                let others: Vec<_> = inputs.chain(writer.files()).collect();
                Rejects::file(&path, &others)?
            }
            None => Rejects::to_stderr(),
        };
        Ok(Self {
            reader,
            writer,
            format,
            rejects,
            on_error: settings.on_error,
            skip_empty,
            projection: settings.projection.clone(),
            vector_column: settings.vector_column.to_owned(),
            resume: settings.resume,
            parts,
            description: Vec::new(),
            found,
            position: Position::default(),
            record: Record::default(),
            rows,
        })
    }

    /// The file of rows that are left out.
    #[must_use]
    pub fn errors(&self) -> Option<&Path> {
        self.rejects.path()
    }

    /// Embeds all rows as `template` says; tells the number of vectors after each chunk.
    ///
    /// # Errors
    /// A row cannot be embedded and [`OnError::Stop`] is set, there is no text at all, the engine fails, or the output cannot
    /// be written. What was written to a file stays, and the message says where.
    pub fn run(
        mut self,
        engine: &Engine,
        template: &Request<'_>,
        mut progress: impl FnMut(usize),
    ) -> anyhow::Result<Done> {
        let settings = self.settings(engine, template);
        if let Some(found) = self.found.take() {
            // Without the note about kept vectors, because this command does not continue them.
            self.resume(found, &settings)?;
        }
        self.record.settings = settings;
        let result = self.work(engine, template, &mut progress);
        let resumed = match result {
            Ok(resumed) => resumed,
            Err(error) if error.is::<Closed>() => {
                // The reader of the vectors closed the pipe, which is a normal end.
                self.rejects.finish()?;
                return Err(error);
            }
            Err(error) => {
                let kept = self.kept();
                // Vectors in a pipe cannot be taken back, so the list of rows that were left out between them stays as
                // well.
                let stays = kept.is_some() || !self.writer.is_file();
                let listed = self.rejects.abandon(stays);
                let flag = if self.resume { "" } else { " with --resume" };
                return Err(match (kept, listed) {
                    (Some((rows, path)), _) => anyhow!(
                        "{error:#}\nnote: {rows} vectors are kept in {}, and the same command{flag} continues after them",
                        path.display()
                    ),
                    (None, Some(listed)) => error.context(format!(
                        "the job ended early; the rows that it left out are listed in {}",
                        listed.display()
                    )),
                    (None, None) => error,
                });
            }
        };
        let Counts {
            truncated,
            empty,
            rejected,
            ..
        } = self.record.counts;
        let texts = self.all_rows();
        if texts == 0 {
            self.finish_empty()?;
            bail!("there is no text in the input that could be embedded: nothing was written");
        }
        self.finish()?;
        Ok(Done {
            texts,
            resumed,
            truncated,
            empty,
            rejected,
        })
    }

    /// Continues an earlier job.
    ///
    /// # Errors
    /// It had other settings or another input.
    fn resume(&mut self, found: Record, settings: &BTreeMap<String, String>) -> anyhow::Result<()> {
        found.check(settings)?;
        self.read_again(&found)?;
        match self.parts.as_ref().is_some_and(Parts::is_complete) {
            true => self.check_end()?,
            false => self.rejects.resume(found.rejected_bytes)?,
        }
        self.record = found;
        Ok(())
    }

    /// Returns the number of vectors that an earlier run wrote.
    fn work(
        &mut self,
        engine: &Engine,
        template: &Request<'_>,
        progress: &mut dyn FnMut(usize),
    ) -> anyhow::Result<usize> {
        if self.parts.as_ref().is_some_and(Parts::is_complete) {
            return Ok(self.all_rows());
        }
        let description = self.description(engine, template);
        if let Some(parts) = &mut self.parts {
            parts.describe(description.clone());
        }
        self.description = description.metadata();
        self.writer
            .describe(&self.vector_column, self.description.clone());
        let resumed = self.all_rows();
        let mut in_flight: VecDeque<anyhow::Result<Submitted>> = VecDeque::new();
        let mut ended = false;
        loop {
            while !ended && in_flight.len() < CHUNKS_IN_FLIGHT {
                let chunk = self.next_chunk();
                ended = chunk.is_empty() || chunk.stop.is_some();
                let submitted = Submitted::new(engine, template, chunk, |text, error| {
                    self.rejected(text, error)
                });
                // An error ends the job once the chunks before this one are written.
                ended |= submitted.is_err();
                in_flight.push_back(submitted);
            }
            let Some(submitted) = in_flight.pop_front() else {
                return Ok(resumed);
            };
            self.complete(submitted?, progress)?;
        }
    }

    /// Waits for the vectors of a chunk, writes them, and records the progress.
    ///
    /// # Errors
    /// Those of [`run`](Self::run), and the one that ends the job after this chunk.
    fn complete(
        &mut self,
        submitted: Submitted,
        progress: &mut dyn FnMut(usize),
    ) -> anyhow::Result<()> {
        let Submitted {
            chunk,
            order,
            embeddings: stream,
        } = submitted;
        let ended = chunk.is_empty();
        let mut rejected = chunk.rejected;
        let mut embeddings = vec![None; chunk.rows.len()];
        if let Some(mut stream) = stream {
            for i in order {
                match stream.blocking_next() {
                    Some(Ok(embedding)) => embeddings[i] = Some(embedding),
                    Some(Err(error)) => rejected.push(self.rejected(&chunk.rows[i], error)?),
                    None => break,
                }
            }
        }
        for (text, embedding) in chunk.rows.iter().zip(&embeddings) {
            if let Some(embedding) = embedding {
                self.record.counts.truncated += u64::from(embedding.truncated);
                let vector = self.reduced(text, &embedding.vector)?;
                self.writer.write(text.index, &text.row, &vector)?;
            }
        }
        rejected.sort_by_key(|reject| reject.index);
        for reject in &rejected {
            self.rejects.add(reject)?;
        }
        self.record.counts.rejected += rejected.len() as u64;
        self.record.advance(&chunk.end);
        self.record.rejected_bytes = self.rejects.flush()?;
        if !ended && self.writer.rows() > 0 {
            self.writer
                .keep(self.record.clone(), chunk.stop.is_some())?;
            progress(self.all_rows());
            self.end_full_part()?;
        }
        chunk.stop.map_or(Ok(()), Err)
    }

    /// The vector, reduced if there is a projection.
    ///
    /// # Errors
    /// The vector has no part along the components; the message has the text's place.
    fn reduced<'a>(&self, text: &Numbered, vector: &'a [f32]) -> anyhow::Result<Cow<'a, [f32]>> {
        let Some(file) = &self.projection else {
            return Ok(Cow::Borrowed(vector));
        };
        let reduced = file.projection().reduce_one(vector);
        Ok(Cow::Owned(reduced.with_context(|| text.row.place.clone())?))
    }
}
