//! Environment variables as images, compose files and clusters set them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Output, Stdio};

use crate::program::{QUICK, lexivec, lines, text};
use crate::server::program::{Program, model, serve};
use crate::support::nano;

fn inspect(variable: &str) -> Output {
    let mut command = lexivec();
    command.arg("inspect").arg(model());
    command.env("LEXIVEC_JSON", variable).output().unwrap()
}

#[test]
fn switches_take_the_words_for_on_and_off() {
    let is_json = |output: &Output| output.stdout.starts_with(b"{");
    for on in ["1", "true", "yes", "on", "TRUE"] {
        assert!(is_json(&inspect(on)), "{on}");
    }
    for off in ["0", "false", "no", "off", ""] {
        let output = inspect(off);
        assert!(output.status.success() && !is_json(&output), "{off}");
    }
    let output = inspect("maybe");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("`maybe`") && said.contains("yes"), "{said}");
    // A switch that is off neither excludes another flag nor needs one.
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("texts.txt"), "heart\nlung\n").unwrap();
    let output = lexivec()
        .current_dir(dir.path())
        .env("LEXIVEC_NO_CALIBRATION", "0")
        .env("LEXIVEC_RESUME", "off")
        .args([
            "convert",
            nano().to_str().unwrap(),
            "-p",
            "int8",
            "--no-verify",
            "-o",
            "model",
        ])
        .args(["--calibration", "texts.txt", "--min-cosine", "0"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_variable_that_is_not_utf_8_is_named_and_not_shown() {
    let latin = || OsStr::from_bytes(b"hf_secret\xe9");
    for (name, arguments, code) in [
        ("HF_TOKEN", &["convert", "owner/nowhere"][..], 1),
        ("HTTPS_PROXY", &["embed", "owner/nowhere"], 1),
        ("LEXIVEC_API_KEY", &["serve", "owner/nowhere"], 2),
        ("LEXIVEC_PRECISION", &["convert", "owner/nowhere"], 2),
    ] {
        let mut command = lexivec();
        command
            .args(arguments)
            .stdin(Stdio::null())
            .env(name, latin());
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{name}: {said}");
        let named = format!("environment variable {name} is not UTF-8");
        assert!(said.contains(&named) && !said.contains("secret"), "{said}");
    }
}

#[test]
fn a_key_that_ends_with_a_line_break_is_the_key_without_it() {
    let program = Program::spawn(serve(&[]).env("LEXIVEC_API_KEY", "sk-secret\r\n"));
    let input = serde_json::json!("heart");
    let mut client = program.connect();
    assert_eq!(client.embed_with("sk-secret", &input).status, 200);
    assert_eq!(client.embed_with("sk-other", &input).status, 401);
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("texts.txt"), lines(12)).unwrap();
    let compare = |key: &str| {
        let output = lexivec()
            .current_dir(dir.path())
            .env("LEXIVEC_API_KEY", key)
            .arg("compare")
            .arg(model())
            .arg(format!("http://{}/v1#fake", program.address))
            .args(["--texts", "texts.txt"])
            .args(QUICK)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (output.status.code(), text(&output.stderr))
    };
    let (code, said) = compare("sk-secret\n");
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = compare("sk secret");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("its API key has spaces"), "{said}");
    for empty in ["", "\n"] {
        let output = serve(&[]).env("LEXIVEC_API_KEY", empty).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    }
}

#[test]
fn a_server_listens_on_localhost_by_name() {
    let program = Program::spawn(&mut serve(&["--host", "localhost"]));
    assert!(program.address.ip().is_loopback());
    assert_eq!(program.connect().get("/livez").status, 200);
    let output = serve(&["--host", "no.such.name.invalid"]).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("no.such.name.invalid") && said.contains("0.0.0.0"),
        "{said}"
    );
}

#[test]
fn a_kubernetes_service_link_is_ignored_and_explained() {
    let mut command = lexivec();
    // The address is not this machine's, so that the test takes no fixed port.
    command
        .args(["serve", "nowhere", "--host", "192.0.2.1"])
        .env("LEXIVEC_PORT", "tcp://10.96.0.12:30000")
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert!(said.contains("cannot listen on 192.0.2.1:30000"), "{said}");
    assert!(
        said.contains("a Service named lexivec") && said.contains("enableServiceLinks"),
        "{said}"
    );
    let wrong = command.env("LEXIVEC_PORT", "http").output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    let said = text(&wrong.stderr);
    assert!(
        said.starts_with("error: environment variable LEXIVEC_PORT: invalid value 'http'"),
        "{said}"
    );
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let output = serve(&["--print-config"])
        .env("LEXIVEC_THREADS", "")
        .env("LEXIVEC_QUEUE", "")
        .env("LEXIVEC_TLS_CERT", "")
        .env("LEXIVEC_EP", "")
        .output()
        .unwrap();
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for line in [
        "queue = 10240  # default",
        "ep = [\"cpu\"]  # default",
        "# tls-cert: ",
    ] {
        assert!(printed.contains(line), "{line}\n{printed}");
    }
}

#[test]
fn the_model_of_embed_may_come_from_its_variable() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("a.txt"), "heart\n").unwrap();
    let embed = |model: Option<&std::path::Path>| {
        let mut command = lexivec();
        command.current_dir(dir.path()).args(["embed", "a.txt"]);
        if let Some(model) = model {
            command.env("LEXIVEC_MODEL", model);
        }
        command.stdin(Stdio::null()).output().unwrap()
    };
    let output = embed(Some(&model()));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 1);
    let output = embed(None);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("a.txt is a file of texts, not a model") && said.contains("LEXIVEC_MODEL"),
        "{said}"
    );
}

#[test]
fn an_unknown_domain_is_answered_with_the_known_ones() {
    let mut command = lexivec();
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("a.txt"), "heart\n").unwrap();
    command.current_dir(dir.path()).arg("embed").arg(model());
    let output = command.args(["a.txt", "--domain", "astrology"]).output();
    let said = text(&output.unwrap().stderr);
    assert!(said.contains("medical") && said.contains("legal"), "{said}");
    assert!(!said.contains("GET /"), "{said}");
}
