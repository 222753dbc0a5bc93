//! Wrong usage and failures.

use super::*;

#[test]
fn wrong_usage_exits_with_2_and_failures_with_1() {
    let scene = Scene::new(&[]);
    let says = |arguments: &[&str], code: i32, words: &str| {
        let output = scene.compare(arguments);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(words), "{arguments:?}: {errors}");
    };
    says(&["one"], 2, "CANDIDATES");
    says(&["one", "two", "--max-ndcg-drop", "0.1"], 2, "--retrieval");
    says(
        &["one", "two", "--min-cosine", "1.5"],
        2,
        "--min-cosine is a number from -1 to 1",
    );
    says(&["one", "two", "--dimensions", "0"], 2, "--dimensions");
    says(&["one", "two", "--speed-seconds=-1"], 2, "speed-seconds");
    says(
        &["one", "http://127.0.0.1:9/v1", "--api-key", "a,b"],
        2,
        "2 API keys and 1 servers",
    );
    says(&["nowhere", "two"], 1, "no such folder");
    let checkpoint = nano();
    let checkpoint = checkpoint.to_str().unwrap();
    let both = [checkpoint, checkpoint];
    says(
        &[&both[..], &["--instruction", "x"]].concat(),
        2,
        "--retrieval",
    );
    says(&[&both[..], &["--texts", "a.pdf"]].concat(), 2, "a.pdf");
    says(
        &[&both[..], &["--pair-columns", "a,b"]].concat(),
        2,
        "three columns",
    );
    says(
        &[&both[..], &["--html", "nowhere/r.html"]].concat(),
        1,
        "nowhere/r.html",
    );
    says(
        &[&both[..], &["--retrieval", "nowhere"]].concat(),
        1,
        "corpus.jsonl",
    );
    says(&[checkpoint, "http://127.0.0.1:9/v1"], 1, "does not answer");
    fs_err::write(scene.path("beir/qrels/test.tsv"), "q0\td99\t1\n").unwrap();
    says(
        &[&both[..], &["--retrieval", "beir"]].concat(),
        1,
        "test.tsv:1: the document `d99` is not in corpus.jsonl",
    );
}
