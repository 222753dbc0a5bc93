//! Random clients, slow writers and readers among them, and connections that never end a request, against a server whose
//! sessions fail at random, for as long as one likes.
//!
//! Every request is answered exactly once: with the right vectors, or with an error that this weather explains. In the
//! end nothing is left waiting, all room is free again, and memory has not grown. LEXIVEC_SOAK_SECONDS sets how long it
//! takes, LEXIVEC_SOAK_SEED what happens; the seed is printed.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lexivec_runtime::{Request, Tokenizer};
use serde_json::{Value, json};

use crate::server::client::{Client, posted};
use crate::server::fake::{BatchOutcome, Control, truncated_vector};
use crate::server::local::{Local, Setup, tokenizer, with_end_token};
use crate::server::metrics::{eventually, metric};
use crate::server::program::resident;

const CLIENTS: u64 = 16;
const CAPACITY: usize = 256;
/// For heads and for bodies.
const DEADLINE: Duration = Duration::from_secs(2);
/// What the process may grow by between the first third of the run and its end.
const GROWTH: usize = 24 << 20;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

fn setting<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().ok().unwrap_or_else(|| panic!("{name}={text}")))
}

/// What a client did and heard.
#[derive(Debug, Default)]
struct Tally {
    right: usize,
    overloaded: usize,
    failed: usize,
    late: usize,
    too_large: usize,
    left: usize,
}

fn weather(seed: u64) -> impl FnMut() -> BatchOutcome + Send {
    let mut dice = Dice(seed);
    move || match dice.below(100) {
        0..60 => BatchOutcome::Computed,
        60..92 => BatchOutcome::Slow(Duration::from_micros(dice.below(8000))),
        92..94 => BatchOutcome::Failed,
        94..96 => BatchOutcome::Panicked,
        96..98 => BatchOutcome::NotFinite,
        _ => BatchOutcome::OutOfMemory,
    }
}

/// Sessions can sometimes not be opened for a while.
fn storms(control: &Control, mut dice: Dice, until: Instant) {
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(dice.below(1500)));
        control.set_closed(true);
        std::thread::sleep(Duration::from_millis(dice.below(100)));
        control.set_closed(false);
    }
}

/// Texts to embed, and the token ids that each of them is.
fn inputs(dice: &mut Dice, tokenizer: &Tokenizer) -> (Value, Vec<Vec<u32>>) {
    let count = [1, 1, 1, 2, 2048 / 64, 100][dice.below(6) as usize];
    // Few words, so that clients often ask for the same.
    let words = |dice: &mut Dice| {
        let length = [1, 1, 2, 3, 40, 400][dice.below(6) as usize];
        let words = (0..length).map(|_| {
            ["heart", "lung", "cardiac", "arrest", "心脏", "骤停"][dice.below(6) as usize]
        });
        words.collect::<Vec<_>>().join(" ")
    };
    if dice.below(2) == 0 {
        let texts: Vec<String> = (0..count).map(|_| words(dice)).collect();
        let ids = texts
            .iter()
            .map(|text| tokenizer.encode(&Request::text(text)).unwrap().ids);
        (json!(texts), ids.collect())
    } else {
        let ids = |dice: &mut Dice| -> Vec<u32> {
            let most = if dice.below(20) == 0 { 1500 } else { 3 };
            let length = 1 + dice.below(most);
            (0..length).map(|_| dice.below(9) as u32).collect()
        };
        let lists: Vec<Vec<u32>> = (0..count).map(|_| ids(dice)).collect();
        let whole = lists.iter().map(|ids| with_end_token(ids)).collect();
        (json!(lists), whole)
    }
}

/// Whether all vectors are those of the texts, or what the error was. Returns whether the connection goes on: a server
/// that rejects a large request before it has read it says that it closes.
fn judge(client: &mut Client, id: &str, expected: &[Vec<f32>], tally: &mut Tally) -> bool {
    let answer = client.response();
    assert_eq!(
        answer.header("x-request-id"),
        Some(id),
        "the answer is another request's: {:?} {}",
        answer.outcome(),
        String::from_utf8_lossy(&answer.body)
    );
    match answer.outcome() {
        (200, _) => {
            assert!(
                answer.vectors() == expected,
                "{id}: these are not its vectors"
            );
            tally.right += 1;
        }
        (429, code) if code == "overloaded" => tally.overloaded += 1,
        (500, code) if code == "internal_error" => tally.failed += 1,
        (503, code) if code == "deadline_exceeded" => tally.late += 1,
        (400, code) if code == "context_length_exceeded" => tally.too_large += 1,
        other => panic!("{id}: {other:?} {}", answer.json()),
    }
    answer.header("connection") != Some("close")
}

fn client(local: &Local, number: u64, seed: u64, tokenizer: &Tokenizer, until: Instant) -> Tally {
    let (mut dice, mut tally) = (Dice(seed ^ (number << 32)), Tally::default());
    let mut connection = None;
    for round in 0.. {
        if Instant::now() > until {
            break;
        }
        // Now and then two requests at once on a connection.
        let together = 1 + usize::from(dice.below(10) == 0);
        let mut asked = Vec::new();
        for part in 0..together {
            let (input, ids) = inputs(&mut dice, tokenizer);
            let dimensions = [8, 8, 4][dice.below(3) as usize];
            let body = json!({"model": "soaked", "input": input, "dimensions": dimensions});
            let id = format!("{number}-{round}-{part}");
            let request = posted("/v1/embeddings", &body.to_string());
            let request =
                request.replacen("\r\n\r\n", &format!("\r\nX-Request-Id: {id}\r\n\r\n"), 1);
            let expected: Vec<_> = ids
                .iter()
                .map(|ids| truncated_vector(ids, dimensions))
                .collect();
            asked.push((id, request, expected));
        }
        let bytes: String = asked
            .iter()
            .map(|(_, request, _)| request.as_str())
            .collect();
        // A connection opens with its first request at hand: on a busy machine the tokenizer above may take longer than the
        // server waits for a head.
        let mut client = connection.take().unwrap_or_else(|| local.connect());
        match dice.below(12) {
            // The client disconnects before the request is complete, or before the response arrives.
            0 => {
                client.send(&bytes.as_bytes()[..dice.below(bytes.len() as u64) as usize]);
                tally.left += 1;
            }
            1 => {
                client.send(&bytes);
                std::thread::sleep(Duration::from_micros(dice.below(4000)));
                tally.left += 1;
            }
            writer => {
                match writer {
                    2 => send_slowly(&mut client, bytes.as_bytes(), &mut dice),
                    _ => client.send(&bytes),
                }
                if writer == 3 {
                    // A slow reader.
                    std::thread::sleep(Duration::from_millis(dice.below(300)));
                }
                let goes_on = asked
                    .iter()
                    .all(|(id, _, expected)| judge(&mut client, id, expected, &mut tally));
                if goes_on {
                    if client.has_more() || client.has_response() {
                        let more = client.try_response();
                        panic!("{number}-{round}: after the last answer came {more:?}");
                    }
                    connection = Some(client);
                }
            }
        }
    }
    tally
}

/// In pieces, with pauses that all together stay below the deadlines.
fn send_slowly(client: &mut Client, bytes: &[u8], dice: &mut Dice) {
    for piece in bytes.chunks(bytes.len() / 16 + 1) {
        client.send(piece);
        std::thread::sleep(Duration::from_millis(dice.below(20)));
    }
}

/// Connections that begin a request and never end it. The server closes them at its deadlines.
fn stalls(local: &Local, mut dice: Dice, until: Instant) {
    let whole = posted("/v1/embeddings", r#"{"model":"soaked","input":"heart"}"#);
    let mut stalled = Vec::new();
    while Instant::now() < until {
        let mut client = local.connect();
        client.send(&whole.as_bytes()[..dice.below(whole.len() as u64) as usize]);
        stalled.push(client);
        std::thread::sleep(Duration::from_millis(dice.below(200)));
    }
    for mut client in stalled {
        let answer = client.try_response();
        assert!(
            !matches!(&answer, Ok(Some(answer)) if answer.status == 200),
            "an unfinished request was answered: {answer:?}"
        );
    }
}

#[test]
fn random_clients_in_bad_weather_are_answered_exactly_once() {
    let seed: u64 = setting("LEXIVEC_SOAK_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().subsec_nanos().into()
    });
    let seconds: u64 = setting("LEXIVEC_SOAK_SECONDS").unwrap_or(10);
    println!("LEXIVEC_SOAK_SEED={seed} LEXIVEC_SOAK_SECONDS={seconds}");
    let mut setup = Setup {
        models: &["soaked"],
        request_timeout: Duration::from_secs(2),
        // Small, so that there is always something to forget.
        cache: Some(64 << 10),
        ..Setup::default()
    };
    setup.http.header_timeout = DEADLINE;
    setup.http.body_timeout = DEADLINE;
    setup.engine.queue = CAPACITY;
    setup.engine.sessions = 2;
    setup.engine.limits.max_tokens = 4096;
    let local = setup.serve();
    local.control.stop_recording();
    local.control.always(weather(seed));
    let tokenizer = tokenizer();
    let begun = Instant::now();
    let length = Duration::from_secs(seconds);
    let until = begun + length;

    let control = Arc::clone(&local.control);
    let (tally, warm) = std::thread::scope(|scope| {
        scope.spawn(move || storms(&control, Dice(!seed), until));
        scope.spawn(|| stalls(&local, Dice(seed.rotate_left(7)), until));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn({
                    let (local, tokenizer) = (&local, &tokenizer);
                    move || client(local, number, seed, tokenizer, until)
                })
            })
            .collect();
        std::thread::sleep(length / 3);
        let warm = resident("self");
        let tallies = clients.into_iter().map(|client| client.join().unwrap());
        let sum = tallies.fold(Tally::default(), |a, b| Tally {
            right: a.right + b.right,
            overloaded: a.overloaded + b.overloaded,
            failed: a.failed + b.failed,
            late: a.late + b.late,
            too_large: a.too_large + b.too_large,
            left: a.left + b.left,
        });
        (sum, warm)
    });
    let grown = resident("self").saturating_sub(warm);
    println!("{tally:?}, {warm} bytes after a third, {grown} more in the end");
    assert!(
        tally.right > tally.failed && tally.failed > 0 && tally.left > 0,
        "{tally:?}"
    );
    assert!(grown < GROWTH, "memory grew from {warm} bytes by {grown}");

    // The sun comes out: all is as at the beginning.
    local.control.always(|| BatchOutcome::Computed);
    let all: Vec<[u32; 2]> = (0..CAPACITY as u32).map(|id| [100, id]).collect();
    let expected: Vec<_> = all
        .iter()
        .map(|ids| truncated_vector(&with_end_token(ids), 8))
        .collect();
    let body = json!({"model": "soaked", "input": all});
    eventually(|| {
        let answer = local.connect().post("/v1/embeddings", &body);
        // Room that is lost would never come back.
        (answer.status == 200).then(|| assert!(answer.vectors() == expected))
    });
    assert_eq!(metric(&local, "lexivec_queue_texts{model=\"soaked\"}"), 0.0);
    assert_eq!(
        metric(&local, "lexivec_sessions_ready{model=\"soaked\"}"),
        2.0
    );
}
