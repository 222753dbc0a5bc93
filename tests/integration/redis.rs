//! The Redis tier against a real redis-server, and against everything that can be wrong with one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::Command;
use std::sync::mpsc;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use lexivec_runtime::cache::{Key, PooledState, RedisCache, RedisSettings, ValueFormat};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

use crate::redis_server::{RedisServer, answer_lookups_with, peer, slow_line};

mod failures;
mod limits;
mod secret;

const WIDTH: usize = 16;
/// What a busy machine may add to a time-out.
const SLACK: Duration = Duration::from_millis(400);

fn settings(url: &str) -> RedisSettings {
    RedisSettings {
        timeout: Duration::from_millis(500),
        back_off: Duration::from_millis(50),
        back_off_limit: Duration::from_millis(200),
        ..RedisSettings::new(url, WIDTH)
    }
}

fn key(id: usize) -> Key {
    Key::new("model", &[u32::try_from(id).unwrap()])
}

fn keys(ids: std::ops::Range<usize>) -> Vec<Key> {
    ids.map(key).collect()
}

fn state(id: usize) -> PooledState {
    (0..WIDTH).map(|i| (id * WIDTH + i) as f32 / 3.0).collect()
}

fn entries(ids: std::ops::Range<usize>) -> Vec<(Key, PooledState)> {
    ids.map(|id| (key(id), state(id))).collect()
}

/// What came of a lookup.
struct Answer {
    found: Vec<Option<PooledState>>,
    after: Duration,
    by: ThreadId,
}

impl Answer {
    fn found_nothing(&self) -> bool {
        self.found.iter().all(Option::is_none)
    }

    fn was_immediate(&self) -> bool {
        self.by == std::thread::current().id()
    }
}

/// A cache with a recorder of its own.
struct Cache {
    cache: RedisCache,
    snapshotter: Snapshotter,
    counts: RefCell<BTreeMap<String, f64>>,
}

impl Cache {
    fn start(settings: &RedisSettings) -> Self {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        let cache = metrics::with_local_recorder(&recorder, || RedisCache::start(settings));
        Self {
            cache: cache.unwrap(),
            snapshotter,
            counts: RefCell::default(),
        }
    }

    /// A cache that has connected.
    fn connected(settings: &RedisSettings) -> Self {
        let cache = Self::start(settings);
        cache.wait_until_open_is(0.0);
        cache
    }

    fn get(&self, keys: Vec<Key>) -> Answer {
        let (sender, receiver) = mpsc::channel();
        let start = Instant::now();
        let then = move |found| {
            let by = std::thread::current().id();
            sender.send((found, start.elapsed(), by)).unwrap();
        };
        let asked = keys.len();
        self.cache.get(keys, Box::new(then));
        let (found, after, by): (Vec<_>, _, _) = receiver
            .recv_timeout(Duration::from_secs(20))
            .expect("an answer");
        assert_eq!(found.len(), asked);
        assert!(receiver.recv().is_err(), "a second answer");
        Answer { found, after, by }
    }

    /// Stores, and waits until it is found.
    fn put_and_wait(&self, entries: &[(Key, PooledState)]) {
        let (keys, states): (Vec<Key>, Vec<PooledState>) = entries.iter().cloned().unzip();
        eventually("what was stored is found", || {
            self.cache.put(entries.to_vec());
            let answer = self.get(keys.clone());
            answer.found.into_iter().flatten().collect::<Vec<_>>() == states
        });
    }

    /// A metric's value; 0 where it was never touched.
    fn count(&self, name: &str) -> f64 {
        let mut counts = self.counts.borrow_mut();
        // A snapshot resets every value, so they are summed; the gauge, too, is changed by steps alone.
        for (key, _, _, value) in self.snapshotter.snapshot().into_vec() {
            let labels = key.key().labels().map(|l| format!(" {}", l.value()));
            let name = format!("{}{}", key.key().name(), labels.collect::<String>());
            *counts.entry(name).or_default() += match value {
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(gauge) => gauge.0,
                DebugValue::Histogram(_) => panic!("{} is a histogram", key.key().name()),
            };
        }
        counts.get(name).copied().unwrap_or(0.0)
    }

    fn errors(&self, kind: &str) -> f64 {
        self.count(&format!("lexivec_cache_errors_total {kind}"))
    }

    fn lookups(&self, outcome: &str) -> f64 {
        self.count(&format!("lexivec_cache_lookups_total redis {outcome}"))
    }

    fn open(&self) -> f64 {
        self.count("lexivec_cache_breaker_open")
    }

    fn wait_until_open_is(&self, open: f64) {
        eventually(&format!("the breaker's gauge is {open}"), || {
            self.open() == open
        });
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn name(key: &Key) -> Vec<u8> {
    format!("lexivec:{}", key.hex()).into_bytes()
}

#[test]
fn states_come_back_to_the_bit_and_expire() {
    let server = RedisServer::start(&[]);
    let cache = Cache::connected(&RedisSettings {
        ttl: Duration::from_secs(2),
        prefix: "other:".to_owned(),
        ..settings(&server.url())
    });
    let stored = Instant::now();
    cache.put_and_wait(&entries(0..3));
    let other = format!("other:{}", key(0).hex());
    let ttl: i64 = server.command(&[b"PTTL", other.as_bytes()]);
    assert!((1..=2000).contains(&ttl), "{ttl}");
    let (hits, misses) = (cache.lookups("hit"), cache.lookups("miss"));
    let answer = cache.get(keys(1..5));
    assert_eq!(answer.found, [Some(state(1)), Some(state(2)), None, None]);
    assert!(!answer.was_immediate());
    assert_eq!(cache.lookups("hit") - hits, 2.0);
    assert_eq!(cache.lookups("miss") - misses, 2.0);
    eventually("the states expire", || {
        cache.get(keys(0..3)).found_nothing()
    });
    assert!(stored.elapsed() >= Duration::from_secs(2));
    for kind in [
        "timeout",
        "connection",
        "server",
        "value",
        "overflow",
        "unavailable",
    ] {
        assert_eq!(cache.errors(kind), 0.0, "{kind}");
    }
}

#[test]
fn a_second_server_finds_what_the_first_has_stored() {
    let server = RedisServer::start(&[]);
    let settings = RedisSettings {
        format: ValueFormat::F16,
        ..settings(&server.url())
    };
    let first = Cache::connected(&settings);
    let written: PooledState = (0..WIDTH).map(|i| 0.1 + i as f32).collect();
    first.cache.put(vec![(key(1), written.clone())]);
    let second = Cache::connected(&settings);
    let mut found = Vec::new();
    eventually("the state is found", || {
        found = second.get(vec![key(1)]).found;
        found[0].is_some()
    });
    for (a, b) in written.iter().zip(found[0].as_ref().unwrap().iter()) {
        assert!((a - b).abs() <= a * 2f32.powi(-11), "{a} {b}");
    }
    let size: usize = server.command(&[b"STRLEN", &name(&key(1))]);
    assert_eq!(size, 6 + 2 * WIDTH);
}

#[test]
fn values_of_no_use_are_misses_and_are_replaced() {
    let server = RedisServer::start(&[]);
    let cache = Cache::connected(&settings(&server.url()));
    cache.put_and_wait(&entries(0..6));
    let value: Vec<u8> = server.command(&[b"GET", &name(&key(0))]);
    let set = |id, value: &[u8]| server.command::<()>(&[b"SET", &name(&key(id)), value]);
    set(0, b"");
    set(1, b"written by somebody else");
    set(2, &value);
    server.command::<i64>(&[b"SETRANGE", &name(&key(3)), b"20", b"?!"]);
    server.command::<i64>(&[b"APPEND", &name(&key(4)), b"\0\0\0\0"]);
    let misses = cache.lookups("miss");
    let answer = cache.get(keys(0..6));
    let found: Vec<bool> = answer.found.iter().map(Option::is_some).collect();
    assert_eq!(found, [false, false, false, false, false, true]);
    assert_eq!(cache.errors("value"), 5.0);
    assert_eq!(cache.lookups("miss") - misses, 5.0);
    assert_eq!(cache.open(), 0.0);
    cache.put_and_wait(&entries(0..6));

    // Written for a model of another width.
    let wider = Cache::connected(&RedisSettings {
        width: WIDTH + 1,
        ..settings(&server.url())
    });
    assert!(wider.get(keys(0..6)).found_nothing());
    assert_eq!(wider.errors("value"), 6.0);
}

#[test]
fn another_type_under_the_key_is_a_miss_and_is_replaced() {
    let server = RedisServer::start(&[]);
    let cache = Cache::connected(&settings(&server.url()));
    server.command::<i64>(&[b"RPUSH", &name(&key(0)), b"a", b"b"]);
    server.command::<i64>(&[b"HSET", &name(&key(1)), b"a", b"b"]);
    assert!(cache.get(keys(0..2)).found_nothing());
    assert_eq!(cache.lookups("miss"), 2.0);
    cache.put_and_wait(&entries(0..2));
    assert_eq!(cache.errors("server"), 0.0);
}

#[test]
fn a_password_is_asked_for_and_sent() {
    let server = RedisServer::start(&["--requirepass", "s3cret"]);
    for url in [server.url(), server.url().replace("//", "//:wrong@")] {
        let cache = Cache::start(&settings(&url));
        eventually("the rejection is counted", || cache.errors("server") >= 1.0);
        assert!(cache.get(keys(0..3)).was_immediate());
    }
    let cache = Cache::connected(&settings(&server.url().replace("//", "//:s3cret@")));
    cache.put_and_wait(&entries(0..3));
}

#[test]
fn a_connection_may_be_encrypted() {
    // The authorities to trust are named by the process's environment, so this test runs itself again with them.
    const URL: &str = "LEXIVEC_TEST_REDIS_TLS_URL";
    if let Ok(url) = std::env::var(URL) {
        Cache::connected(&settings(&url)).put_and_wait(&entries(0..3));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs_err::write(&certificate, made.cert.pem()).unwrap();
    fs_err::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = RedisServer::with_tls(&certificate, &key);
    let url = server.url().replace("redis:", "rediss:");
    let again = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "redis::a_connection_may_be_encrypted"])
        .env("SSL_CERT_FILE", &certificate)
        .env(URL, &url)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(
        again.status.success() && said.contains("1 passed"),
        "{said}"
    );

    let distrustful = Cache::start(&settings(&url));
    eventually("the unknown certificate is rejected", || {
        distrustful.errors("connection") >= 1.0
    });
    assert!(distrustful.get(keys(0..3)).was_immediate());
}
