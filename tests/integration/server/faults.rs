//! Sessions that fail, panic, hang, cannot open, or run out of memory.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::embedding_by;
use super::fake::{BatchOutcome, WIDTH, vector};
use super::local::{Local, Setup, with_end_token};
use super::metrics::{eventually, metric};

fn serve(models: &'static [&'static str]) -> Local {
    let setup = Setup {
        models,
        stuck_after: Duration::from_secs(1),
        ..Setup::default()
    };
    setup.serve()
}

fn ready(local: &Local) -> u16 {
    let response = local.connect().get("/readyz");
    if response.status == 503 {
        assert_eq!(response.outcome().1, "unavailable");
        assert!(response.header("retry-after").is_some());
    }
    response.status
}

#[test]
fn a_panic_and_a_failure_cost_one_response_each_and_the_session_is_recreated() {
    let local = serve(&["rebuilt"]);
    for (rebuilds, failure, outcome) in [
        (1.0, BatchOutcome::Panicked, "panic"),
        (2.0, BatchOutcome::Failed, "error"),
    ] {
        local.control.next(&[failure]);
        let mut client = local.connect();
        let response = client.embed_by("rebuilt", &json!([[1]]));
        assert_eq!(response.outcome(), (500, "internal_error".to_owned()));
        assert!(!String::from_utf8(response.body).unwrap().contains("secret"));
        let response = client.embed_by("rebuilt", &json!([[1]]));
        assert_eq!(response.vectors(), [vector(&with_end_token(&[1]))]);
        let count = format!("lexivec_batches_total{{model=\"rebuilt\",outcome=\"{outcome}\"}}");
        assert_eq!(metric(&local, &count), 1.0);
        assert_eq!(
            metric(
                &local,
                "lexivec_session_recreations_total{model=\"rebuilt\"}"
            ),
            rebuilds
        );
    }
    assert_eq!(local.control.opened(), 3);
    assert_eq!(ready(&local), 200);
}

#[test]
fn a_vector_that_is_not_finite_fails_the_request_but_keeps_the_session() {
    let local = serve(&["overflown"]);
    local.control.next(&[BatchOutcome::NotFinite]);
    let response = local.connect().embed_by("overflown", &json!([[1]]));
    assert_eq!(response.outcome(), (500, "internal_error".to_owned()));
    assert_eq!(response.header("x-should-retry"), Some("false"));
    assert_eq!(
        local.connect().embed_by("overflown", &json!([[1]])).status,
        200
    );
    assert_eq!(local.control.opened(), 1);
}

#[test]
fn without_a_session_the_server_is_alive_but_not_ready_and_loses_no_request() {
    let local = serve(&["away"]);
    assert_eq!(ready(&local), 200);
    local.control.set_closed(true);
    local.control.next(&[BatchOutcome::Failed]);
    assert_eq!(local.connect().embed_by("away", &json!([[1]])).status, 500);
    eventually(|| (ready(&local) == 503).then_some(()));
    assert_eq!(local.connect().get("/livez").status, 200);
    assert_eq!(
        metric(&local, "lexivec_sessions_ready{model=\"away\"}"),
        0.0
    );
    let mut waiting = local.connect();
    waiting.send(embedding_by("away", &json!([[2]])));
    eventually(|| (metric(&local, "lexivec_queue_texts{model=\"away\"}") == 1.0).then_some(()));
    local.control.set_closed(false);
    assert_eq!(
        waiting.response().vectors(),
        [vector(&with_end_token(&[2]))]
    );
    assert_eq!(ready(&local), 200);
    assert_eq!(
        metric(&local, "lexivec_sessions_ready{model=\"away\"}"),
        1.0
    );
}

#[test]
fn a_session_with_another_vector_width_is_not_used() {
    let local = serve(&["replaced"]);
    local.control.set_width(2 * WIDTH);
    local.control.next(&[BatchOutcome::Failed]);
    let mut client = local.connect();
    assert_eq!(client.embed_by("replaced", &json!([[1]])).status, 500);
    eventually(|| (ready(&local) == 503).then_some(()));
    local.control.set_width(WIDTH);
    let response = client.embed_by("replaced", &json!([[1]]));
    assert_eq!(response.vectors(), [vector(&with_end_token(&[1]))]);
}

#[test]
fn the_server_is_not_ready_while_a_batch_is_stuck() {
    let local = serve(&["stuck"]);
    local.control.hold();
    let mut client = local.connect();
    client.send(embedding_by("stuck", &json!([[1]])));
    local.control.wait_for_batches(1);
    eventually(|| (ready(&local) == 503).then_some(()));
    assert_eq!(local.connect().get("/livez").status, 200);
    local.control.release();
    assert_eq!(client.response().vectors(), [vector(&with_end_token(&[1]))]);
    assert_eq!(ready(&local), 200);
}

#[test]
fn out_of_memory_splits_the_batch_and_lowers_the_budget_but_fails_no_request() {
    let local = serve(&["small"]);
    let budget = || metric(&local, "lexivec_batch_token_budget{model=\"small\"}");
    let before = budget();
    local.control.set_memory(400);
    let texts: Vec<Vec<u32>> = (0..200).map(|id| vec![id; 9]).collect();
    let response = local.connect().embed_by("small", &json!(texts));
    let expected: Vec<_> = texts
        .iter()
        .map(|ids| vector(&with_end_token(ids)))
        .collect();
    assert_eq!(response.vectors(), expected);
    assert!(
        budget() < before && budget() <= 400.0,
        "{before} -> {}",
        budget()
    );
    assert!(
        metric(
            &local,
            "lexivec_batches_total{model=\"small\",outcome=\"out_of_memory\"}"
        ) >= 1.0
    );
    // From now on batches fit at the first attempt.
    let so_far = local.control.batches().len();
    assert_eq!(
        local.connect().embed_by("small", &json!(texts)).vectors(),
        expected
    );
    let batches = local.control.batches().split_off(so_far);
    let tokens = |batch: &Vec<Vec<u32>>| batch.iter().map(Vec::len).sum::<usize>();
    assert!(batches.iter().all(|batch| tokens(batch) <= 400));
    // A text that does not fit even alone is rejected permanently, and no other text is.
    let response = local.connect().embed_by("small", &json!([vec![1; 500]]));
    assert_eq!(
        response.outcome(),
        (400, "context_length_exceeded".to_owned())
    );
    assert_eq!(local.control.opened(), 1);
    assert_eq!(ready(&local), 200);
}

#[test]
fn a_failed_batch_does_not_affect_later_requests() {
    let local = serve(&["mixed"]);
    local.control.always({
        let mut batch = 0;
        move || {
            batch += 1;
            if batch % 3 == 0 {
                BatchOutcome::Panicked
            } else {
                BatchOutcome::Computed
            }
        }
    });
    let mut client = local.connect();
    let statuses: Vec<u16> = (0..12)
        .map(|id| {
            let response = client.embed_by("mixed", &Value::from(vec![id]));
            if response.status == 200 {
                assert_eq!(response.vectors(), [vector(&with_end_token(&[id]))]);
            }
            response.outcome().0
        })
        .collect();
    assert_eq!(statuses, [200, 200, 500].repeat(4));
}
