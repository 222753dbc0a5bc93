//! The rows that a job reads, chunk by chunk.

use anyhow::{Context as _, ensure};
use lexivec_runtime::Error;

use super::super::chunk::{Chunk, MOST_BYTES, MOST_CARRIED, MOST_TEXTS, Numbered};
use super::super::errors::Reject;
use super::super::read::RowError;
use super::super::record::{Position, Record};
use super::super::settings::OnError;
use super::Job;

impl Job {
    /// Reads the rows again that an earlier run read.
    pub(super) fn read_again(&mut self, found: &Record) -> anyhow::Result<()> {
        ensure!(
            found.is_consistent(),
            "the record of the unfinished job is damaged: remove the job's files to start again"
        );
        self.position = Position::of(found);
        let mut read = 0;
        while read < found.read
            && let Some(row) = self.reader.next()
        {
            self.position.digest.add(&row)?;
            read += 1;
        }
        ensure!(
            read == found.read && self.position.digest.value() == found.digest,
            "the input does not begin with the {} rows that the earlier job read: give it the same files, or remove \
             the job's files to start again",
            found.read
        );
        Ok(())
    }

    /// Checks that a complete job has read all rows.
    ///
    /// # Errors
    /// There are further rows, or they cannot be read.
    pub(super) fn check_end(&mut self) -> anyhow::Result<()> {
        let read = self.position.read;
        let next = self.next_chunk();
        let is_end = next.is_empty();
        next.stop.map_or(Ok(()), Err)?;
        ensure!(
            is_end,
            "the output has all {read} rows that the input had, and the input has more now: choose another --output for the new rows, or \
             remove the folder to embed all"
        );
        Ok(())
    }

    /// Reads a chunk, which is empty at the end of the input. An error that ends the job is the chunk's `stop`, so that the rows before it
    /// are written.
    pub(super) fn next_chunk(&mut self) -> Chunk {
        let (mut rows, mut rejected, mut stop) = (Vec::new(), Vec::new(), None);
        let (mut bytes, mut carried) = (0, 0);
        while rows.len() < MOST_TEXTS
            && bytes < MOST_BYTES
            && carried < MOST_CARRIED
            && rejected.len() < MOST_TEXTS
        {
            let Some(row) = self.reader.next() else { break };
            let stops = match &row {
                Ok(_) => false,
                Err(RowError::Empty { .. }) if self.skip_empty => false,
                Err(RowError::File(_)) => true,
                Err(_) => self.on_error == OnError::Stop,
            };
            if stops && let Err(error) = row {
                stop = Some(match error {
                    RowError::File(error) => error,
                    error => error.into(),
                });
                break;
            }
            if let Err(error) = self.position.digest.add(&row) {
                stop = Some(error);
                break;
            }
            self.position.read += 1;
            let index = self.position.numbered;
            match row {
                Ok(row) => {
                    bytes += row.text.len();
                    let previous = rows.last();
                    let previous = previous.and_then(|row: &Numbered| row.row.carried.as_ref());
                    let held = row.carried.as_ref();
                    carried += held.map_or(0, |row| row.bytes_beside(previous));
                    rows.push(Numbered { index, row });
                }
                Err(RowError::Empty { .. }) if self.skip_empty => {
                    self.position.empty += 1;
                    continue;
                }
                Err(error) => rejected.push(unreadable(index, error)),
            }
            self.position.numbered += 1;
        }
        Chunk {
            rows,
            rejected,
            stop,
            end: self.position.clone(),
        }
    }

    /// A row that is left out.
    ///
    /// # Errors
    /// Errors end the job, or this one is not the row's fault.
    pub(super) fn rejected(&self, text: &Numbered, error: Error) -> anyhow::Result<Reject> {
        let of_the_row = matches!(
            error,
            Error::InvalidInput { .. }
                | Error::TooLong { .. }
                | Error::MuchTooLong { .. }
                | Error::OutOfMemory { .. }
                | Error::NonFinite
        );
        if self.on_error == OnError::Stop || !of_the_row {
            return Err(error).with_context(|| text.row.place.clone());
        }
        Ok(Reject {
            index: text.index,
            place: text.row.place.clone(),
            error: error.to_string(),
            text: text.row.text.clone(),
        })
    }
}

fn unreadable(index: u64, error: RowError) -> Reject {
    let (place, error, text) = match error {
        RowError::Empty { place } => (place, "there is no text".to_owned(), String::new()),
        RowError::Bad {
            place,
            reason,
            text,
        } => (place, reason, text),
        RowError::File(error) => (String::new(), error.to_string(), String::new()),
    };
    Reject {
        index,
        place,
        error,
        text,
    }
}
