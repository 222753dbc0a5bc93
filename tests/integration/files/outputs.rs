//! Modes, links and devices that vectors are written to.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{LINES, embed, rows, write};
use crate::program::{QUICK, copy_of_nano, lexivec, lines, text};
use crate::server::program::model;

/// Embeds under an umask; the mode of the output.
fn mode(dir: &Path, umask: &str, output: &str) -> u32 {
    let program = lexivec().get_program().to_owned();
    let script = format!("umask {umask}; exec \"$0\" embed \"$1\" a.txt -d 32 -o {output}");
    let run = Command::new("sh")
        .current_dir(dir)
        .args(["-c", &script])
        .arg(program)
        .arg(model())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", text(&run.stderr));
    fs_err::metadata(dir.join(output)).unwrap().mode() & 0o777
}

#[test]
fn the_umask_or_the_file_that_is_replaced_decides_the_mode() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.txt", LINES);
    assert_eq!(mode(dir.path(), "077", "new.npy"), 0o600);
    assert_eq!(mode(dir.path(), "022", "other.npy"), 0o644);
    assert_eq!(mode(dir.path(), "002", "shared.jsonl"), 0o664);
    for kept in [0o600, 0o640, 0o666] {
        let path = dir.path().join("other.npy");
        fs_err::set_permissions(&path, Permissions::from_mode(kept)).unwrap();
        assert_eq!(mode(dir.path(), "022", "other.npy"), kept);
    }
}

#[test]
fn a_link_stays_and_its_target_is_written() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.txt", LINES);
    fs_err::create_dir(dir.path().join("store")).unwrap();
    for target in ["store/there.jsonl", "store/new.jsonl"] {
        if target.contains("there") {
            write(dir.path(), target, "old");
        }
        let link = dir.path().join("link.jsonl");
        let _ = fs_err::remove_file(&link);
        symlink(target, &link).unwrap();
        let output = embed(dir.path(), &["a.txt", "-o", "link.jsonl"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(link.is_symlink());
        let written = fs_err::read(dir.path().join(target)).unwrap();
        assert_eq!(rows(&written).len(), 2);
    }
    assert_eq!(
        fs_err::read_dir(dir.path().join("store")).unwrap().count(),
        2
    );
}

#[test]
fn conversions_follow_links_and_the_umask_too() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = copy_of_nano(dir.path());
    for entry in fs_err::read_dir(&checkpoint).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs_err::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        }
    }
    fs_err::create_dir(dir.path().join("store")).unwrap();
    symlink("store/model", dir.path().join("link")).unwrap();
    let convert = [
        "convert",
        "checkpoint",
        "-o",
        "link",
        "--no-verify",
        "--force",
    ];
    for _ in 0..2 {
        let output = lexivec()
            .current_dir(dir.path())
            .args(convert)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(dir.path().join("link").is_symlink());
    }
    let model = dir.path().join("store/model");
    let file = |name: &str| fs_err::metadata(model.join(name)).unwrap().mode();
    assert_eq!(file("tokenizer.json"), file("lexivec.json"));
    assert_eq!(
        fs_err::read_dir(dir.path().join("store")).unwrap().count(),
        1
    );
}

#[test]
fn reports_follow_links_and_modes_and_are_checked_first() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "texts.txt", lines(12));
    fs_err::create_dir(dir.path().join("store")).unwrap();
    symlink("store/new.html", dir.path().join("link.html")).unwrap();
    write(dir.path(), "kept.json", "old");
    let kept = dir.path().join("kept.json");
    fs_err::set_permissions(&kept, Permissions::from_mode(0o600)).unwrap();
    let model = model();
    let compare = |systems: [&str; 2], reports: &[&str]| {
        lexivec()
            .current_dir(dir.path())
            .arg("compare")
            .args(systems)
            .args(["--texts", "texts.txt"])
            .args(QUICK)
            .args(reports)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let model = model.to_str().unwrap();
    let output = compare(
        [model, model],
        &["--json", "kept.json", "--html", "link.html"],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(fs_err::metadata(&kept).unwrap().mode() & 0o777, 0o600);
    assert!(fs_err::read_to_string(&kept).unwrap().starts_with('{'));
    assert!(dir.path().join("link.html").is_symlink());
    assert!(dir.path().join("store/new.html").is_file());
    // There are no such systems either, and that would be found out later.
    let output = compare(["nowhere", "neither"], &["--html", "missing/a.html"]);
    let said = text(&output.stderr);
    assert!(said.contains("missing/a.html: a report cannot"), "{said}");
}

#[test]
fn standard_output_and_devices_may_be_named() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.txt", LINES);
    for name in ["-", "/dev/stdout"] {
        let output = embed(dir.path(), &["a.txt", "-o", name]);
        assert_eq!(rows(&output.stdout).len(), 2, "{}", text(&output.stderr));
    }
    assert!(
        embed(dir.path(), &["a.txt", "-o", "/dev/null"])
            .status
            .success()
    );
    assert!(!Path::new("/dev/null").is_file());
    let full = embed(dir.path(), &["a.txt", "-o", "/dev/full"]);
    assert_eq!(full.status.code(), Some(1));
    assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn an_output_that_is_an_input_is_rejected_and_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.jsonl", LINES);
    symlink("a.jsonl", dir.path().join("link.jsonl")).unwrap();
    fs_err::hard_link(dir.path().join("a.jsonl"), dir.path().join("hard.jsonl")).unwrap();
    for output in ["a.jsonl", "./a.jsonl", "link.jsonl", "hard.jsonl"] {
        let rejected = embed(
            dir.path(),
            &["a.jsonl", "--input-format", "txt", "-o", output],
        );
        assert_eq!(
            rejected.status.code(),
            Some(2),
            "{}",
            text(&rejected.stderr)
        );
        assert!(text(&rejected.stderr).contains("another file"));
    }
    let compared = lexivec()
        .current_dir(dir.path())
        .args([
            "compare",
            "x",
            "y",
            "--texts",
            "a.jsonl",
            "--json",
            "link.jsonl",
        ])
        .output()
        .unwrap();
    assert_eq!(
        compared.status.code(),
        Some(2),
        "{}",
        text(&compared.stderr)
    );
    assert_eq!(
        fs_err::read_to_string(dir.path().join("a.jsonl")).unwrap(),
        LINES
    );
}

#[test]
fn no_unfinished_file_is_written_through_a_link() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.txt", "heart\n\nlung\n");
    write(dir.path(), "foreign", "mine");
    for link in [
        "b.jsonl.partial",
        "b.jsonl.partial.json.new",
        "b.jsonl.errors.jsonl.partial",
    ] {
        symlink("foreign", dir.path().join(link)).unwrap();
        let output = embed(
            dir.path(),
            &["a.txt", "-o", "b.jsonl", "--on-error", "skip"],
        );
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("this is a symbolic link"), "{said}");
        let foreign = fs_err::read(dir.path().join("foreign")).unwrap();
        assert_eq!(foreign, b"mine", "{link}");
        fs_err::remove_file(dir.path().join(link)).unwrap();
        let _ = fs_err::remove_file(dir.path().join("b.jsonl.partial"));
        let _ = fs_err::remove_file(dir.path().join("b.jsonl.errors.jsonl.partial"));
    }
}
