//! API keys from flag, variable and file, in the real program, which never shows them.

use std::process::Output;

use serde_json::json;

use super::client::Response;
use super::program::{Program, serve};

fn with_key(program: &Program, key: Option<&str>) -> Response {
    let (mut client, input) = (program.connect(), json!("heart"));
    match key {
        Some(key) => client.embed_with(key, &input),
        None => client.embed(&input),
    }
}

/// Runs a server that must fail to start.
fn rejected(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = serve(arguments);
    let Output { status, stderr, .. } = command.envs(variables.iter().copied()).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn keys_from_flag_variable_and_file_are_accepted_and_never_logged() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    fs_err::write(&file, "# for the tests\n\n  sk-of-file-1 \nsk-of-file-2\n").unwrap();
    let file = file.to_str().unwrap();
    for (arguments, variable, keys) in [
        (
            vec!["--api-key", "sk-of-flag-1", "--api-key", "sk-of-flag-2"],
            "",
            vec!["sk-of-flag-1", "sk-of-flag-2"],
        ),
        (
            vec![],
            "sk-of-env-1,sk-of-env-2",
            vec!["sk-of-env-1", "sk-of-env-2"],
        ),
        (
            vec!["--api-key-file", file],
            "sk-of-env-3",
            vec!["sk-of-file-1", "sk-of-file-2", "sk-of-env-3"],
        ),
    ] {
        let mut command = serve(&[&["--log", "trace"], &arguments[..]].concat());
        if !variable.is_empty() {
            command.env("LEXIVEC_API_KEY", variable);
        }
        let program = Program::spawn(&mut command);
        for key in &keys {
            assert_eq!(with_key(&program, Some(key)).status, 200, "{key}");
        }
        for wrong in [None, Some("sk-of-nobody"), Some(variable)] {
            let response = with_key(&program, wrong.filter(|key| !keys.contains(key)));
            assert_eq!(response.outcome(), (401, "invalid_api_key".to_owned()));
            assert_eq!(response.header("www-authenticate"), Some("Bearer"));
            assert!(!String::from_utf8(response.body).unwrap().contains("sk-of"));
        }
        assert_eq!(program.connect().get("/readyz").status, 200);
        program.signal("-TERM");
        let (_, log) = program.wait();
        // Not even at level trace, and not the rejected ones.
        assert!(log.contains("TRACE") && !log.contains("sk-of"), "{log}");
    }
}

#[test]
fn invalid_keys_fail_the_start_and_are_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs_err::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (empty, comments) = (path("empty", ""), path("comments", "# none yet\n\n"));
    for file in [&empty, &comments] {
        let (code, message) = rejected(&["--api-key-file", file], &[]);
        assert_eq!(code, Some(1));
        assert!(
            message.contains(file.as_str()) && message.contains("no key"),
            "{message}"
        );
    }
    let (code, message) = rejected(&["--api-key-file", "/nowhere/keys"], &[]);
    assert!(
        code == Some(1) && message.contains("/nowhere/keys"),
        "{message}"
    );
    let spaced = path("spaced", "sk-one\nsk two\n");
    let (code, message) = rejected(&["--api-key-file", &spaced], &[]);
    assert!(
        code == Some(2) && message.contains("line 2") && !message.contains("two"),
        "{message}"
    );
    for empty in ["", "sk-one,"] {
        let (code, message) = rejected(&[], &[("LEXIVEC_API_KEY", empty)]);
        assert!(
            code == Some(2) && !message.contains("sk-one"),
            "{empty:?}: {message}"
        );
    }
    assert_eq!(rejected(&["--api-key", ""], &[]).0, Some(2));
}
