//! Texts that are cached, or already in flight.

use serde_json::json;

use super::client::{Client, embedding_by};
use super::disconnect::{busy, wait_for_room};
use super::fake::{BatchOutcome, Control, vector};
use super::local::{Local, Setup, with_end_token};
use super::metrics::{eventually, metric, metric_of};
use super::program::Program;

const CACHE: Option<u64> = Some(1 << 20);
const JOINED: &str = "lexivec_cache_coalesced_total";

fn serve(models: &'static [&'static str], cache: Option<u64>) -> Local {
    let setup = Setup {
        models,
        cache,
        ..Setup::default()
    };
    setup.serve()
}

/// How often token `id` was computed.
fn computed(control: &Control, id: u32) -> usize {
    let batches = control.batches();
    batches.iter().flatten().filter(|ids| ids[0] == id).count()
}

fn asks(local: &Local, model: &str, id: u32) -> Client {
    let mut client = local.connect();
    client.send(embedding_by(model, &json!([[id]])));
    client
}

#[test]
fn identical_texts_in_flight_are_coalesced() {
    let (local, _first) = busy(&["joined"], 64, CACHE);
    let before = metric(&local, JOINED);
    let mut same: Vec<Client> = (0..10).map(|_| asks(&local, "joined", 5)).collect();
    // Coalescing works within a request, too.
    same[0].send(embedding_by("joined", &json!([[6], [6], [5]])));
    eventually(|| (metric(&local, JOINED) >= before + 9.0).then_some(()));
    local.control.release();
    for client in &mut same {
        assert_eq!(client.response().vectors(), [vector(&with_end_token(&[5]))]);
    }
    let [five, six] = [5, 6].map(|id| vector(&with_end_token(&[id])));
    assert_eq!(same[0].response().vectors(), [six.clone(), six, five]);
    assert_eq!(
        (computed(&local.control, 5), computed(&local.control, 6)),
        (1, 1)
    );
}

#[test]
fn a_cached_text_does_not_reach_the_network() {
    let local = serve(&["cached"], CACHE);
    let mut client = local.connect();
    let first = client.embed_by("cached", &json!([[5]])).vectors();
    let body = json!({"model": "cached", "input": [[5]], "dimensions": 4});
    for _ in 0..3 {
        assert_eq!(client.embed_by("cached", &json!([[5]])).vectors(), first);
        assert_eq!(client.post("/v1/embeddings", &body).vectors()[0].len(), 4);
    }
    assert_eq!(local.control.texts(), 1);
    // Without the cache the text is computed each time.
    let local = serve(&["uncached"], None);
    for _ in 0..3 {
        assert_eq!(
            local
                .connect()
                .embed_by("uncached", &json!([[5]]))
                .vectors(),
            first
        );
    }
    assert_eq!(local.control.texts(), 3);
}

#[test]
fn an_error_is_not_cached() {
    let local = serve(&["forgiving"], CACHE);
    for (id, fate) in [
        (1, BatchOutcome::Failed),
        (2, BatchOutcome::Panicked),
        (3, BatchOutcome::NotFinite),
    ] {
        local.control.next(&[fate]);
        let mut client = local.connect();
        assert_eq!(client.embed_by("forgiving", &json!([[id]])).status, 500);
        assert_eq!(
            client.embed_by("forgiving", &json!([[id]])).vectors(),
            [vector(&with_end_token(&[id]))]
        );
        assert_eq!(computed(&local.control, id), 2);
    }
}

#[test]
fn a_coalesced_request_is_served_when_the_first_client_disconnects() {
    let (local, _first) = busy(&["survivor"], 3, CACHE);
    let gone = asks(&local, "survivor", 5);
    eventually(|| (metric(&local, "lexivec_queue_texts{model=\"survivor\"}") == 1.0).then_some(()));
    let before = metric(&local, JOINED);
    let mut stays = asks(&local, "survivor", 5);
    eventually(|| (metric(&local, JOINED) > before).then_some(()));
    drop(gone);
    wait_for_room(&local);
    local.control.release();
    assert_eq!(stays.response().vectors(), [vector(&with_end_token(&[5]))]);
    assert_eq!(computed(&local.control, 5), 1);
}

#[test]
fn a_request_coalesced_into_a_running_batch_is_served_when_the_first_client_disconnects() {
    let (local, first) = busy(&["late"], 2, CACHE);
    let before = metric(&local, JOINED);
    let mut joins = asks(&local, "late", 1);
    eventually(|| (metric(&local, JOINED) > before).then_some(()));
    drop(first);
    wait_for_room(&local);
    local.control.release();
    assert_eq!(joins.response().vectors(), [vector(&with_end_token(&[1]))]);
    assert_eq!(computed(&local.control, 1), 1);
}

#[test]
fn an_instruction_is_computed_once_for_successive_queries() {
    let rows = |flags: &[&str]| {
        let program = Program::start(flags);
        let mut client = program.connect();
        let mut ask = |text: &str| {
            let body = json!({"model": "fake", "input": text, "domain": "medical"});
            client.post("/v1/embeddings", &body).vectors()
        };
        let vectors = ["cardiac arrest", "arrhythmia", "fever"].map(&mut ask);
        let series = |name: &str| {
            metric_of(
                program.connect(),
                &format!("lexivec_rows_{name}_total{{model=\"fake\"}}"),
            )
        };
        (vectors, ["asked", "computed", "cached"].map(series))
    };
    let (expected, [asked, computed, cached]) = rows(&["--prefix-cache-bytes", "0"]);
    assert!(asked > 0.0 && computed == asked && cached == 0.0);
    let (found, [again, computed, cached]) = rows(&[]);
    assert_eq!(found, expected);
    // The third request reads the KV cache that the second wrote. A batch of one text saves nothing else.
    assert!(again == asked && cached > 5.0 && computed == asked - cached);
}
