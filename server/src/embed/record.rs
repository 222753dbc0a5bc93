//! The record of an unfinished job: a small file next to its output, which is rewritten after each chunk.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, bail};
use lexivec_models::text;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::own_file::{self, Durable};
use super::parquet::Carried;
use super::read::{RowError, Text};

/// The progress of a job, and the model and settings that it runs with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Model and settings, which determine the vectors.
    pub(super) settings: BTreeMap<String, String>,
    /// Rows read, including those without a text.
    pub(super) read: u64,
    /// The digest of those rows.
    pub(super) digest: String,
    /// Vectors written, and the numbers in each. The manifest of an output in parts has neither.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) rows: usize,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) width: usize,
    /// Bytes of the output that are valid.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) bytes: u64,
    pub(super) counts: Counts,
    /// Bytes of the file of rows that were left out.
    pub(super) rejected_bytes: u64,
    /// The footer of a .parquet output, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) footer: Option<String>,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// Counts of rows by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    /// Rows with a number, which are all except the empty ones that were left out.
    pub(super) numbered: u64,
    /// Texts that were truncated.
    pub(super) truncated: u64,
    /// Empty rows that were left out.
    pub(super) empty: u64,
    /// Rows that were left out because of an error.
    pub(super) rejected: u64,
}

/// How far an input is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Position {
    /// As [`Record::read`].
    pub(super) read: u64,
    /// As [`Counts::numbered`].
    pub(super) numbered: u64,
    /// As [`Counts::empty`].
    pub(super) empty: u64,
    /// The digest of the rows read.
    pub(super) digest: RowDigest,
}

impl Position {
    /// The position of a record, before its rows are read again.
    pub(super) fn of(record: &Record) -> Self {
        Self {
            read: record.read,
            numbered: record.counts.numbered,
            empty: record.counts.empty,
            digest: RowDigest::default(),
        }
    }
}

impl Record {
    /// Records that all rows up to a position are written or left out.
    pub(super) fn advance(&mut self, to: &Position) {
        self.read = to.read;
        self.digest = to.digest.value();
        self.counts.numbered = to.numbered;
        self.counts.empty = to.empty;
    }

    /// Whether its numbers can be those of one job.
    pub(super) fn is_consistent(&self) -> bool {
        let Counts {
            numbered,
            truncated,
            empty,
            rejected,
        } = self.counts;
        let most = [truncated, rejected, self.rows as u64].into_iter().max();
        numbered.checked_add(empty) == Some(self.read) && most <= Some(numbered)
    }

    /// Takes over how far the input is read, and nothing that belongs to one file.
    pub(super) fn advance_to(&mut self, progress: &Self) {
        *self = Self {
            rows: 0,
            width: 0,
            bytes: 0,
            footer: None,
            ..progress.clone()
        };
    }

    pub(super) fn load(path: &Path) -> anyhow::Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let record = serde_json::from_str(&text::read(path)?);
        record.map(Some).with_context(|| {
            format!(
                "{}: the record of an unfinished job cannot be read: remove the file to start again",
                path.display()
            )
        })
    }

    /// Replaces the record as a whole: a crash leaves the old one or the new one.
    pub(super) fn save(&self, path: &Path) -> anyhow::Result<()> {
        own_file::replace(path, &serde_json::to_vec(self)?, Durable::No)
    }

    /// Checks that the job ran with these settings.
    ///
    /// # Errors
    /// A setting differs; the message names it.
    pub(super) fn check(&self, settings: &BTreeMap<String, String>) -> anyhow::Result<()> {
        let names = self.settings.keys().chain(settings.keys());
        let value = |of: &BTreeMap<String, String>, name: &String| {
            of.get(name).map_or("none", String::as_str).to_owned()
        };
        for name in names {
            let (then, now) = (value(&self.settings, name), value(settings, name));
            if then != now {
                bail!(
                    "the earlier job had another {name} ({then}; now {now}): run the same command, or remove its files to \
                     start again"
                );
            }
        }
        Ok(())
    }
}

/// The digest of all rows read so far, with the columns that the output has, too.
#[derive(Debug, Clone, Default)]
pub(super) struct RowDigest {
    digest: Sha256,
    /// The columns of the last row that has some.
    carried: Option<Carried>,
}

impl RowDigest {
    /// # Errors
    /// The row has a column whose values cannot be written.
    pub(super) fn add(&mut self, row: &Result<Text, RowError>) -> anyhow::Result<()> {
        let (mark, text) = match row {
            Ok(row) => (b"t", row.text.as_str()),
            Err(RowError::Empty { .. }) => (b"e", ""),
            Err(RowError::Bad { text, .. }) => (b"b", text.as_str()),
            Err(RowError::File(_)) => (b"f", ""),
        };
        self.digest.update(mark);
        self.digest.update((text.len() as u64).to_le_bytes());
        self.digest.update(text);
        if let Ok(Text {
            carried: Some(carried),
            ..
        }) = row
        {
            self.digest.update(b"c");
            carried.write_beside(self.carried.as_ref(), Digested(&mut self.digest))?;
            self.carried = Some(carried.clone());
        }
        Ok(())
    }

    pub(super) fn value(&self) -> String {
        hex::encode(self.digest.clone().finalize())
    }
}

/// Adds all bytes that are written to a digest.
struct Digested<'a>(&'a mut Sha256);

impl Write for Digested<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = of.iter();
        pairs
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn an_error_names_the_setting_that_differs() {
        let record = Record {
            settings: settings(&[("model", "1"), ("dimensions", "8")]),
            ..Record::default()
        };
        record
            .check(&settings(&[("model", "1"), ("dimensions", "8")]))
            .unwrap();
        let said = record.check(&settings(&[("model", "1"), ("dimensions", "9")]));
        let said = said.unwrap_err().to_string();
        assert!(said.contains("another dimensions (8; now 9)"), "{said}");
        let said = record.check(&settings(&[("model", "1")])).unwrap_err();
        assert!(
            said.to_string().contains("dimensions (8; now none)"),
            "{said}"
        );
    }

    #[test]
    fn a_record_is_read_as_it_was_saved_and_an_error_names_a_damaged_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        assert_eq!(Record::load(&path).unwrap(), None);
        let record = Record {
            read: 5,
            ..Record::default()
        };
        record.save(&path).unwrap();
        assert_eq!(Record::load(&path).unwrap(), Some(record));
        fs_err::write(&path, "{").unwrap();
        let said = format!("{:#}", Record::load(&path).unwrap_err());
        assert!(said.contains("a.json") && said.contains("remove"), "{said}");
    }

    #[test]
    fn counts_that_do_not_add_up_are_found() {
        let record = |read, numbered, empty, rejected| {
            let counts = Counts {
                numbered,
                empty,
                rejected,
                truncated: 0,
            };
            let record = Record {
                read,
                counts,
                ..Record::default()
            };
            record.is_consistent()
        };
        assert!(record(0, 0, 0, 0) && record(5, 4, 1, 4));
        for (read, numbered, empty, rejected) in [(5, 5, 1, 0), (5, 4, 1, 5), (0, u64::MAX, 1, 0)] {
            assert!(!record(read, numbered, empty, rejected));
        }
    }

    #[test]
    fn the_digest_depends_on_the_borders_of_rows() {
        let digest = |texts: &[&str]| {
            let mut digest = RowDigest::default();
            for text in texts {
                let row = Ok(Text {
                    text: (*text).to_owned(),
                    place: String::new(),
                    carried: None,
                });
                digest.add(&row).unwrap();
            }
            digest.value()
        };
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_eq!(digest(&["ab", "c"]), digest(&["ab", "c"]));
    }
}
