//! Settings that releases of transformers and sentence-transformers write into different places.

use std::path::Path;

use lexivec_runtime::Library;
use lexivec_runtime::vector::cosine;
use serde_json::{Map, Value, json};

use super::{TEXT, copy_of, embed, golden, rejects, saved_with_a_limit, stderr, vector};
use crate::program::lexivec;

/// Takes `rope_theta` out of config.json, and puts other rotary settings in.
fn with_rope(dir: &Path, settings: &Value) {
    let path = dir.join("config.json");
    let text = fs_err::read_to_string(&path).unwrap();
    let mut config: Map<String, Value> = serde_json::from_str(&text).unwrap();
    for place in ["rope_theta", "rope_scaling", "rope_parameters"] {
        config.remove(place);
    }
    config.extend(settings.as_object().unwrap().clone());
    fs_err::write(&path, serde_json::to_string(&config).unwrap()).unwrap();
}

#[test]
fn the_rotary_base_is_read_from_each_of_its_places() {
    let cache = tempfile::tempdir().unwrap();
    let dir = copy_of("tests/fixtures/tiny/qwen3");
    let expected = golden("qwen3", TEXT);
    let similarity = |settings: &Value| {
        with_rope(dir.path(), settings);
        cosine(&vector(&embed(dir.path(), cache.path(), &[])), &expected)
    };
    for settings in [
        json!({"rope_theta": 1_000_000}),
        json!({"rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0}}),
        json!({"rope_scaling": {"type": "default", "rope_theta": 1_000_000}}),
        // The nested value takes precedence, as in transformers.
        json!({"rope_theta": 10_000, "rope_parameters": {"rope_theta": 1_000_000}}),
    ] {
        assert!(similarity(&settings) > 0.99999, "{settings}");
    }
    // Without a value, the default applies, which is another one here.
    assert!(similarity(&json!({})) < 0.9999);
    assert!(similarity(&json!({"rope_parameters": {"rope_theta": 500_000}})) < 0.99999);
    for (settings, words) in [
        (
            json!({"rope_parameters": {"rope_theta": 1}, "rope_scaling": {"rope_theta": 2}}),
            "remove the one that is wrong",
        ),
        (
            json!({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1_000_000, "factor": 4.0}}),
            "rope_parameters of type `yarn`",
        ),
        (
            json!({"rope_parameters": {"full_attention": {"rope_theta": 1_000_000}}}),
            "differs between layers",
        ),
        (
            json!({"rope_parameters": {"rope_theta": "1e6"}}),
            "rope_parameters.rope_theta",
        ),
    ] {
        with_rope(dir.path(), &settings);
        rejects(&embed(dir.path(), cache.path(), &[]), 1, &[words]);
    }
}

#[test]
fn the_program_truncates_where_sentence_transformers_6_saved_the_limit() {
    let (dir, golden, longest) = saved_with_a_limit();
    let lines = golden
        .cases
        .iter()
        .filter(|case| !case.text.contains(['\n', '\r']));
    let cases: Vec<_> = lines.filter(|case| !case.text.trim().is_empty()).collect();
    assert!(
        cases
            .iter()
            .any(|case| Some(case.token_ids.len()) == longest)
    );

    let cache = tempfile::tempdir().unwrap();
    let texts = cache.path().join("texts.txt");
    let content: Vec<&str> = cases.iter().map(|case| case.text.as_str()).collect();
    fs_err::write(&texts, content.join("\n")).unwrap();
    let run = |flags: &[&str]| {
        let mut command = lexivec();
        command.arg("embed").arg(dir.path()).arg(&texts).args(flags);
        command
            .arg("--onnxruntime")
            .arg(Library::load(None, false).unwrap().path());
        command.env("LEXIVEC_CACHE", cache.path()).output().unwrap()
    };
    let limit = format!("{} tokens", longest.unwrap());
    rejects(&run(&[]), 1, &[&limit]);
    let output = run(&["--truncate"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains(&limit), "{}", stderr(&output));
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), cases.len());
    for (case, line) in cases.iter().zip(lines.lines()) {
        let row: Value = serde_json::from_str(line).unwrap();
        let found: Vec<f32> = serde_json::from_value(row["embedding"].clone()).unwrap();
        let similarity = cosine(&case.embedding, &found);
        assert!(similarity > 0.999_99, "{:?}: {similarity}", case.text);
    }
}
