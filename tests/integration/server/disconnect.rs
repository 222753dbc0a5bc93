//! Clients that disconnect before they get their response.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, embedding, embedding_by};
use super::fake::{Control, vector};
use super::local::{Local, Setup, with_end_token};
use super::metrics::{eventually, metric};

/// A server with at most `capacity` texts in flight, whose session computes a first text until the test releases it.
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

/// Waits until the server has capacity again, which means that the server noticed a disconnected client.
pub(super) fn wait_for_room(local: &Local) {
    let mut client = local.connect();
    eventually(|| {
        // /tokenize needs capacity as embedding does, but no session.
        let response = client.post("/tokenize", &json!({"inputs": "a"}));
        if response.status == 200 {
            return Some(());
        }
        let kind = &response.json()["error_type"];
        assert_eq!((response.status, kind.as_str()), (429, Some("Overloaded")));
        None
    });
}

fn computed(control: &Control, id: u32) -> usize {
    let batches = control.batches();
    batches.iter().flatten().filter(|ids| ids[0] == id).count()
}

#[test]
fn texts_of_a_disconnected_client_are_not_computed() {
    let (local, mut first) = busy(&["gone"], 6, None);
    let mut gone = local.connect();
    gone.send(embedding_by("gone", &json!([[3], [3], [3], [3], [3]])));
    eventually(|| (metric(&local, "lexivec_queue_texts{model=\"gone\"}") == 5.0).then_some(()));
    drop(gone);
    wait_for_room(&local);
    local.control.release();
    assert_eq!(first.response().vectors(), [vector(&with_end_token(&[1]))]);
    assert_eq!(
        first.embed_by("gone", &json!([[2]])).vectors(),
        [vector(&with_end_token(&[2]))]
    );
    assert_eq!(computed(&local.control, 3), 0);
    assert_eq!(
        metric(&local, "lexivec_texts_dropped_total{model=\"gone\"}"),
        5.0
    );
}

#[test]
fn a_client_that_disconnects_during_its_batch_does_not_affect_others() {
    let (local, first) = busy(&["going"], 1, None);
    drop(first);
    wait_for_room(&local);
    local.control.release();
    let response = local.connect().embed_by("going", &json!([[2]]));
    assert_eq!(response.vectors(), [vector(&with_end_token(&[2]))]);
}

#[test]
fn texts_past_their_deadline_get_a_503_and_are_not_computed() {
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
        let response = client.response();
        assert_eq!(response.outcome(), (503, "deadline_exceeded".to_owned()));
        assert!(response.header("retry-after").is_some());
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
fn an_unread_response_does_not_delay_others() {
    let local = Local::start();
    let texts: Vec<Value> = (0..2048).map(|id| json!([id])).collect();
    let mut deaf = local.clients(3);
    for client in &mut deaf {
        client.send(embedding(&Value::Array(texts.clone())));
    }
    for _ in 0..20 {
        assert_eq!(local.connect().embed(&json!([[7]])).status, 200);
    }
    // Their responses are complete, however late they are read.
    for client in &mut deaf {
        assert_eq!(client.response().vectors().len(), 2048);
    }
}
