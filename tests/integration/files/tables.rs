//! Parquet files in and out. `tests/tables` compares them with other programs.

use std::path::Path;
use std::process::Output;

use super::kept::names;
use super::{embed, embed_from, rejected, rows, write};
use crate::program::{lexivec, lines, text};
use crate::server::program::model;

const CSV: &str = "id,text,language\n1,heart,en\n2,lung,en\n3,\"liver, left\",en\n4,心脏,zh\n";

fn succeed(output: &Output) -> String {
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    said
}

fn terms(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = lexivec();
    command
        .current_dir(dir)
        .args(["terms", "--term-column", "text"])
        .args(arguments);
    command.output().unwrap()
}

/// A folder with a.csv and a.parquet, which has its columns and vectors.
fn embedded() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.csv", CSV);
    succeed(&embed(dir.path(), &["a.csv", "-o", "a.parquet"]));
    dir
}

#[test]
fn a_table_that_was_written_is_read_with_its_columns_and_vectors() {
    let dir = embedded();
    let model = model();
    let model = model.to_str().unwrap();
    assert_eq!(names(dir.path()), ["a.csv", "a.parquet"]);
    let expected = embed(dir.path(), &["a.csv"]).stdout;
    let found = embed(dir.path(), &["a.parquet"]);
    assert_eq!(found.stdout, expected, "{}", text(&found.stderr));
    let named = ["a.parquet", "--input-format", "parquet"];
    assert_eq!(embed(dir.path(), &named).stdout, expected);

    // The vectors of the table, and those of the same model, give the same clusters.
    let settings = ["--min-cluster-size", "2", "-o"];
    let by_model = ["out", "a.csv", "-d", "32", "--model", model];
    succeed(&terms(dir.path(), &[&settings[..], &by_model].concat()));
    let by_table = ["again", "a.parquet", "--vectors", "a.parquet"];
    let said = succeed(&terms(dir.path(), &[&settings[..], &by_table].concat()));
    assert!(!said.contains("are left out"), "{said}");
    // A column is named that the results lack, unless it has the vectors.
    let other = ["third", "a.parquet", "--vectors", "out/vectors.npy"];
    let other = [&settings[..], &other, &["--vector-column", "vector"]].concat();
    let said = succeed(&terms(dir.path(), &other));
    assert!(
        said.contains(
            "a.parquet: columns that hold neither texts nor numbers are left out: embedding"
        ),
        "{said}"
    );
    let read = |folder: &str, name: &str| fs_err::read(dir.path().join(folder).join(name)).unwrap();
    for name in ["terms.csv", "clusters.csv"] {
        assert!(read("out", name) == read("again", name), "{name}");
    }
    // Both name the model. The order of the header's metadata is not fixed.
    let name = "projection.safetensors";
    assert_eq!(read("out", name).len(), read("again", name).len());
}

#[test]
fn tables_that_cannot_be_used_are_errors() {
    let dir = embedded();
    let whole = fs_err::read(dir.path().join("a.parquet")).unwrap();
    write(dir.path(), "cut.parquet", &whole[..whole.len() / 2]);
    write(dir.path(), "other.csv", "text,id\nheart,1\n");
    write(dir.path(), "invalid.csv", b"text,id\nheart,\xff\n");
    write(dir.path(), "a.txt", "heart\n");
    for (arguments, reason) in [
        (
            &["cut.parquet"][..],
            "cut.parquet: the file is no complete Parquet file",
        ),
        (
            &["a.parquet", "--column", "term"],
            "a.parquet: there is no column `term`; it has id, text, language, embedding (--column)",
        ),
        (
            &["a.parquet", "--column", "embedding"],
            "the column `embedding` has the type FixedSizeList",
        ),
        (
            &["a.parquet", "-o", "b.parquet"],
            "a column `embedding` already",
        ),
        (
            &["a.csv", "other.csv", "-o", "b.parquet"],
            "the input files have different ones",
        ),
        (
            &["invalid.csv", "-o", "b.parquet"],
            "invalid.csv:2: the row is not UTF-8 text",
        ),
    ] {
        let said = rejected(&embed(dir.path(), arguments));
        assert!(said.contains(reason), "{said}");
        assert!(!dir.path().join("b.parquet").exists());
    }
    // Columns are checked before the model, which does not exist here.
    for (arguments, reason) in [
        (
            &["a.parquet"][..],
            "a column `embedding` already, and the vectors need another name (--vector-column)",
        ),
        (
            &["a.csv", "--vector-column", "language"],
            "a column `language` already",
        ),
        (
            &["a.txt", "--vector-column", "text"],
            "a column `text` already",
        ),
        (&["a.csv", "other.csv"], "have different ones"),
    ] {
        let mut command = lexivec();
        let command = command.current_dir(dir.path()).args(["embed", "no-model"]);
        let command = command.args(arguments).args(["-o", "b.parquet"]);
        let said = rejected(&command.output().unwrap());
        assert!(said.contains(reason), "{said}");
    }
    let piped = embed_from(dir.path(), &["--input-format", "parquet"], &whole);
    assert!(rejected(&piped).contains("so it must be in a file"));
    let renamed = ["a.parquet", "-o", "b.parquet", "--vector-column", "second"];
    succeed(&embed(dir.path(), &renamed));

    // The table of another model's vectors.
    let digest = b"blake3:";
    let key = b"lexivec.model_digest";
    let mut other = whole;
    let start = other.windows(key.len()).position(|w| w == key).unwrap();
    let length = other[start..]
        .windows(digest.len())
        .position(|w| w == digest);
    if let Some(length) = length {
        let place = start + length + digest.len();
        other[place] = if other[place] == b'0' { b'1' } else { b'0' };
    } else {
        let place = start + key.len() + 4;
        other[place] = if other[place] == b'0' { b'1' } else { b'0' };
    }
    write(dir.path(), "other.parquet", &other);
    let settings = ["a.csv", "-o", "out", "--force", "--min-cluster-size", "2"];
    let model = model();
    let by_model = [&settings[..], &["--model", model.to_str().unwrap()]].concat();
    succeed(&terms(
        dir.path(),
        &[&by_model[..], &["--vectors", "a.parquet"]].concat(),
    ));
    for (vectors, reason) in [
        (
            &["--vectors", "other.parquet"][..],
            "other.parquet: the vectors were computed by the model",
        ),
        (
            &["--vectors", "cut.parquet"],
            "cut.parquet: the file is no complete Parquet file",
        ),
        (
            &["--vectors", "a.parquet", "--vector-column", "vector"],
            "no column `vector`; it has id, text, language, embedding (--vector-column)",
        ),
    ] {
        let said = rejected(&terms(dir.path(), &[&by_model[..], vectors].concat()));
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn a_table_is_continued_after_its_last_row_group() {
    let dir = tempfile::tempdir().unwrap();
    let all = lines(2500);
    let job = ["-", "-o", "a.parquet"];
    let bad = [lines(1500).as_bytes(), b"caf\xe9\n"].concat();
    let said = rejected(&embed_from(dir.path(), &job, &bad));
    assert!(
        said.contains("1500 vectors are kept in a.parquet.partial"),
        "{said}"
    );
    let resume = [&job[..], &["--resume"]].concat();
    let renamed = [&resume[..], &["--vector-column", "v"]].concat();
    let said = rejected(&embed_from(dir.path(), &renamed, all.as_bytes()));
    assert!(said.contains("another --vector-column"), "{said}");
    let said = succeed(&embed_from(dir.path(), &resume, all.as_bytes()));
    assert!(
        said.contains("1500 of them were in the unfinished output"),
        "{said}"
    );
    assert_eq!(names(dir.path()), ["a.parquet"]);
    let read = embed(dir.path(), &["a.parquet"]);
    let texts = rows(&read.stdout).into_iter().map(|(_, text)| text + "\n");
    assert_eq!(texts.collect::<String>(), all);

    // A job whose last row was kept already.
    let said = rejected(&embed_from(dir.path(), &["-", "-o", "b.parquet"], &bad));
    assert!(said.contains("--resume"), "{said}");
    let resume = ["-", "-o", "b.parquet", "--resume"];
    succeed(&embed_from(dir.path(), &resume, lines(1500).as_bytes()));
    assert_eq!(names(dir.path()), ["a.parquet", "b.parquet"]);
    assert_eq!(rows(&embed(dir.path(), &["b.parquet"]).stdout).len(), 1500);
}
