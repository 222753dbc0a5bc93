//! A file of terms, with all of its columns.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use csv::ByteRecord;
use lexivec_models::text::without_mark;

use crate::embed::{InputFormat, Reader, Row, Table};

/// The names of the columns that have a meaning.
#[derive(Debug)]
pub(crate) struct Columns<'a> {
    /// The term.
    pub(crate) term: &'a str,
    /// Its language.
    pub(crate) language: &'a str,
    /// Its domain.
    pub(crate) domain: &'a str,
}

/// A term a row.
#[derive(Debug)]
pub(crate) struct Terms {
    path: PathBuf,
    format: InputFormat,
    columns: Vec<String>,
    rows: Vec<ByteRecord>,
    term: usize,
    language: Option<usize>,
    domain: Option<usize>,
}

impl Terms {
    /// Reads a .csv file whose first row names its columns, or a .txt file with a term per line.
    ///
    /// # Errors
    /// The file cannot be read, has another format, has no column of terms, or a row has no term or another number of fields.
    pub(crate) fn read(path: &Path, names: &Columns<'_>) -> anyhow::Result<Self> {
        let format = InputFormat::of(path).map_err(|reason| anyhow!(reason))?;
        match format {
            InputFormat::Csv => Self::read_table(path, names),
            InputFormat::Lines => Self::read_lines(path, names),
            InputFormat::JsonLines => bail!(
                "{}: terms are read from .csv and .txt files",
                path.display()
            ),
        }
    }

    fn read_table(path: &Path, names: &Columns<'_>) -> anyhow::Result<Self> {
        let place = || path.display().to_string();
        let source = without_mark(fs_err::File::open(path)?).with_context(place)?;
        let table = Table::new(source, b',').with_context(place)?;
        let columns = table.columns().to_vec();
        let term = table.column(names.term);
        let term = term.map_err(|error| anyhow!("{}: {error} (--term-column)", path.display()))?;
        let optional = |name: &str| columns.iter().position(|column| column == name);
        let mut terms = Self {
            path: path.to_owned(),
            format: InputFormat::Csv,
            term,
            language: optional(names.language),
            domain: optional(names.domain),
            columns,
            rows: Vec::new(),
        };
        for row in table {
            let (line, row) = row.with_context(place)?;
            match row {
                Row::Fields(fields) => {
                    let text = std::str::from_utf8(fields.get(term).unwrap_or_default());
                    match text {
                        Ok(text) if !text.trim().is_empty() => terms.rows.push(fields),
                        Ok(_) => bail!("{}:{line}: there is no term in this row", path.display()),
                        Err(_) => bail!("{}:{line}: the term is not UTF-8 text", path.display()),
                    }
                }
                Row::Blank => bail!("{}:{line}: there is no term in this row", path.display()),
                Row::Uneven(_, reason) => bail!("{}:{line}: {reason}", path.display()),
            }
        }
        Ok(terms)
    }

    fn read_lines(path: &Path, names: &Columns<'_>) -> anyhow::Result<Self> {
        let reader = Reader::new(&[path.to_owned()], Some(InputFormat::Lines), "", "");
        let mut rows = Vec::new();
        for text in reader.map_err(|reason| anyhow!(reason))? {
            rows.push(ByteRecord::from(vec![text?.text]));
        }
        Ok(Self {
            path: path.to_owned(),
            format: InputFormat::Lines,
            columns: vec![names.term.to_owned()],
            rows,
            term: 0,
            language: None,
            domain: None,
        })
    }

    /// Reads the terms again, for an engine.
    pub(crate) fn reader(&self) -> anyhow::Result<Reader> {
        let column = &self.columns[self.term];
        let files = [self.path.clone()];
        Reader::new(&files, Some(self.format), "", column).map_err(|reason| anyhow!(reason))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    pub(crate) fn rows(&self) -> &[ByteRecord] {
        &self.rows
    }

    /// The term of a row.
    pub(crate) fn term(&self, row: usize) -> &str {
        self.text(row, self.term).unwrap_or_default()
    }

    /// The language of each row, where there is one.
    pub(crate) fn languages(&self) -> Vec<Option<&str>> {
        self.values(self.language)
    }

    /// The domain of each row, where there is one.
    pub(crate) fn domains(&self) -> Vec<Option<&str>> {
        self.values(self.domain)
    }

    fn values(&self, column: Option<usize>) -> Vec<Option<&str>> {
        let value = |row| self.text(row, column?).filter(|text| !text.is_empty());
        (0..self.rows.len()).map(value).collect()
    }

    fn text(&self, row: usize, column: usize) -> Option<&str> {
        std::str::from_utf8(self.rows[row].get(column)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{Columns, Terms};

    const NAMES: Columns<'_> = Columns {
        term: "term",
        language: "language",
        domain: "domain",
    };

    fn read(name: &str, text: &[u8]) -> anyhow::Result<Terms> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs_err::write(&path, text).unwrap();
        Terms::read(&path, &NAMES)
    }

    #[test]
    fn columns_are_found_by_name() {
        let text = "id,domain,term,language\n7,law,tort,en\n8,,侵权,zh\n";
        let terms = read("a.csv", text.as_bytes()).unwrap();
        assert_eq!(terms.columns(), ["id", "domain", "term", "language"]);
        assert_eq!((terms.term(0), terms.term(1)), ("tort", "侵权"));
        assert_eq!(terms.languages(), [Some("en"), Some("zh")]);
        assert_eq!(terms.domains(), [Some("law"), None]);
        let lines = read("a.txt", b"tort\nheart\n").unwrap();
        assert_eq!(
            (lines.term(1), lines.languages()),
            ("heart", vec![None, None])
        );
    }

    #[test]
    fn rows_without_a_term_name_their_line() {
        for (text, said) in [
            (
                &b"text\nheart\n"[..],
                "no column `term`; it has text (--term-column)",
            ),
            (b"term,id\nheart,1\n ,2\n", "a.csv:3: there is no term"),
            (b"term\nheart\n\nlung\n", "a.csv:3: there is no term"),
            (b"term,id\nheart\n", "a.csv:2: the row has 1 fields"),
            (b"term\n\xff\n", "a.csv:2: the term is not UTF-8"),
            (b"", "the file is empty"),
        ] {
            let error = format!("{:#}", read("a.csv", text).unwrap_err());
            assert!(error.contains(said), "{error}");
        }
        let other = read("a.jsonl", b"{}").unwrap_err().to_string();
        assert!(other.contains(".csv and .txt"), "{other}");
    }
}
