//! Tracks rows and quotes in the bytes that the `csv` crate reads.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::rc::Rc;

use super::MAX_ROW_BYTES;

/// Passes bytes on to the `csv` crate, and tracks their structure.
#[derive(Debug)]
pub(super) struct TrackingReader<R> {
    source: R,
    tracker: Rc<RefCell<RowTracker>>,
}

impl<R> TrackingReader<R> {
    pub(super) fn new(source: R, tracker: Rc<RefCell<RowTracker>>) -> Self {
        Self { source, tracker }
    }
}

impl<R: Read> Read for TrackingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        let mut tracker = self.tracker.borrow_mut();
        tracker.ended |= count == 0 && !buffer.is_empty();
        buffer[..count]
            .iter()
            .for_each(|byte| tracker.follow(*byte));
        if tracker.bytes > MAX_ROW_BYTES {
            let line = tracker.row;
            let reason = format!(
                "line {line}: the row that begins here is longer than {} MiB: is a quote in it never closed?",
                MAX_ROW_BYTES >> 20
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(count)
    }
}

/// The position within a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    RowStart,
    FieldStart,
    Plain,
    Quoted,
    /// After a quote within a quoted field: the field's end, or the first half of a doubled quote.
    Closed,
}

/// The beginning of a row or a blank line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) line: u64,
    pub(super) blank: bool,
    /// The line where text follows the quote that closes a field. RFC 4180 does not allow that. It is the sign of an earlier quote that
    /// was never closed, because the next quote closes that one instead.
    wrong_quote: Option<u64>,
}

impl Start {
    /// The error of a quote that closes a field in the middle of its text.
    pub(super) fn wrong_quote(self) -> Option<anyhow::Error> {
        let line = self.wrong_quote?;
        Some(anyhow::anyhow!(
            "line {line}: text follows the quote that closes a field, so that rows may have become one text: the row begins in line \
             {}. Close each quote; a quote within a text in quotes is written twice",
            self.line
        ))
    }
}

/// Tracks where rows begin and quotes are open, by the rules of the `csv` crate.
#[derive(Debug)]
pub(super) struct RowTracker {
    delimiter: u8,
    state: State,
    pub(super) line: u64,
    after_return: bool,
    /// Rows and blank lines that were read and not yet returned.
    pub(super) starts: VecDeque<Start>,
    /// The line where the row began, and the bytes since then.
    row: u64,
    bytes: usize,
    /// The line of the last quote that opened a field.
    opened: u64,
    ended: bool,
}

impl RowTracker {
    pub(super) fn new(delimiter: u8) -> Self {
        Self {
            delimiter,
            state: State::RowStart,
            line: 1,
            after_return: false,
            starts: VecDeque::new(),
            row: 1,
            bytes: 0,
            opened: 0,
            ended: false,
        }
    }

    /// Whether the next row to be returned is a blank line.
    pub(super) fn begins_blank(&self) -> bool {
        self.starts.front().is_some_and(|start| start.blank)
    }

    /// Returns an error if the row being returned is the last one and its quote was never closed.
    pub(super) fn unterminated(&self) -> Option<anyhow::Error> {
        let open = self.ended && self.state == State::Quoted && self.starts.is_empty();
        open.then(|| {
            anyhow::anyhow!(
                "line {}: the quote that opens a field here is never closed, so all that follows would be one text; a quote \
                 within a text is written twice",
                self.opened
            )
        })
    }

    fn follow(&mut self, byte: u8) {
        let follows_return = std::mem::take(&mut self.after_return);
        self.bytes += 1;
        if self.state == State::Quoted {
            self.line += u64::from(byte == b'\n');
            if byte == b'"' {
                self.state = State::Closed;
            }
            return;
        }
        if byte == b'\n' && follows_return {
            return;
        }
        let ends = matches!(byte, b'\n' | b'\r');
        if self.state == State::RowStart {
            self.row = self.line;
            self.bytes = 1;
            self.starts.push_back(Start {
                line: self.line,
                blank: ends,
                wrong_quote: None,
            });
        }
        let at_start = matches!(self.state, State::RowStart | State::FieldStart);
        self.state = match byte {
            _ if ends => {
                self.line += 1;
                self.after_return = byte == b'\r';
                State::RowStart
            }
            b'"' if at_start => {
                self.opened = self.line;
                State::Quoted
            }
            b'"' if self.state == State::Closed => State::Quoted,
            _ if byte == self.delimiter => State::FieldStart,
            _ => {
                if let (State::Closed, Some(start)) = (self.state, self.starts.back_mut()) {
                    start.wrong_quote.get_or_insert(self.line);
                }
                State::Plain
            }
        };
    }
}
