//! Help, completion scripts and manual pages.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};

use crate::program::{lexivec, text};

const COMMANDS: [&str; 8] = [
    "convert", "serve", "embed", "terms", "nearest", "compare", "inspect", "doctor",
];

#[test]
fn the_short_help_has_no_variables_and_the_long_one_has() {
    for command in COMMANDS {
        let help = |flag: &str| {
            let output = lexivec().args([command, flag]).output().unwrap();
            assert!(output.status.success(), "{command}");
            text(&output.stdout)
        };
        let (short, long) = (help("-h"), help("--help"));
        assert!(!short.contains("[env: "), "{short}");
        assert!(long.contains("[env: LEXIVEC_CONFIG"), "{long}");
        assert!(short.len() < long.len(), "{command}");
    }
}

#[test]
fn the_completion_script_is_valid_bash_and_completes_flags() {
    let output = lexivec().args(["completions", "bash"]).output().unwrap();
    let found = text(&output.stdout);
    assert!(found.contains("--max-batch-tokens"));
    assert!(found.contains("lexivec,serve)") && !found.contains("lexivec,man)"));
    let mut bash = Command::new("bash")
        .arg("-n")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut script = bash.stdin.take().unwrap();
    script.write_all(&output.stdout).unwrap();
    drop(script);
    let parsed = bash.wait_with_output().unwrap();
    assert!(parsed.status.success(), "{}", text(&parsed.stderr));
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let output = lexivec().args(["completions", shell]).output().unwrap();
        assert!(
            output.status.success() && !output.stdout.is_empty(),
            "{shell}"
        );
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("pages");
    let output = lexivec()
        .args(["man", "--out"])
        .arg(&pages)
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    for command in COMMANDS {
        let page = fs_err::read_to_string(pages.join(format!("lexivec-{command}.1"))).unwrap();
        assert!(page.contains(".SH OPTIONS"), "{command}");
        let title = format!(
            ".TH LEXIVEC-{} 1 2023-11-14 \"lexivec {}\" \"User Commands\"",
            command.to_uppercase(),
            env!("CARGO_PKG_VERSION")
        );
        assert!(page.contains(&title), "{}", &page[..200]);
    }
    assert!(!pages.join("lexivec-man.1").exists());
    let output = lexivec()
        .args(["man", "--out"])
        .arg(&pages)
        .env("SOURCE_DATE_EPOCH", "yesterday")
        .output()
        .unwrap();
    assert!(text(&output.stderr).contains("SOURCE_DATE_EPOCH"));
    assert!(pages.join("lexivec.1").is_file());
}

#[test]
fn help_is_printed_whatever_the_variables_are() {
    for arguments in [
        &["--help"][..],
        &["-h"],
        &["serve", "--help"],
        &["serve", "x", "-h"],
        &["help", "compare"],
    ] {
        for value in [&b""[..], b",", b"\xe9"] {
            let mut command = lexivec();
            command
                .args(arguments)
                .env("LEXIVEC_API_KEY", OsStr::from_bytes(value));
            let output = command.env("LEXIVEC_PORT", "x").output().unwrap();
            let said = text(&output.stderr);
            assert!(
                output.status.success() && said.is_empty(),
                "{arguments:?}: {said}"
            );
            assert!(
                text(&output.stdout).contains("Usage: lexivec"),
                "{arguments:?}"
            );
        }
    }
    // A flag without its value is not the variable's fault.
    let mut command = lexivec();
    command
        .args(["serve", "x", "--api-key"])
        .env("LEXIVEC_API_KEY", "");
    let said = text(&command.output().unwrap().stderr);
    assert!(
        !said.contains("environment variable") && said.contains("--api-key"),
        "{said}"
    );
}
