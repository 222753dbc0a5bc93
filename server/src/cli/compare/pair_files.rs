//! Reads files of scored pairs of texts: .csv, .tsv and .jsonl.

use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use lexivec_evaluate::ScoredPair;
use lexivec_models::text;
use serde_json::Value;

use crate::embed::{Row, Table, json_fields};

/// The names of the columns or fields of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    /// The first text.
    pub(super) a: String,
    /// The second text.
    pub(super) b: String,
    /// The score.
    pub(super) score: String,
}

/// Reads all pairs of a file.
///
/// # Errors
/// The file cannot be read, or a line lacks a text or a finite score. The error names the line.
pub(super) fn read(path: &Path, columns: &Columns) -> anyhow::Result<Vec<ScoredPair>> {
    let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
    let pairs = match ending.to_str() {
        Some("csv") => table(path, columns, b',')?,
        Some("tsv") => table(path, columns, b'\t')?,
        Some("jsonl" | "ndjson") => lines(path, columns)?,
        _ => bail!(
            "{}: pairs are read from .csv, .tsv and .jsonl (.ndjson) files",
            path.display()
        ),
    };
    if pairs.len() < 3 {
        bail!(
            "{}: {} pairs are too few for a correlation",
            path.display(),
            pairs.len()
        );
    }
    Ok(pairs)
}

fn table(path: &Path, columns: &Columns, delimiter: u8) -> anyhow::Result<Vec<ScoredPair>> {
    let name = path.display();
    let source = text::without_mark(fs_err::File::open(path)?).with_context(|| name.to_string())?;
    let table = Table::new(source, delimiter).with_context(|| name.to_string())?;
    let position = |column: &str| {
        let found = table.column(column);
        found.map_err(|error| anyhow!("{name}: {error} (--pair-columns)"))
    };
    let [a, b, score] = [
        position(&columns.a)?,
        position(&columns.b)?,
        position(&columns.score)?,
    ];
    let mut pairs = Vec::new();
    for row in table {
        let (line, row) = row.with_context(|| name.to_string())?;
        let place = format!("{name}:{line}");
        let fields = match row {
            Row::Fields(fields) => fields,
            // The order of pairs does not matter, so blank lines are skipped.
            Row::Blank => continue,
            Row::Uneven(_, reason) => bail!("{place}: {reason}"),
        };
        let field = |i: usize| {
            let field = std::str::from_utf8(fields.get(i).unwrap_or_default());
            field.with_context(|| format!("{place}: the row is not UTF-8 text"))
        };
        let number = field(score)?.trim().parse().ok();
        pairs.push(pair(&place, field(a)?, field(b)?, number)?);
    }
    Ok(pairs)
}

fn lines(path: &Path, columns: &Columns) -> anyhow::Result<Vec<ScoredPair>> {
    let text = text::read(path)?;
    let mut pairs = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let place = format!("{}:{}", path.display(), i + 1);
        let names = [&columns.a, &columns.b, &columns.score].map(String::as_str);
        let [a, b, score] = json_fields(line, names).with_context(|| place.clone())?;
        let text = |value: Option<Value>, field: &str| match value {
            Some(Value::String(text)) => Ok(text),
            _ => Err(anyhow!(
                "{place}: there is no text in the field `{field}` (--pair-columns)"
            )),
        };
        let number = score.and_then(|score| match score {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_f64(),
        });
        let (a, b) = (text(a, &columns.a)?, text(b, &columns.b)?);
        pairs.push(pair(&place, &a, &b, number)?);
    }
    Ok(pairs)
}

fn pair(place: &str, a: &str, b: &str, score: Option<f64>) -> anyhow::Result<ScoredPair> {
    if a.trim().is_empty() || b.trim().is_empty() {
        bail!("{place}: a text of the pair is empty");
    }
    let score = score.filter(|s| s.is_finite());
    Ok(ScoredPair {
        a: a.to_owned(),
        b: b.to_owned(),
        score: score.ok_or_else(|| anyhow!("{place}: the score is not a number"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &str) -> anyhow::Result<Vec<ScoredPair>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs_err::write(&path, content).unwrap();
        let columns = Columns {
            a: "text_a".to_owned(),
            b: "text_b".to_owned(),
            score: "score".to_owned(),
        };
        super::read(&path, &columns)
    }

    #[test]
    fn the_three_formats_give_the_same_pairs() {
        let csv = "text_a,text_b,score\n\"one, two\",three,1\nb,c,2.5\nd,e,-1\n";
        let tsv = "id\tscore\ttext_b\ttext_a\n0\t1\tthree\tone, two\n1\t2.5\tc\tb\n2\t-1\te\td\n";
        let jsonl = "{\"text_a\":\"one, two\",\"text_b\":\"three\",\"score\":1}\n\
                     {\"text_a\":\"b\",\"text_b\":\"c\",\"score\":\"2.5\"}\n\n\
                     {\"text_a\":\"d\",\"text_b\":\"e\",\"score\":-1}\n";
        let expected = read("a.csv", csv).unwrap();
        assert_eq!((&*expected[0].a, expected[1].score), ("one, two", 2.5));
        assert_eq!(read("a.tsv", tsv).unwrap(), expected);
        assert_eq!(read("a.jsonl", jsonl).unwrap(), expected);
        for (name, content) in [("a.CSV", csv), ("a.Tsv", tsv), ("a.ndjson", jsonl)] {
            let marked = format!("\u{feff}{content}");
            assert_eq!(read(name, &marked).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn what_is_wrong_names_file_and_line() {
        let message = |name, content| format!("{:#}", read(name, content).unwrap_err());
        let no_number = message("a.csv", "text_a,text_b,score\na,b,1\nc,d,high\n");
        assert!(
            no_number.contains("a.csv:3: the score is not a number"),
            "{no_number}"
        );
        let nan = message("a.csv", "text_a,text_b,score\na,b,NaN\n");
        assert!(nan.contains("a.csv:2: the score is not a number"));
        let column = message("a.csv", "one,text_b,score\na,b,1\n");
        assert!(column.contains("no column `text_a`; it has one, text_b, score"));
        let field = message("a.jsonl", "{\"text_a\":\"x\",\"score\":1}\n");
        assert!(field.contains("a.jsonl:1: there is no text in the field `text_b`"));
        let twice = message(
            "a.jsonl",
            "{\"text_a\":\"x\",\"text_a\":\"y\",\"score\":1}\n",
        );
        assert!(
            twice.contains("a.jsonl:1: the field `text_a` occurs twice"),
            "{twice}"
        );
        let twice = message("a.csv", "text_a,text_b,score,score\na,b,1,2\n");
        assert!(
            twice.contains("columns 3 and 4 are both named `score`"),
            "{twice}"
        );
        assert!(
            message("a.jsonl", "{\"text_a\":\" \",\"text_b\":\"y\",\"score\":1}").contains("empty")
        );
        assert!(message("a.csv", "text_a,text_b,score\na,b,1\n").contains("too few"));
        assert!(message("a.xlsx", "").contains(".csv, .tsv and .jsonl"));
        let quote = message(
            "a.tsv",
            "text_a\ttext_b\tscore\na\tb\t1\n\"c\td\t2\ne\tf\t3\n",
        );
        assert!(quote.contains("a.tsv: line 3: the quote"), "{quote}");
    }
}
