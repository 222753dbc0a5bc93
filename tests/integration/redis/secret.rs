//! Values that are signed, in a Redis that others can write to.

use std::process::Stdio;

use lexivec_runtime::cache::RedisSecret;

use super::*;
use crate::server::program::{Program, serve};

const ONE: &str = "one secret of 24 bytes..";
const TWO: &str = "two secret of 24 bytes..";

fn signed(server: &RedisServer, secret: &str) -> RedisSettings {
    RedisSettings {
        secret: Some(RedisSecret::new(secret.as_bytes()).unwrap()),
        ..settings(&server.url())
    }
}

fn value(server: &RedisServer, id: usize) -> Vec<u8> {
    server.command(&[b"GET", &name(&key(id))])
}

fn set(server: &RedisServer, id: usize, value: &[u8]) {
    server.command::<()>(&[b"SET", &name(&key(id)), value]);
}

#[test]
fn forged_and_moved_values_are_not_served() {
    let server = RedisServer::start(&[]);
    let cache = Cache::connected(&signed(&server, ONE));
    cache.put_and_wait(&entries(0..5));

    // What a server without the secret writes for another vector, with a checksum that is right.
    let open = Cache::connected(&settings(&server.url()));
    open.put_and_wait(&[(key(0), state(7))]);
    // A value that this deployment signed, for another text.
    set(&server, 1, &value(&server, 2));
    // A byte of a vector, and of a signature.
    for (id, offset) in [(3, "40"), (4, "5")] {
        server.command::<i64>(&[b"SETRANGE", &name(&key(id)), offset.as_bytes(), b"\xff"]);
    }
    let answer = cache.get(keys(0..5));
    let found: Vec<bool> = answer.found.iter().map(Option::is_some).collect();
    assert_eq!(found, [false, false, true, false, false]);
    assert_eq!(*answer.found[2].clone().unwrap(), *state(2));
    assert_eq!(cache.errors("value"), 4.0);
    assert_eq!(cache.open(), 0.0);

    // They are replaced, and a server without a secret does not read the new ones.
    cache.put_and_wait(&entries(0..5));
    assert!(open.get(keys(0..5)).found_nothing());
}

#[test]
fn servers_share_values_exactly_when_they_share_the_secret() {
    let server = RedisServer::start(&[]);
    let [first, second] = [ONE, ONE].map(|secret| Cache::connected(&signed(&server, secret)));
    let other = Cache::connected(&signed(&server, TWO));
    first.put_and_wait(&entries(0..3));
    let found: Vec<_> = second.get(keys(0..3)).found.into_iter().flatten().collect();
    assert_eq!(found, (0..3).map(state).collect::<Vec<_>>());
    assert!(other.get(keys(0..3)).found_nothing());
    assert_eq!(other.errors("value"), 3.0);
}

#[test]
fn the_program_signs_with_the_secret_of_a_file_and_warns_of_other_values() {
    let server = RedisServer::start(&[]);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs_err::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let line = format!("{ONE}\n");
    let (one, same, two) = (file("1", &line), file("2", ONE), file("3", TWO));
    let start = |secret: &str| {
        Program::start(&["--redis-url", &server.url(), "--redis-secret-file", secret])
    };
    let ask = |program: &Program| {
        program
            .connect()
            .embed(&serde_json::json!(["heart"]))
            .vectors()
    };
    let hits = |program: &Program| {
        let metrics = String::from_utf8(program.connect().get("/metrics").body).unwrap();
        metrics.contains("lexivec_cache_lookups_total{tier=\"redis\",outcome=\"hit\"} 1")
    };
    let wait_for_redis = |program: &mut Program| {
        program.wait_for("that it uses Redis", |log| {
            log.contains("the Redis cache is in use").then_some(())
        });
    };

    let mut first = start(&one);
    wait_for_redis(&mut first);
    // The warm-up may be there or not.
    server.command::<()>(&[b"FLUSHALL"]);
    let vectors = ask(&first);
    eventually("it is stored", || {
        server.command::<usize>(&[b"DBSIZE"]) == 1
    });
    let mut second = start(&same);
    wait_for_redis(&mut second);
    assert_eq!(ask(&second), vectors);
    assert!(hits(&second));
    let mut other = start(&two);
    wait_for_redis(&mut other);
    assert_eq!(ask(&other), vectors);
    assert!(!hits(&other));
    let warning = other.wait_for("that a signature is wrong", |log| {
        let mut lines = log.lines();
        lines
            .find(|line| line.contains("no valid signature"))
            .map(str::to_owned)
    });
    assert!(
        warning.contains("WARN") && !second.log().contains("no valid signature"),
        "{warning}"
    );
}

#[test]
fn a_file_without_a_secret_or_with_a_short_one_is_named_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (empty, short) = (dir.path().join("empty"), dir.path().join("short"));
    fs_err::write(&empty, "\n").unwrap();
    fs_err::write(&short, "fifteen bytes..\n").unwrap();
    let [empty, short] = [&empty, &short].map(|path| path.to_str().unwrap());
    for file in [empty, short, "/nowhere/secret"] {
        let mut command = serve(&[
            "--redis-url",
            "redis://127.0.0.1",
            "--redis-secret-file",
            file,
        ]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(file), "{message}");
    }
    let alone = serve(&["--redis-secret-file", "/nowhere/secret"])
        .output()
        .unwrap();
    assert_eq!(alone.status.code(), Some(2));
}
