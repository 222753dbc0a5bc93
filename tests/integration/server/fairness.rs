//! How long a single text waits while a large request and a long document are in flight.
//!
//! Waiting is counted in batches, which do not depend on the machine's load.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::json;

use super::client::{TIMEOUT, embedding_by};
use super::fake::vector;
use super::local::{Setup, with_end_token};
use super::metrics::{eventually, metric};

const SHORT: u32 = 3;
const DOCUMENT: u32 = 4;
const SINGLE: u32 = 5;

#[test]
fn a_single_text_overtakes_2048_others_and_a_long_document() {
    let setup = Setup {
        models: &["fair"],
        ..Setup::default()
    };
    let local = setup.serve();
    local.control.hold();
    let queued = |texts: f64| {
        eventually(|| {
            (metric(&local, "lexivec_queue_texts{model=\"fair\"}") >= texts).then_some(())
        });
    };
    // Distinct texts: 41,000 tokens, several batches.
    let short: Vec<Vec<u32>> = (0..2048)
        .map(|id| [vec![SHORT; 18], vec![id]].concat())
        .collect();
    let mut large = local.connect();
    large.send(embedding_by("fair", &json!(short)));
    local.control.wait_for_batches(1);
    let rest = (short.len() - local.control.texts()) as f64;
    let mut long = local.connect();
    long.send(embedding_by("fair", &json!([vec![DOCUMENT; 30_000]])));
    queued(rest + 1.0);
    let mut third = local.connect();
    third.send(embedding_by("fair", &json!([[SINGLE]])));
    queued(rest + 2.0);

    local.control.release();
    assert_eq!(
        third.response().vectors(),
        [vector(&with_end_token(&[SINGLE]))]
    );
    assert_eq!(
        long.response().vectors(),
        [vector(&with_end_token(&[DOCUMENT; 30_000]))]
    );
    let expected: Vec<_> = short
        .iter()
        .map(|ids| vector(&with_end_token(ids)))
        .collect();
    assert_eq!(large.response().vectors(), expected);

    let batches = local.control.batches();
    let batch_of = |id| {
        batches
            .iter()
            .position(|batch| batch.iter().any(|ids| ids[0] == id))
            .unwrap()
    };
    // Batch 0 was running when the single text arrived.
    assert!(batch_of(SINGLE) <= 2, "{} batches", batch_of(SINGLE));
    assert!(batch_of(DOCUMENT) <= 2 * 2049);
    // No text was computed twice.
    assert_eq!(local.control.texts(), 2048 + 2);
}

#[test]
fn a_stream_of_single_texts_does_not_starve_a_document() {
    let setup = Setup {
        models: &["steady"],
        ..Setup::default()
    };
    let local = setup.serve();
    local.control.hold();
    let mut first = local.connect();
    first.send(embedding_by("steady", &json!([[SHORT]])));
    local.control.wait_for_batches(1);
    let mut long = local.connect();
    long.send(embedding_by("steady", &json!([vec![DOCUMENT; 30_000]])));
    eventually(|| (metric(&local, "lexivec_queue_texts{model=\"steady\"}") == 1.0).then_some(()));
    local.control.release();
    let (done, begun) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        for id in 10..18 {
            let (local, done) = (&local, &done);
            scope.spawn(move || {
                let mut client = local.connect();
                while !done.load(Ordering::Relaxed) && begun.elapsed() < 2 * TIMEOUT {
                    assert_eq!(client.embed_by("steady", &json!([[id]])).status, 200);
                }
            });
        }
        assert_eq!(long.response().status, 200);
        done.store(true, Ordering::Relaxed);
    });
    let batches = local.control.batches();
    let document = batches
        .iter()
        .position(|batch| batch.iter().any(|ids| ids[0] == DOCUMENT));
    assert!(document.unwrap() <= 3, "{document:?}");
    assert_eq!(first.response().status, 200);
}
