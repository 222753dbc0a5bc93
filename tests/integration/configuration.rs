//! `--config` and `--print-config`.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::program::{lexivec, text};
use crate::server::program::{Program, model};

/// Writes a file of the given mode, and returns its path.
fn written(dir: &Path, contents: &str, mode: u32) -> String {
    let path = dir.join("lexivec.toml");
    fs_err::write(&path, contents).unwrap();
    fs_err::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A table that serves nano on a free port.
fn table() -> String {
    let model = model();
    let model = model.to_str().unwrap();
    format!("[serve]\nmodel = '{model}'\nserved-model-name = 'configured'\nport = 0\n")
}

#[test]
fn a_server_starts_with_the_settings_of_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(dir.path(), &table(), 0o644);
    let mut command = lexivec();
    command.args(["serve", "--config", &file]);
    let program = Program::spawn(&mut command);
    let answer = program.connect().get("/v1/models");
    let body = text(&answer.body);
    assert!(body.contains("\"configured\""), "{body}");
}

#[test]
fn flags_win_over_variables_variables_over_the_file_and_the_file_over_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let contents = table() + "queue = 1\nsessions = 2\nmax-length = 3\napi-key = ['sk-of-file']\n";
    let file = written(dir.path(), &contents, 0o600);
    let output = lexivec()
        .args(["serve", "--print-config", "--queue", "4"])
        .env("LEXIVEC_CONFIG", &file)
        .env("LEXIVEC_QUEUE", "5")
        .env("LEXIVEC_SESSIONS", "6")
        .output()
        .unwrap();
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for line in [
        "queue = 4  # flag".to_owned(),
        "sessions = 6  # environment variable LEXIVEC_SESSIONS".to_owned(),
        format!("max-length = 3  # {file}:7"),
        format!("api-key = [\"***\"]  # {file}:8"),
        "body-timeout = 60  # default".to_owned(),
    ] {
        assert!(
            printed.lines().any(|found| found == line),
            "{line}\n{printed}"
        );
    }
    assert!(!printed.contains("sk-of-file"), "{printed}");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_key_in_a_file_that_everybody_can_read_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let contents = table() + "api-key = 'sk-of-file'\n";
    let file = written(dir.path(), &contents, 0o644);
    let output = lexivec()
        .args(["serve", "--print-config", "--config", &file])
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert!(
        said.contains("warning") && said.contains("`api-key`"),
        "{said}"
    );
    assert!(!said.contains("sk-of-file"), "{said}");
}

#[test]
fn an_error_in_the_file_is_wrong_usage_and_names_its_place() {
    let dir = tempfile::tempdir().unwrap();
    for (contents, reason) in [
        ("[serve]\nqueu = 1\n", "did you mean `queue`?"),
        ("[serve]\nqueue = true\n", "`queue` takes a number"),
        ("[serve]\nprecision = 'fp64'\n", "invalid value 'fp64'"),
    ] {
        let file = written(dir.path(), contents, 0o600);
        let output = lexivec()
            .args(["serve", "nowhere", "--config", &file])
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        let expected = format!("error: {file}:2: ");
        assert!(
            said.starts_with(&expected) && said.contains(reason),
            "{said}"
        );
    }
}

/// What `--print-config` prints for a command with this file; the error where it fails.
fn print_config(contents: &str, arguments: &[&str]) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = written(dir.path(), contents, 0o600);
    let mut command = lexivec();
    command.args(arguments).args(["--config", &file]);
    let output = command.arg("--print-config").output().unwrap();
    match output.status.success() {
        true => Ok(text(&output.stdout).replace(&file, "FILE")),
        false => Err(text(&output.stderr).replace(&file, "FILE")),
    }
}

#[test]
fn arguments_of_the_file_keep_their_order_beside_the_command_line() {
    let both = "[embed]\nfiles = ['a.txt', '-']\nmodel = 'M'\n";
    let printed = print_config(both, &["embed"]).unwrap();
    assert!(printed.contains("model = \"M\"  # FILE:3"), "{printed}");
    let files = "files = [\"a.txt\", \"-\"]  # FILE:2";
    assert!(printed.contains(files), "{printed}");
    let printed = print_config(both, &["embed", "N"]).unwrap();
    assert!(printed.contains("model = \"N\"  # flag"), "{printed}");
    assert!(printed.contains(files), "{printed}");
    let said = print_config("[embed]\nfiles = ['a.txt']\n", &["embed"]).unwrap_err();
    assert!(said.contains("MODEL"), "{said}");
    // Values that look like flags are values.
    let printed = print_config("[inspect]\nmodel = '--help'\n", &["inspect"]);
    assert!(
        !printed.clone().is_ok_and(|p| p.contains("Usage")),
        "{printed:?}"
    );
}

#[test]
fn a_flag_without_its_value_does_not_take_an_argument_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim.jsonl");
    fs_err::write(&victim, "{\"text\": \"heart\"}\n").unwrap();
    let contents = format!("[embed]\nfiles = ['{}']\n", victim.display());
    let said = print_config(&contents, &["embed", "M", "-o"]).unwrap_err();
    assert!(said.contains("a value is required"), "{said}");
}

#[test]
fn a_flag_drops_the_settings_of_the_file_that_it_excludes() {
    let contents = "[embed]\ndomain = 'medical'\ndimensions = 8\n";
    let printed = print_config(contents, &["embed", "M", "--instruction", "x"]).unwrap();
    assert!(printed.contains("# domain: not set"), "{printed}");
    assert!(printed.contains("dimensions = 8  # FILE:3"), "{printed}");
}

#[test]
fn secrets_that_are_none_are_rejected() {
    for contents in ["[serve]\napi-key = []\n", "[serve]\napi-key = ['***']\n"] {
        let said = print_config(contents, &["serve", "M"]).unwrap_err();
        assert!(said.contains("FILE:2: `api-key` is "), "{said}");
    }
}

#[test]
fn a_file_that_might_not_end_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let large = dir.path().join("large.toml");
    fs_err::write(&large, "#".repeat((1 << 20) + 1)).unwrap();
    for (path, reason) in [
        (pipe.to_str().unwrap(), "is not a regular file"),
        (dir.path().to_str().unwrap(), "is not a regular file"),
        ("/dev/zero", "is not a regular file"),
        (large.to_str().unwrap(), "more than 1048576 bytes"),
    ] {
        let output = lexivec()
            .args(["serve", "M", "--config", path])
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(path) && said.contains(reason), "{said}");
    }
}

#[test]
fn a_switch_of_a_variable_or_of_the_file_can_be_turned_off() {
    let dir = tempfile::tempdir().unwrap();
    let on = written(dir.path(), "[serve]\noffline = true\n", 0o600);
    let printed = |flags: &[&str], variable: Option<&str>, file: Option<&str>| {
        let mut command = lexivec();
        command.args(["serve", "M", "--print-config"]).args(flags);
        if let Some(value) = variable {
            command.env("LEXIVEC_OFFLINE", value);
        }
        if let Some(path) = file {
            command.args(["--config", path]);
        }
        let printed = text(&command.output().unwrap().stdout).replace(&on, "FILE");
        let line = printed.lines().find(|line| line.starts_with("offline"));
        line.unwrap_or_default().to_owned()
    };
    let file = Some(on.as_str());
    let variable = "environment variable LEXIVEC_OFFLINE";
    for (flags, value, file, line) in [
        (&[][..], None, file, "offline = true  # FILE:2".to_owned()),
        (
            &["--offline=off"],
            None,
            file,
            "offline = false  # flag".to_owned(),
        ),
        (
            &["--offline=false"],
            Some("1"),
            None,
            "offline = false  # flag".to_owned(),
        ),
        (
            &[],
            Some("false"),
            file,
            format!("offline = false  # {variable}"),
        ),
        (
            &["--offline"],
            Some("off"),
            file,
            "offline = true  # flag".to_owned(),
        ),
        (&[], None, None, "offline = false  # default".to_owned()),
    ] {
        assert_eq!(printed(flags, value, file), line, "{flags:?} {value:?}");
    }
}

#[test]
fn a_variable_that_kubernetes_sets_does_not_hide_the_port_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(dir.path(), "[serve]\nport = 34567\n", 0o600);
    let output = lexivec()
        .args(["serve", "M", "--print-config", "--config", &file])
        .env("LEXIVEC_PORT", "tcp://10.0.0.1:30000")
        .output()
        .unwrap();
    let printed = text(&output.stdout);
    assert!(printed.contains("port = 34567  # "), "{printed}");
}
