//! What `lexivec terms` refuses to read or to replace.

use super::{TERMS, run, said};
use crate::server::program::model;

#[test]
fn files_of_others_are_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("terms.csv"), TERMS).unwrap();
    let model = model();
    let embed = ["--model", model.to_str().unwrap()];
    let settings = ["terms.csv", "--min-cluster-size", "3", "-o", "out"];
    let with = |more: &[&str]| run(dir.path(), &[&settings[..], more].concat());
    let out = dir.path().join("out");
    fs_err::create_dir(&out).unwrap();
    for name in ["report.html", "projection.safetensors", "vectors.npy"] {
        fs_err::write(out.join(name), "mine").unwrap();
        let output = with(&embed);
        assert_eq!(output.status.code(), Some(1));
        let expected = format!("out/{name} exists: choose another --output");
        assert!(said(&output).contains(&expected), "{}", said(&output));
        assert_eq!(fs_err::read(out.join(name)).unwrap(), b"mine");
        fs_err::remove_file(out.join(name)).unwrap();
    }
    fs_err::write(out.join("notes.txt"), "mine").unwrap();
    let output = with(&embed);
    assert!(output.status.success(), "{}", said(&output));
    let output = with(&embed);
    let hint = "or replace it with --force; --vectors out/vectors.npy uses its vectors again";
    assert!(said(&output).contains(hint), "{}", said(&output));
    let again = ["--vectors", "out/vectors.npy", "--force"];
    assert!(with(&again).status.success());

    // Links are not followed, whatever the flags.
    let foreign = dir.path().join("foreign");
    fs_err::write(&foreign, "mine").unwrap();
    for name in [
        "clusters.csv",
        "clusters.csv.partial",
        "report.html.partial",
    ] {
        let link = out.join(name);
        let _ = fs_err::remove_file(&link);
        std::os::unix::fs::symlink(&foreign, &link).unwrap();
        let output = with(&again);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(
            said(&output).contains("this is a symbolic link"),
            "{}",
            said(&output)
        );
        assert_eq!(fs_err::read(&foreign).unwrap(), b"mine");
        fs_err::remove_file(&link).unwrap();
    }
    assert_eq!(fs_err::read(out.join("notes.txt")).unwrap(), b"mine");
}

#[test]
fn wrong_input_is_an_error_before_a_model_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| fs_err::write(dir.path().join(name), content).unwrap();
    write("terms.csv", TERMS);
    write("taken.csv", &TERMS.replace("domain", "x"));
    write("clustered.csv", &TERMS.replace("domain", "cluster"));
    write("empty.csv", "term\n");
    write("bad.npy", "term\n");
    fs_err::create_dir(dir.path().join("full")).unwrap();
    write("full/terms.csv", TERMS);
    for (arguments, code, reason) in [
        (
            &["terms.csv", "-o", "out"][..],
            2,
            "--model, or their vectors with --vectors",
        ),
        (
            &[
                "terms.csv",
                "-o",
                "out",
                "--model",
                "x",
                "--term-column",
                "text",
            ],
            1,
            "no column `text`; it has id, term",
        ),
        (
            &[
                "terms.csv",
                "-o",
                "out",
                "--model",
                "x",
                "--min-cluster-size",
                "1",
            ],
            1,
            "must be at least 2",
        ),
        (
            &[
                "terms.csv",
                "-o",
                "out",
                "--model",
                "x",
                "--min-samples",
                "14",
            ],
            1,
            "13 rows are too few",
        ),
        (
            &["terms.csv", "-o", "out", "--model", "x", "--variance", "95"],
            1,
            "between 0 and 1",
        ),
        (
            &["terms.csv", "-o", "out", "--model", "x", "--metric", "l1"],
            2,
            "cosine and euclidean",
        ),
        (
            &["terms.csv", "-o", "out", "--model", "x", "--map", "tsne"],
            2,
            "neighbours, pca, none",
        ),
        (
            &["terms.csv", "-o", "out", "--model", "x", "--pairs", "2"],
            1,
            "the least similarity is 2, and must be from -1 to 1",
        ),
        (
            &["taken.csv", "-o", "out", "--model", "x"],
            1,
            "taken.csv: the file has a column `x`, and terms.csv gets one of that name",
        ),
        (
            &[
                "clustered.csv",
                "-o",
                "out",
                "--model",
                "x",
                "--map",
                "none",
            ],
            1,
            "has a column `cluster`",
        ),
        (
            &[
                "taken.csv",
                "-o",
                "out",
                "--vectors",
                "bad.npy",
                "--map",
                "none",
            ],
            1,
            "bad.npy: this is no .npy file",
        ),
        (
            &["empty.csv", "-o", "out", "--model", "x"],
            1,
            "0 rows are too few",
        ),
        (
            &["full/terms.csv", "-o", "full", "--model", "x"],
            2,
            "would replace the input",
        ),
        (
            &["terms.csv", "-o", "out", "--vectors", "bad.npy"],
            1,
            "bad.npy: this is no .npy file",
        ),
        (
            &["missing.csv", "-o", "out", "--model", "x"],
            1,
            "missing.csv",
        ),
    ] {
        let output = run(dir.path(), arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            said(&output)
        );
        assert!(
            said(&output).contains(reason),
            "{arguments:?}: {}",
            said(&output)
        );
    }
}
