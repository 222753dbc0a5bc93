//! A file of terms, with all of its columns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, ensure};
use csv::ByteRecord;

use super::Vectors;
use super::rows::Rows;
use crate::embed::{InputFormat, READ_ENDINGS, Reader, is_seekable};

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
    left_out: Vec<String>,
}

impl Terms {
    /// Reads a .csv or .tsv file whose first row names its columns, a .jsonl file whose fields are the columns, a .parquet or .arrow file, or a .txt file with a
    /// term per line.
    ///
    /// # Errors
    /// The file cannot be read, has another format, has no column of terms, or a row has no term or another number of fields.
    pub(crate) fn read(path: &Path, names: &Columns<'_>) -> anyhow::Result<Self> {
        let format = InputFormat::of(path).map_err(|_| {
            anyhow!(
                "{}: terms are read from {READ_ENDINGS} files",
                path.display()
            )
        })?;
        ensure!(
            is_seekable(path),
            "{}: terms are read more than once, so they must be in a file",
            path.display()
        );
        let Rows {
            columns,
            records,
            term,
            left_out,
        } = Rows::read(path, format, names.term)?;
        let optional = |name: &str| columns.iter().position(|column| column == name);
        Ok(Self {
            path: path.to_owned(),
            format,
            term,
            language: optional(names.language).filter(|column| *column != term),
            domain: optional(names.domain).filter(|column| *column != term),
            columns,
            rows: records,
            left_out,
        })
    }

    /// Reads the terms again, for an engine.
    pub(crate) fn reader(&self) -> anyhow::Result<Reader> {
        let column = &self.columns[self.term];
        let files = [self.path.clone()];
        Reader::new(&files, Some(self.format), column, column).map_err(|reason| anyhow!(reason))
    }

    /// Checks that there is a vector for each term.
    ///
    /// # Errors
    /// There is another number of them.
    pub(crate) fn check_vectors(&self, vectors: &Vectors) -> anyhow::Result<()> {
        let (found, expected) = (vectors.rows(), self.rows.len());
        ensure!(
            found == expected,
            "there are {found} vectors for the {expected} terms of {}: they belong together only if both have the same rows",
            self.path.display()
        );
        Ok(())
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

    /// Columns of a .parquet file that hold neither texts nor numbers.
    pub(crate) fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The fields of a row that are neither term, language nor domain, by their columns.
    pub(crate) fn other_columns(&self, row: usize) -> BTreeMap<&str, String> {
        let known = [Some(self.term), self.language, self.domain];
        let others = self.columns.iter().enumerate();
        let others = others.filter(|(column, _)| !known.contains(&Some(*column)));
        let field = |column: usize| {
            let field = self.rows[row].get(column).unwrap_or_default();
            String::from_utf8_lossy(field).into_owned()
        };
        others
            .map(|(column, name)| (name.as_str(), field(column)))
            .collect()
    }

    /// The term of a row.
    pub(crate) fn term(&self, row: usize) -> &str {
        self.text(row, self.term).unwrap_or_default()
    }

    /// Whether there is a column of languages.
    pub(crate) fn has_languages(&self) -> bool {
        self.language.is_some()
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
        let objects = "{\"id\":7,\"domain\":\"law\",\"term\":\"tort\"}\n\
                       {\"id\":8,\"domain\":null,\"term\":\"侵权\",\"language\":\"zh\"}\n";
        for (name, text, first, columns) in [
            (
                "a.csv",
                text,
                Some("en"),
                ["id", "domain", "term", "language"],
            ),
            (
                "a.tsv",
                &text.replace(',', "\t"),
                Some("en"),
                ["id", "domain", "term", "language"],
            ),
            (
                "a.jsonl",
                objects,
                None,
                ["id", "domain", "term", "language"],
            ),
        ] {
            let terms = read(name, text.as_bytes()).unwrap();
            assert_eq!(terms.columns(), columns, "{name}");
            assert_eq!((terms.term(0), terms.term(1)), ("tort", "侵权"));
            assert_eq!(terms.languages(), [first, Some("zh")]);
            assert_eq!(terms.domains(), [Some("law"), None]);
            assert_eq!(terms.rows()[1], ["8", "", "侵权", "zh"][..]);
        }
        let lines = read("a.txt", b"tort\nheart\n").unwrap();
        assert_eq!(
            (lines.term(1), lines.languages()),
            ("heart", vec![None, None])
        );
    }

    #[test]
    fn rows_without_a_term_name_their_line() {
        for (name, text, said) in [
            (
                "a.csv",
                &b"text\nheart\n"[..],
                "no column `term`; it has text (--term-column)",
            ),
            (
                "a.tsv",
                b"id\ttext\n1\theart\n",
                "no column `term`; it has id, text (--term-column)",
            ),
            (
                "a.jsonl",
                b"{\"term\":\"heart\"}\n{\"id\":1,\"text\":\"lung\"}\n",
                "a.jsonl:2: there is no field `term`; it has id, text (--term-column)",
            ),
            (
                "a.csv",
                b"term,id\nheart,1\n ,2\n",
                "a.csv:3: there is no term",
            ),
            (
                "a.csv",
                b"term\nheart\n\nlung\n",
                "a.csv:3: there is no term",
            ),
            ("a.txt", b"heart\n\nlung\n", "a.txt:2: there is no term"),
            (
                "a.jsonl",
                b"{\"term\":\"heart\"}\n\n",
                "a.jsonl:2: there is no term",
            ),
            (
                "a.jsonl",
                b"{\"term\":\" \"}\n",
                "a.jsonl:1: there is no term",
            ),
            (
                "a.jsonl",
                b"{\"term\":null}\n",
                "a.jsonl:1: the term is null",
            ),
            (
                "a.jsonl",
                b"{\"term\":7}\n",
                "a.jsonl:1: the field `term` holds a number, and a text is needed (--term-column)",
            ),
            (
                "a.jsonl",
                b"{\"term\":\"a\",\"id\":1,\"id\":2}\n",
                "a.jsonl:1: the field `id` occurs twice",
            ),
            ("a.jsonl", b"heart\n", "a.jsonl:1: the line is not JSON"),
            (
                "a.csv",
                b"term,id\nheart\n",
                "a.csv:2: the row has 1 fields",
            ),
            ("a.csv", b"term\n\xff\n", "a.csv:2: the term is not UTF-8"),
            (
                "a.tsv",
                b"term\tid\n\xff\t1\n",
                "a.tsv:2: the term is not UTF-8",
            ),
            (
                "a.jsonl",
                b"{\"term\":\"\xff\"}\n",
                "a.jsonl:1: the line is not UTF-8",
            ),
            ("a.txt", b"heart\n\xff\n", "a.txt:2: the line is not UTF-8"),
            ("a.csv", b"", "the file is empty"),
            ("a.jsonl", b"", "there is no term in the file"),
        ] {
            let error = format!("{:#}", read(name, text).unwrap_err());
            assert!(error.contains(said), "{error}");
            assert!(!error.contains("--skip-empty"), "{error}");
        }
    }

    #[test]
    fn the_number_of_columns_is_bounded() {
        let field = |n| format!("{{\"term\":\"a\",\"field{n}\":{n}}}\n");
        let most: String = (0..1023).map(field).collect();
        let terms = read("a.jsonl", most.as_bytes()).unwrap();
        assert_eq!(terms.columns().len(), 1024);
        let error = read("a.jsonl", (most + &field(1023)).as_bytes()).unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains("a.jsonl:1024: ") && said.contains("more than 1024"),
            "{said}"
        );
    }

    #[test]
    fn terms_in_a_pipe_are_an_error() {
        for name in ["-", "/dev/stdin", "/dev/null"] {
            let error = Terms::read(name.as_ref(), &NAMES).unwrap_err().to_string();
            assert!(error.contains("must be in a file"), "{error}");
        }
        let error = Terms::read("a.pdf".as_ref(), &NAMES)
            .unwrap_err()
            .to_string();
        assert!(error.contains("a.pdf: terms are read from"), "{error}");
    }
}
