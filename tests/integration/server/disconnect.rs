//! Clients that go before they are answered.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, embedding, embedding_by};
use super::fake::{Control, vector};
use super::local::{Local, Setup, whole};
use super::metrics::{eventually, metric};

/// A server of `capacity` texts whose session is busy with a first text until the test lets it go on.
pub(super) fn busy(
    models: &'static [&'static str],
    capacity: usize,
    cache: Option<u64>,
) -> (Local, Client) {
    let mut setup = Setup {
        models,
        cache,
        ..Setup::default()
    };
    setup.engine.queue = capacity;
    let local = setup.serve();
    local.control.hold();
    let mut first = local.connect();
    first.send(embedding_by(models[0], &json!([[1]])));
    local.control.wait_for_batches(1);
    (local, first)
}

/// Waits until the full server has room again: whoever had it has been noticed to be gone.
pub(super) fn wait_for_room(local: &Local) {
    let mut client = local.connect();
    eventually(|| {
        // Takes room as embedding does, and needs no session.
        let answer = client.post("/tokenize", &json!({"inputs": "a"}));
        if answer.status == 200 {
            return Some(());
        }
        let kind = &answer.json()["error_type"];
        assert_eq!((answer.status, kind.as_str()), (429, Some("Overloaded")));
        None
    });
}

fn computed(control: &Control, id: u32) -> usize {
    let batches = control.batches();
    batches.iter().flatten().filter(|ids| ids[0] == id).count()
}

#[test]
fn texts_of_a_client_that_has_gone_are_not_computed() {
    let (local, mut first) = busy(&["gone"], 6, None);
    let mut gone = local.connect();
    gone.send(embedding_by("gone", &json!([[3], [3], [3], [3], [3]])));
    eventually(|| (metric(&local, "lexivec_queue_texts{model=\"gone\"}") == 5.0).then_some(()));
    drop(gone);
    wait_for_room(&local);
    local.control.release();
    assert_eq!(first.answer().vectors(), [vector(&whole(&[1]))]);
    assert_eq!(
        first.embed_by("gone", &json!([[2]])).vectors(),
        [vector(&whole(&[2]))]
    );
    assert_eq!(computed(&local.control, 3), 0);
    assert_eq!(
        metric(&local, "lexivec_texts_dropped_total{model=\"gone\"}"),
        5.0
    );
}

#[test]
fn a_client_that_goes_while_its_text_is_computed_hurts_nobody() {
    let (local, first) = busy(&["going"], 1, None);
    drop(first);
    wait_for_room(&local);
    local.control.release();
    let answer = local.connect().embed_by("going", &json!([[2]]));
    assert_eq!(answer.vectors(), [vector(&whole(&[2]))]);
}

#[test]
fn texts_whose_time_is_up_are_answered_503_and_not_computed() {
    let setup = Setup {
        request_timeout: Duration::from_secs(1),
        ..Setup::default()
    };
    let local = setup.serve();
    local.control.hold();
    let late: Vec<Client> = (1..4)
        .map(|id| {
            let mut client = local.connect();
            client.send(embedding(&json!([[id]])));
            if id == 1 {
                local.control.wait_for_batches(1);
            }
            client
        })
        .collect();
    for mut client in late {
        let answer = client.answer();
        assert_eq!(answer.outcome(), (503, "deadline_exceeded".to_owned()));
        assert!(answer.header("retry-after").is_some());
    }
    local.control.release();
    assert_eq!(local.connect().embed(&json!([[5]])).status, 200);
    let ids: Vec<u32> = local
        .control
        .batches()
        .iter()
        .flatten()
        .map(|ids| ids[0])
        .collect();
    assert_eq!(ids, [1, 5]);
}

#[test]
fn an_answer_that_nobody_reads_holds_nobody_up() {
    let local = Local::start();
    let texts: Vec<Value> = (0..2048).map(|id| json!([id])).collect();
    let mut deaf = local.clients(3);
    for client in &mut deaf {
        client.send(embedding(&Value::Array(texts.clone())));
    }
    for _ in 0..20 {
        assert_eq!(local.connect().embed(&json!([[7]])).status, 200);
    }
    // Their answers are whole, however late they are read.
    for client in &mut deaf {
        assert_eq!(client.answer().vectors().len(), 2048);
    }
}
