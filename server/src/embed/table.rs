//! Rows of CSV and TSV files, each with its line.
//!
//! The `csv` crate skips blank lines. It reads a quote that is not closed as a field that extends to the next quote or to the end of the
//! file. Both would silently shift or lose rows. So the [`tracker`] follows the bytes that the crate reads, and records where each row
//! begins.

use std::cell::RefCell;
use std::io::BufRead;
use std::rc::Rc;

use csv::{ByteRecord, ErrorKind};

mod tracker;

use tracker::{RowTracker, Start, TrackingReader};

/// The most bytes of a line, or of a row of a table. Without a limit, one damaged file could fill the memory.
pub(super) const MAX_ROW_BYTES: usize = 64 << 20;

/// A row below the names of the columns.
#[derive(Debug)]
pub enum Row {
    /// An empty line.
    Blank,
    /// Fields, as many as there are columns.
    Fields(ByteRecord),
    /// A row with another number of fields, and the error.
    Uneven(ByteRecord, String),
}

/// The rows of a table, in their order, each with the number of its first line.
#[derive(Debug)]
pub struct Table<R> {
    reader: csv::Reader<TrackingReader<R>>,
    tracker: Rc<RefCell<RowTracker>>,
    /// A record that was read and not yet returned, because blank lines come before it.
    next: Option<(ByteRecord, csv::Result<()>)>,
    columns: Vec<String>,
}

impl<R: BufRead> Table<R> {
    /// Reads the names of the columns.
    ///
    /// # Errors
    /// The file has none, or they cannot be read.
    pub fn new(source: R, delimiter: u8) -> anyhow::Result<Self> {
        let tracker = Rc::new(RefCell::new(RowTracker::new(delimiter)));
        let watch = TrackingReader::new(source, Rc::clone(&tracker));
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .from_reader(watch);
        let columns: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
        {
            let mut tracker = tracker.borrow_mut();
            let mut names = tracker.starts.pop_front();
            while names.is_some_and(|start| start.blank) {
                names = tracker.starts.pop_front();
            }
            if let Some(error) = tracker
                .unterminated()
                .or(names.and_then(Start::wrong_quote))
            {
                return Err(error);
            }
        }
        anyhow::ensure!(
            !columns.is_empty(),
            "the file is empty: its first row names the columns"
        );
        Ok(Self {
            reader,
            tracker,
            next: None,
            columns,
        })
    }

    /// The names of the columns.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The index of a column.
    ///
    /// # Errors
    /// No column has that name, and the message lists the columns; or several have it.
    pub fn column(&self, name: &str) -> anyhow::Result<usize> {
        let columns = self.columns.iter().enumerate();
        let mut found = columns.filter_map(|(index, column)| (column == name).then_some(index));
        match (found.next(), found.next()) {
            (Some(index), None) => Ok(index),
            (Some(first), Some(second)) => anyhow::bail!(
                "columns {} and {} are both named `{name}`: rename one of them",
                first + 1,
                second + 1
            ),
            (None, _) => anyhow::bail!(missing("column", name, &self.columns)),
        }
    }

    /// A record, and its error if there is one.
    fn read(&mut self) -> Option<(ByteRecord, csv::Result<()>)> {
        let mut record = ByteRecord::new();
        match self.reader.read_byte_record(&mut record) {
            Ok(true) => Some((record, Ok(()))),
            Ok(false) => None,
            Err(error) => Some((record, Err(error))),
        }
    }
}

impl<R: BufRead> Iterator for Table<R> {
    type Item = anyhow::Result<(u64, Row)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next.is_none() && !self.tracker.borrow().begins_blank() {
            self.next = self.read();
        }
        let mut tracker = self.tracker.borrow_mut();
        let start = tracker.starts.pop_front();
        let line = match start {
            Some(Start {
                line, blank: true, ..
            }) => return Some(Ok((line, Row::Blank))),
            Some(Start { line, .. }) => line,
            // An error of the file may come before any row.
            None => tracker.line,
        };
        let (record, judged) = self.next.take()?;
        let wrong_quote = start.and_then(Start::wrong_quote);
        if let Some(error) = tracker.unterminated().or(wrong_quote) {
            return Some(Err(error));
        }
        Some(match judged {
            Ok(()) => Ok((line, Row::Fields(record))),
            Err(error) => match error.kind() {
                ErrorKind::UnequalLengths {
                    expected_len, len, ..
                } => {
                    let reason =
                        format!("the row has {len} fields, and there are {expected_len} columns");
                    Ok((line, Row::Uneven(record, reason)))
                }
                _ => Err(error.into()),
            },
        })
    }
}

/// The message that a name is missing among others, of which the first few are listed.
pub(crate) fn missing(noun: &str, name: &str, names: &[String]) -> String {
    format!("there is no {noun} `{name}`; it has {}", listed(names))
}

/// Names for a message, of which the first few are listed.
pub(crate) fn listed(names: &[impl AsRef<str>]) -> String {
    const MOST_LISTED: usize = 20;
    let first = names.iter().take(MOST_LISTED).map(AsRef::as_ref);
    let first: Vec<&str> = first.collect();
    let first = first.join(", ");
    match names.len() {
        0 => "none".to_owned(),
        1..=MOST_LISTED => first,
        count => format!("{first}, and {} more", count - MOST_LISTED),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};

    use super::*;

    /// Lines and fields; `-` for a blank line, the reason for a row of another length.
    fn rows(text: &str) -> Vec<String> {
        let table = match Table::new(text.as_bytes(), b',') {
            Ok(table) => table,
            Err(error) => return vec![error.to_string()],
        };
        let told = table.map(|row| match row {
            Ok((line, Row::Blank)) => format!("{line} -"),
            Ok((line, Row::Uneven(fields, reason))) => {
                format!("{line} {reason}: {}", String::from_utf8_lossy(&fields[0]))
            }
            Ok((line, Row::Fields(fields))) => {
                let fields: Vec<_> = fields.iter().map(String::from_utf8_lossy).collect();
                format!("{line} {}", fields.join("|"))
            }
            Err(error) => error.to_string(),
        });
        told.collect()
    }

    #[test]
    fn rows_have_their_line_numbers_despite_quotes_and_blank_lines() {
        let text = "a,b\n1,one\n\n2,\"t\n\"\"wo\"\n\r\n3,5\" pipe\r\n\"4\",\"\"";
        let expected = [
            "2 1|one",
            "3 -",
            "4 2|t\n\"wo",
            "6 -",
            "7 3|5\" pipe",
            "8 4|",
        ];
        assert_eq!(rows(text), expected);
        assert_eq!(rows("\na\n\n\nx\n\n"), ["3 -", "4 -", "5 x", "6 -"]);
        assert_eq!(rows("a,b\r1,2\r\r3,4\r"), ["2 1|2", "3 -", "4 3|4"]);
        assert_eq!(rows("a\n"), [""; 0]);
    }

    #[test]
    fn a_quote_that_is_not_closed_is_found_at_its_line() {
        let found = rows("a,b\n1,one\n2,\"two\n3,three\n4,four\n");
        assert_eq!(found[0], "2 1|one");
        assert!(found[1].starts_with("line 3: the quote"), "{found:?}");
        assert_eq!(found.len(), 2);
        assert!(rows("a,\"b\n1,2\n")[0].starts_with("line 1: the quote"));
        // The last quote is doubled, so it closes nothing.
        assert!(rows("a\n\"x\"\"\n")[0].starts_with("line 2: the quote"));
    }

    #[test]
    fn a_quote_that_a_later_one_closes_is_found() {
        for (text, line, row) in [
            ("a,b\n1,\"heart\n2,lung\n3,\"kidney\"\n4,liver\n", 4, 2),
            ("a,b\n1,\"heart\n2,lung\n3,\"kidney\n4,liver\n", 4, 2),
            ("a,b\n1,one\n2,\"two\n3,\"three\n", 4, 3),
            ("a\n\"x\"y\n", 2, 2),
        ] {
            let found = rows(text);
            let expected = format!("line {line}: text follows the quote");
            let said = found.iter().find(|row| row.starts_with(&expected));
            let said = said.unwrap_or_else(|| panic!("{text:?}: {found:?}"));
            assert!(said.contains(&format!("begins in line {row}.")), "{said}");
        }
        assert!(rows("\"a\"x,b\n1,2\n")[0].starts_with("line 1: text follows"));
    }

    /// A beginning, and a text that repeats without end.
    struct Endless(&'static [u8], &'static [u8]);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                self.0 = self.1;
            }
            self.0.read(buffer)
        }
    }

    #[test]
    fn a_row_without_end_is_an_error_with_its_line() {
        for (begin, endless) in [
            (&b"a\n1\nx"[..], &b"lung "[..]),
            (b"a\n1\n\"x", b"lung\n"),
            (b"a\n1\n\"x", b"\n\"\""),
            (b"a\n1\nx,", b"\"\","),
        ] {
            let source = io::BufReader::new(Endless(begin, endless));
            let mut table = Table::new(source, b',').unwrap();
            assert!(matches!(table.next(), Some(Ok((2, Row::Fields(_))))));
            let said = table.next().unwrap().unwrap_err().to_string();
            assert!(said.contains("line 3: the row that begins here"), "{said}");
        }
    }

    #[test]
    fn a_row_of_another_length_is_reported_and_the_next_one_read() {
        assert_eq!(
            rows("a,b\n1\n2,3\n"),
            [
                "2 the row has 1 fields, and there are 2 columns: 1",
                "3 2|3"
            ]
        );
        assert!(rows("")[0].contains("the file is empty"));
    }
}
