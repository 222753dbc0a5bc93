//! Several models, and several sessions of one.

use serde_json::json;

use super::client::embedding_by;
use super::fake::vector;
use super::local::{Setup, with_end_token};

#[test]
fn each_model_has_its_own_name_capacity_and_sessions() {
    let mut setup = Setup {
        models: &["one", "Team/Two"],
        ..Setup::default()
    };
    setup.engine.queue = 1;
    let local = setup.serve();
    let mut client = local.connect();
    let listed = client.get("/v1/models").json();
    let ids: Vec<&str> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["one", "Team/Two"]);
    for path in [
        "/v1/models/Team/Two",
        "/v1/models/Team%2FTwo",
        "/v1/models/team/two",
    ] {
        assert_eq!(client.get(path).json()["id"], "Team/Two", "{path}");
    }
    for path in [
        "/v1/models/Team",
        "/v1/models/Two",
        "/v1/models/one/",
        "/v1/models/Team%252FTwo",
    ] {
        assert_eq!(
            client.get(path).outcome(),
            (404, "model_not_found".to_owned()),
            "{path}"
        );
    }
    let response = client.embed_by("three", &json!("a"));
    assert_eq!(response.outcome(), (404, "model_not_found".to_owned()));
    assert_eq!(response.json()["error"]["param"], "model");

    // One model has no capacity left, and the other serves.
    local.controls[0].hold();
    let mut held = local.connect();
    held.send(embedding_by("one", &json!([[1]])));
    local.controls[0].wait_for_batches(1);
    assert_eq!(client.embed_by("one", &json!([[2]])).status, 429);
    assert_eq!(
        client.embed_by("Team/Two", &json!([[3]])).vectors(),
        [vector(&with_end_token(&[3]))]
    );
    local.controls[0].release();
    assert_eq!(held.response().vectors(), [vector(&with_end_token(&[1]))]);
    assert_eq!(
        (local.controls[0].texts(), local.controls[1].texts()),
        (1, 1)
    );
}

#[test]
fn two_sessions_share_one_queue() {
    let mut setup = Setup::default();
    setup.engine.sessions = 2;
    let local = setup.serve();
    assert_eq!(local.control.opened(), 2);
    local.control.hold();
    let mut clients = local.clients(3);
    for (id, client) in clients.iter_mut().enumerate() {
        client.send(embedding_by("fake", &json!([[id]])));
        // The third request waits for one of the two sessions.
        local.control.wait_for_batches(id.min(1) + 1);
    }
    assert_eq!(local.control.batches().len(), 2);
    local.control.release();
    for (id, client) in clients.iter_mut().enumerate() {
        assert_eq!(
            client.response().vectors(),
            [vector(&with_end_token(&[id as u32]))]
        );
    }
}
