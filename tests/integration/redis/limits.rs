//! Large lookups, slow connections, and full queues.

use super::*;

#[test]
fn ten_thousand_keys_in_one_lookup() {
    let server = RedisServer::start(&[]);
    let cache = Cache::connected(&RedisSettings {
        timeout: Duration::from_secs(10),
        ..settings(&server.url())
    });
    let even: Vec<(Key, PooledState)> = (0..10_000)
        .step_by(2)
        .map(|id| (key(id), state(id)))
        .collect();
    cache.cache.put(even);
    eventually("all is stored", || {
        server.command::<usize>(&[b"DBSIZE"]) == 5000
    });
    let answer = cache.get(keys(0..10_000));
    for (id, found) in answer.found.into_iter().enumerate() {
        assert_eq!(found, (id % 2 == 0).then(|| state(id)), "{id}");
    }
    assert_eq!(cache.errors("overflow"), 0.0);
    assert!(cache.get(Vec::new()).found.is_empty());
}

#[test]
fn a_slow_line_brings_what_it_can_in_time_and_is_still_used() {
    const WIDTH: usize = 1024;
    const KEYS: usize = 4800;
    let server = RedisServer::start(&[]);
    let settings = RedisSettings {
        width: WIDTH,
        timeout: Duration::from_millis(800),
        ..settings(&server.url())
    };
    let states: Vec<PooledState> = (0..KEYS).map(|id| vec![id as f32; WIDTH].into()).collect();
    let direct = Cache::connected(&settings);
    direct
        .cache
        .put((0..KEYS).map(key).zip(states.iter().cloned()).collect());
    eventually("all is stored", || {
        server.command::<usize>(&[b"DBSIZE"]) == KEYS
    });

    // A lookup is 20 MB, and the line passes half of it in time.
    let port = server.port();
    let url = peer(move |stream| slow_line(stream, port, 12e6));
    let slow = Cache::connected(&RedisSettings { url, ..settings });
    for lookups in 1..=4 {
        let found = slow.get(keys(0..KEYS)).found;
        let came = found.iter().flatten().count();
        assert!(0 < came && came < KEYS, "{came}");
        assert!(
            found
                .iter()
                .zip(&states)
                .take(came)
                .all(|(a, b)| a.as_ref() == Some(b))
        );
        assert_eq!(slow.errors("timeout"), f64::from(lookups));
    }
    assert_eq!(slow.open(), 0.0);
}

/// A cache whose server hangs, and a time limit that no test reaches.
fn hanging() -> (RedisServer, Cache) {
    let server = RedisServer::start(&[]);
    let cache = Cache::connected(&RedisSettings {
        timeout: Duration::from_secs(60),
        ..settings(&server.url())
    });
    server.pause();
    (server, cache)
}

#[test]
fn dropping_the_cache_answers_whatever_waits() {
    let (_server, cache) = hanging();
    let (sender, receiver) = mpsc::channel();
    for id in 0..2000 {
        let sender = sender.clone();
        let then = move |found: Vec<Option<PooledState>>| sender.send((id, found)).unwrap();
        cache.cache.get(vec![key(id)], Box::new(then));
    }
    drop(sender);
    let rejected = cache.errors("overflow");
    assert!(rejected > 0.0 && rejected < 1000.0, "{rejected}");
    drop(cache);
    let mut answered = vec![0; 2000];
    // Ends when every `then` has been called, or dropped.
    while let Ok((id, found)) = receiver.recv_timeout(Duration::from_secs(10)) {
        assert_eq!(found, [None]);
        answered[id] += 1;
    }
    assert!(answered.iter().all(|n| *n == 1));
}

#[test]
fn stores_that_do_not_fit_are_dropped_at_once() {
    let (_server, cache) = hanging();
    let start = Instant::now();
    for _ in 0..1000 {
        cache.cache.put(entries(0..3));
    }
    assert!(start.elapsed() < SLACK, "{:?}", start.elapsed());
    let rejected = cache.errors("overflow");
    assert!((700.0..1000.0).contains(&rejected), "{rejected}");
}

#[test]
fn a_caller_that_panics_harms_nobody() {
    let server = RedisServer::start(&[]);
    let cache = Cache::connected(&settings(&server.url()));
    for _ in 0..5 {
        cache
            .cache
            .get(vec![key(0)], Box::new(|_| panic!("asked to")));
    }
    cache.put_and_wait(&entries(0..3));
    assert_eq!(cache.open(), 0.0);
}
