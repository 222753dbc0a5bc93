//! Reads retrieval sets in the form of BEIR (Thakur et al. 2021): `corpus.jsonl`, `queries.jsonl`, `qrels/*.tsv`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use lexivec_models::text;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::retrieval::{Query, Retrieval};

/// The files of a set, for errors.
const FORM: &str = "a retrieval set is a folder with corpus.jsonl, queries.jsonl and qrels/*.tsv";

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "_id")]
    id: Id,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    text: String,
}

/// The id of a text, which is a number in some sets.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(i64),
}

impl Id {
    fn into_string(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

/// Reads the set in a folder, with the judgements of `qrels/SPLIT.tsv`. Without a split, reads `test.tsv` or the only file in
/// `qrels`. Queries without a relevant document are left out.
///
/// # Errors
/// A file is missing or damaged, or a judgement names an unknown query or document. The error names the line.
///
/// # Example
/// ```
/// let dir = tempfile::tempdir()?;
/// let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text);
/// write("corpus.jsonl", r#"{"_id": "d1", "title": "Heart", "text": "It beats."}"#)?;
/// write("queries.jsonl", r#"{"_id": "q1", "text": "what beats?"}"#)?;
/// std::fs::create_dir(dir.path().join("qrels"))?;
/// write("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t2\n")?;
///
/// let set = lexivec_evaluate::beir::read(dir.path(), None, None)?;
/// assert_eq!(set.documents, ["Heart It beats."]);
/// assert_eq!(set.queries[0].judged, [(0, 2.0)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read(dir: &Path, split: Option<&str>, instruction: Option<String>) -> Result<Retrieval> {
    let corpus = texts(&dir.join("corpus.jsonl"))?;
    let queries = texts(&dir.join("queries.jsonl"))?;
    let path = judgements(dir, split)?;
    let documents = positions(&corpus);
    let places = positions(&queries);
    let mut judged = vec![Vec::new(); queries.len()];
    for (i, line) in text::read(&path)?.lines().enumerate() {
        let place = format!("{}:{}", path.display(), i + 1);
        if line.trim().is_empty() {
            continue;
        }
        let columns: Vec<&str> = line.split('\t').map(str::trim).collect();
        let [query, document, score] = columns.as_slice() else {
            return Err(damaged(
                &place,
                format!(
                    "{} columns, where query, document and score were expected, separated by tabs",
                    columns.len()
                ),
            ));
        };
        let Ok(gain) = score.parse::<f64>() else {
            // The first line may name the columns.
            if i == 0 {
                continue;
            }
            return Err(damaged(
                &place,
                format!("the score `{score}` is not a number"),
            ));
        };
        let Some(query) = places.get(query) else {
            return Err(damaged(
                &place,
                format!("the query `{query}` is not in queries.jsonl"),
            ));
        };
        let Some(document) = documents.get(document) else {
            return Err(damaged(
                &place,
                format!("the document `{document}` is not in corpus.jsonl"),
            ));
        };
        judged[*query].push((*document, gain));
    }
    let found = queries
        .iter()
        .zip(judged)
        .map(|((id, text), judged)| Query {
            id: id.clone(),
            text: text.clone(),
            judged,
            itself: documents.get(id.as_str()).copied(),
        });
    let queries: Vec<Query> = found
        .filter(|query| query.judged.iter().any(|(_, gain)| *gain > 0.0))
        .collect();
    if queries.is_empty() {
        let reason = "no query has a relevant document".to_owned();
        return Err(damaged(&path.display(), reason));
    }
    Ok(Retrieval {
        name: dir.display().to_string(),
        queries,
        documents: corpus.into_iter().map(|(_, text)| text).collect(),
        instruction,
    })
}

fn damaged(place: &dyn std::fmt::Display, reason: String) -> Error {
    Error::DataSet {
        place: place.to_string(),
        reason,
    }
}

/// The ids and texts of a .jsonl file. A document's title precedes its text, as in BEIR.
fn texts(path: &Path) -> Result<Vec<(String, String)>> {
    let content = text::read(path).map_err(|error| damaged(&FORM, error.to_string()))?;
    let mut found = Vec::new();
    for (i, line) in content.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let line: Line = serde_json::from_str(line).map_err(|error| {
            let place = format!("{}:{}", path.display(), i + 1);
            let reason = "the line is not a JSON object with `_id` and `text`";
            damaged(&place, format!("{reason}: {error}"))
        })?;
        let title = line.title.unwrap_or_default();
        let text = format!("{title} {}", line.text);
        // Some corpora have documents without text, but a tokenizer needs at least one character.
        let text = match text.trim() {
            "" => " ",
            text => text,
        };
        found.push((line.id.into_string(), text.to_owned()));
    }
    let ids = positions(&found);
    if ids.len() < found.len() {
        let twice = (0..found.len()).find(|i| ids[found[*i].0.as_str()] != *i);
        let id = twice.map_or("", |i| found[i].0.as_str());
        let reason = format!("the id `{id}` occurs twice");
        return Err(damaged(&path.display(), reason));
    }
    Ok(found)
}

fn positions(texts: &[(String, String)]) -> HashMap<&str, usize> {
    let ids = texts.iter().enumerate();
    ids.map(|(i, (id, _))| (id.as_str(), i)).collect()
}

fn judgements(dir: &Path, split: Option<&str>) -> Result<PathBuf> {
    let folder = dir.join("qrels");
    let mut files: Vec<PathBuf> = fs_err::read_dir(&folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "tsv"))
        .collect();
    files.sort();
    let wanted = folder.join(format!("{}.tsv", split.unwrap_or("test")));
    if files.contains(&wanted) {
        return Ok(wanted);
    }
    match files.as_slice() {
        [only] if split.is_none() => Ok(only.clone()),
        _ => {
            let names: Vec<_> = files
                .iter()
                .filter_map(|f| Some(f.file_stem()?.to_string_lossy().into_owned()))
                .collect();
            Err(Error::MissingSplit {
                folder,
                file: format!("{}.tsv", split.unwrap_or("test")),
                splits: names,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set of two documents and three queries, one of which has nothing relevant.
    fn set(qrels: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let write =
            |name: &str, content: &str| fs_err::write(dir.path().join(name), content).unwrap();
        write(
            "corpus.jsonl",
            "{\"_id\":\"d1\",\"title\":\"Heart\",\"text\":\"It beats.\"}\n{\"_id\":2,\"text\":\"Law\"}\n\
             {\"_id\":\"empty\",\"title\":\"\",\"text\":\"\"}\n",
        );
        write(
            "queries.jsonl",
            "{\"_id\":\"q1\",\"text\":\"what beats?\",\"metadata\":{}}\n{\"_id\":\"q2\",\"text\":\"what binds?\"}\n\
             {\"_id\":\"q3\",\"text\":\"what?\"}\n",
        );
        fs_err::create_dir_all(dir.path().join("qrels")).unwrap();
        for (name, content) in qrels {
            write(&format!("qrels/{name}"), content);
        }
        dir
    }

    const TEST: &str = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\t2\t0\nq2\t2\t1\nq3\td1\t0\n";

    #[test]
    fn a_set_is_read_as_beir_reads_it() {
        let dir = set(&[("test.tsv", TEST), ("dev.tsv", "q1\t2\t1\n")]);
        let found = read(dir.path(), None, None).unwrap();
        assert_eq!(found.documents, ["Heart It beats.", "Law", " "]);
        let queries: Vec<_> = found.queries.iter().map(|q| q.id.as_str()).collect();
        assert_eq!(queries, ["q1", "q2"]);
        assert_eq!(found.queries[0].judged, [(0, 2.0), (1, 0.0)]);
        let dev = read(dir.path(), Some("dev"), None).unwrap();
        assert_eq!(dev.queries[0].judged, [(1, 1.0)]);
        for name in ["corpus.jsonl", "queries.jsonl", "qrels/dev.tsv"] {
            let path = dir.path().join(name);
            let marked = format!("\u{feff}{}", fs_err::read_to_string(&path).unwrap());
            fs_err::write(path, marked).unwrap();
        }
        let marked = read(dir.path(), Some("dev"), None).unwrap();
        assert_eq!(marked.documents, found.documents);
        assert_eq!(marked.queries[0].judged, [(1, 1.0)]);
    }

    #[test]
    fn a_query_that_is_a_document_is_marked() {
        let dir = set(&[("only.tsv", "q1\td1\t1\n")]);
        let queries = dir.path().join("queries.jsonl");
        fs_err::write(
            queries,
            "{\"_id\":\"q1\",\"text\":\"x\"}\n{\"_id\":\"d1\",\"text\":\"y\"}\n",
        )
        .unwrap();
        let all = "q1\td1\t1\nd1\t2\t1\n";
        fs_err::write(dir.path().join("qrels/only.tsv"), all).unwrap();
        let found = read(dir.path(), None, None).unwrap();
        let itself: Vec<_> = found.queries.iter().map(|q| q.itself).collect();
        assert_eq!(itself, [None, Some(0)]);
    }

    #[test]
    fn errors_name_file_line_and_id() {
        let message = |qrels: &[(&str, &str)], split| {
            let dir = set(qrels);
            format!("{:#}", read(dir.path(), split, None).unwrap_err())
        };
        let document = message(&[("test.tsv", "q1\td1\t1\nq1\td9\t1\n")], None);
        assert!(
            document.ends_with("test.tsv:2: the document `d9` is not in corpus.jsonl"),
            "{document}"
        );
        let query = message(&[("test.tsv", "q9\td1\t1\n")], None);
        assert!(query.contains("test.tsv:1: the query `q9` is not in queries.jsonl"));
        let score = message(&[("test.tsv", "q1\td1\t1\nq1\td1\thigh\n")], None);
        assert!(score.contains("test.tsv:2: the score `high` is not a number"));
        let columns = message(&[("test.tsv", "q1 0 d1 1\n")], None);
        assert!(columns.contains("test.tsv:1: 1 columns"));
        let nothing = message(&[("test.tsv", "q1\td1\t0\n")], None);
        assert!(nothing.contains("no query has a relevant document"));
        let split = message(&[("dev.tsv", TEST), ("train.tsv", TEST)], None);
        assert!(split.contains("there is no test.tsv; the set has the splits dev, train"));
        let split = message(&[("dev.tsv", TEST)], Some("train"));
        assert!(split.contains("there is no train.tsv"));

        let dir = set(&[("test.tsv", TEST)]);
        let corpus = dir.path().join("corpus.jsonl");
        fs_err::write(
            &corpus,
            "{\"_id\":\"d1\",\"text\":\"a\"}\n{\"_id\":\"d1\",\"text\":\"b\"}\n",
        )
        .unwrap();
        let twice = format!("{:#}", read(dir.path(), None, None).unwrap_err());
        assert!(twice.contains("the id `d1` occurs twice"));
        fs_err::write(&corpus, "{\"id\":\"d1\"}\n").unwrap();
        let damaged = format!("{:#}", read(dir.path(), None, None).unwrap_err());
        assert!(damaged.contains("corpus.jsonl:1: the line is not a JSON object with `_id`"));
        fs_err::remove_file(&corpus).unwrap();
        let missing = format!("{:#}", read(dir.path(), None, None).unwrap_err());
        assert!(
            missing.contains("corpus.jsonl") && missing.contains("a retrieval set is a folder")
        );
    }
}
