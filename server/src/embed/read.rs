//! Texts from .txt, .jsonl and .csv files, or standard input, one at a time.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

/// A text and where it stands, for messages: `terms.csv:12`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The text.
    pub text: String,
    /// File and line.
    pub place: String,
}

type Texts = Box<dyn Iterator<Item = anyhow::Result<Text>>>;

/// The texts of several files, one file after another; a file is opened when it is reached.
pub struct Reader {
    files: VecDeque<PathBuf>,
    field: String,
    column: String,
    current: Option<Texts>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// Reads `files`, or standard input if there are none.
    ///
    /// # Errors
    /// A file's ending is none that is known.
    pub fn new(files: &[PathBuf], field: &str, column: &str) -> Result<Self, String> {
        for file in files {
            if !["txt", "jsonl", "csv"].contains(&ending(file)) {
                return Err(format!(
                    "{}: lexivec reads .txt, .jsonl and .csv files",
                    file.display()
                ));
            }
        }
        let stdin: Option<Texts> = files
            .is_empty()
            .then(|| lines(std::io::stdin(), "standard input".to_owned()));
        Ok(Self {
            files: files.to_vec().into(),
            field: field.to_owned(),
            column: column.to_owned(),
            current: stdin,
        })
    }

    fn open(&self, path: &Path) -> anyhow::Result<Texts> {
        let file = fs_err::File::open(path)?;
        let name = path.display().to_string();
        match ending(path) {
            "jsonl" => Ok(json_lines(file, name, self.field.clone())),
            "csv" => csv_column(file, name, &self.column),
            _ => Ok(lines(file, name)),
        }
    }
}

impl Iterator for Reader {
    type Item = anyhow::Result<Text>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(text) = self.current.as_mut().and_then(Iterator::next) {
                return Some(text);
            }
            let path = self.files.pop_front()?;
            match self.open(&path) {
                Ok(texts) => self.current = Some(texts),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn ending(path: &Path) -> &str {
    path.extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default()
}

/// Lines that are not blank.
fn lines(source: impl Read + 'static, name: String) -> Texts {
    let lines = BufReader::new(source).lines().enumerate();
    Box::new(lines.filter_map(move |(i, line)| {
        let place = format!("{name}:{}", i + 1);
        match line {
            Ok(text) if text.trim().is_empty() => None,
            Ok(text) => Some(Ok(Text { text, place })),
            Err(error) => Some(Err(
                anyhow!(error).context(format!("{place}: the line is not UTF-8 text"))
            )),
        }
    }))
}

fn json_lines(source: impl Read + 'static, name: String, field: String) -> Texts {
    Box::new(lines(source, name).map(move |line| {
        let Text { text, place } = line?;
        let value: serde_json::Value = serde_json::from_str(&text)
            .with_context(|| format!("{place}: the line is not JSON"))?;
        match value.get(&field).and_then(|v| v.as_str()) {
            Some(text) => Ok(Text {
                text: text.to_owned(),
                place,
            }),
            None => Err(anyhow!(
                "{place}: there is no text in the field `{field}` (--field)"
            )),
        }
    }))
}

fn csv_column(source: impl Read + 'static, name: String, column: &str) -> anyhow::Result<Texts> {
    let mut reader = csv::Reader::from_reader(source);
    let headers = reader
        .headers()
        .with_context(|| format!("{name}: not a readable CSV file"))?;
    let found = headers.iter().position(|h| h == column);
    let known = headers.iter().collect::<Vec<_>>().join(", ");
    let index = found.with_context(|| {
        format!("{name}: there is no column `{column}`; it has {known} (--column)")
    })?;
    Ok(Box::new(reader.into_records().map(move |record| {
        let record = record.with_context(|| format!("{name}: not a readable CSV file"))?;
        let line = record.position().map_or(0, csv::Position::line);
        let text = record.get(index).unwrap_or_default().to_owned();
        Ok(Text {
            text,
            place: format!("{name}:{line}"),
        })
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &str) -> Vec<anyhow::Result<Text>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs_err::write(&path, content).unwrap();
        Reader::new(&[path], "text", "term").unwrap().collect()
    }

    fn texts(name: &str, content: &str) -> Vec<String> {
        read(name, content)
            .into_iter()
            .map(|t| t.unwrap().text)
            .collect()
    }

    #[test]
    fn the_three_formats_give_their_texts() {
        assert_eq!(texts("a.txt", "one\n\n  \n two \n"), ["one", " two "]);
        assert_eq!(
            texts(
                "a.jsonl",
                "{\"text\":\"one\"}\n{\"text\":\"t\\nwo\",\"id\":2}\n"
            ),
            ["one", "t\nwo"]
        );
        assert_eq!(
            texts("a.csv", "id,term\n1,one\n2,\"t,\nwo\"\n"),
            ["one", "t,\nwo"]
        );
    }

    #[test]
    fn what_is_wrong_names_file_and_line() {
        let message =
            |name, content| format!("{:#}", read(name, content).pop().unwrap().unwrap_err());
        assert!(
            message("a.jsonl", "{\"text\":\"one\"}\n{\"txt\":1}\n")
                .contains("a.jsonl:2: there is no text")
        );
        assert!(message("a.jsonl", "one\n").contains("a.jsonl:1: the line is not JSON"));
        assert!(
            message("a.csv", "id,text\n1,one\n")
                .contains("there is no column `term`; it has id, text")
        );
        assert!(
            Reader::new(&["a.pdf".into()], "", "")
                .unwrap_err()
                .contains("a.pdf")
        );
    }
}
