//! Redis that is down, hangs, is full, or is not Redis.

use super::*;

/// Waits until the cache asks its server, which lost its entries, and stores others.
fn is_used_again(cache: &Cache) {
    cache.wait_until_open_is(0.0);
    assert!(cache.get(keys(0..3)).found_nothing());
    cache.put_and_wait(&entries(0..3));
}

#[test]
fn a_server_that_is_down_at_the_start_is_used_once_it_is_up() {
    let mut server = RedisServer::reserved(&[]);
    let cache = Cache::start(&settings(&server.url()));
    eventually("a refused connection is counted", || {
        cache.errors("connection") >= 2.0
    });
    let answer = cache.get(keys(0..3));
    assert!(answer.found_nothing() && answer.was_immediate());
    cache.cache.put(entries(0..3));
    assert_eq!(cache.errors("unavailable"), 2.0);
    assert_eq!(cache.open(), 1.0);
    server.launch();
    is_used_again(&cache);
}

#[test]
fn a_server_lost_midway_costs_nothing_and_is_used_again() {
    let mut server = RedisServer::start(&[]);
    let cache = Cache::connected(&settings(&server.url()));
    cache.put_and_wait(&entries(0..3));
    server.kill();
    let answer = cache.get(keys(0..3));
    assert!(answer.found_nothing());
    assert!(answer.after < SLACK, "{:?}", answer.after);
    cache.wait_until_open_is(1.0);
    assert!(cache.errors("connection") >= 1.0);
    assert!(cache.get(keys(0..3)).was_immediate());
    server.launch();
    is_used_again(&cache);
}

#[test]
fn a_server_that_hangs_is_left_alone_after_a_few_time_outs() {
    let server = RedisServer::start(&[]);
    let timeout = Duration::from_millis(100);
    let cache = Cache::connected(&RedisSettings {
        timeout,
        ..settings(&server.url())
    });
    cache.put_and_wait(&entries(0..3));
    server.pause();
    for _ in 0..3 {
        let answer = cache.get(keys(0..3));
        assert!(answer.found_nothing() && !answer.was_immediate());
        assert!(
            answer.after >= timeout && answer.after < timeout + SLACK,
            "{:?}",
            answer.after
        );
    }
    cache.wait_until_open_is(1.0);
    assert_eq!(cache.errors("timeout"), 3.0);
    let start = Instant::now();
    for _ in 0..1000 {
        let answer = cache.get(keys(0..3));
        assert!(answer.found_nothing() && answer.was_immediate());
        cache.cache.put(entries(0..3));
    }
    assert!(start.elapsed() < SLACK, "{:?}", start.elapsed());
    assert_eq!(cache.errors("unavailable"), 2000.0);
    server.resume();
    cache.wait_until_open_is(0.0);
    eventually("what it held is found again", || {
        cache.get(keys(0..3)).found == [0, 1, 2].map(|id| Some(state(id)))
    });
}

#[test]
fn a_full_server_still_answers_lookups() {
    let server = RedisServer::start(&["--maxmemory-policy", "noeviction"]);
    let cache = Cache::connected(&settings(&server.url()));
    cache.put_and_wait(&entries(0..3));
    server.command::<()>(&[b"CONFIG", b"SET", b"maxmemory", b"1"]);
    eventually("rejected stores are counted", || {
        cache.cache.put(entries(3..6));
        cache.errors("server") >= 3.0
    });
    // Stores rest now; of hundreds, hardly one is tried.
    let tried = cache.errors("server");
    let start = Instant::now();
    for id in 0..200 {
        cache.cache.put(entries(id..id + 1));
        let answer = cache.get(keys(0..6));
        assert_eq!(answer.found.iter().flatten().count(), 3);
    }
    let rests = start.elapsed().as_secs_f64() / 0.05 + 2.0;
    assert!(cache.errors("server") - tried <= rests);
    assert!(cache.errors("unavailable") > 100.0);
    assert_eq!(cache.open(), 0.0);
    server.command::<()>(&[b"CONFIG", b"SET", b"maxmemory", b"0"]);
    cache.put_and_wait(&entries(3..6));
}

#[test]
fn a_peer_that_is_no_redis_is_never_used() {
    let shout = |words: &'static [u8]| {
        peer(move |mut stream| {
            let mut byte = [0];
            while let Ok(1) = stream.read(&mut byte) {
                if stream.write_all(words).is_err() {
                    return;
                }
            }
        })
    };
    let peers = [
        (
            "server",
            shout(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
        ),
        ("server", shout(b"\x16\x03\x01\x02\x00\xff\xfe\r\n")),
        ("server", shout(b"+HELLO\r\n")),
        ("server", shout(b"-ERR who are you?\r\n")),
        ("connection", peer(drop)),
    ];
    for (kind, url) in peers {
        let cache = Cache::start(&settings(&url));
        eventually(&format!("{url} is counted as {kind}"), || {
            cache.errors(kind) >= 2.0
        });
        let answer = cache.get(keys(0..3));
        assert!(answer.found_nothing() && answer.was_immediate());
        assert_eq!(cache.open(), 1.0);
    }
    let silent = peer(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let cache = Cache::start(&settings(&silent));
    let answer = cache.get(keys(0..3));
    assert!(answer.found_nothing() && answer.was_immediate());
    eventually("silence is a time-out", || cache.errors("timeout") >= 1.0);
}

#[test]
fn a_peer_that_turns_to_garbage_is_left_alone() {
    // How a lookup fails, and how many of them open the breaker: what cannot be Redis is left at once.
    let answers: [(&str, u32, &'static [u8]); 8] = [
        ("server", 1, b"*0\r\n"),
        ("server", 1, b"*-1\r\n"),
        ("server", 1, b":3\r\n"),
        ("server", 1, b"$-7\r\n"),
        ("server", 1, b"garbage\r\n"),
        (
            "server",
            3,
            b"-LOADING Redis is loading the dataset in memory\r\n",
        ),
        ("timeout", 3, b"*1000000000000\r\n"),
        ("timeout", 3, b"*3\r\n$1000000000000\r\n"),
    ];
    for (kind, lookups, bytes) in answers {
        let shown = String::from_utf8_lossy(bytes);
        let url = peer(move |stream| answer_lookups_with(stream, bytes));
        let timeout = Duration::from_millis(if kind == "timeout" { 100 } else { 5000 });
        let cache = Cache::connected(&RedisSettings {
            timeout,
            back_off: Duration::from_secs(60),
            back_off_limit: Duration::from_secs(60),
            ..settings(&url)
        });
        for _ in 0..lookups {
            let answer = cache.get(keys(0..3));
            assert!(
                answer.found_nothing() && !answer.was_immediate(),
                "{shown:?}"
            );
            assert!(answer.after < timeout + SLACK, "{shown:?}");
        }
        cache.wait_until_open_is(1.0);
        assert_eq!(cache.errors(kind), f64::from(lookups), "{shown:?}");
    }
}
