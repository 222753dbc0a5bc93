//! text-embeddings-inference's routes.

use actix_web::test::TestRequest;
use serde_json::json;

use super::{embed, send, tei};

#[actix_web::test]
async fn text_embeddings_inference_clients_are_served() {
    let (_, ours) = embed(json!({"model": "fake", "input": ["a", "heart"]})).await;
    for path in ["/embed", "/"] {
        let (status, body) = tei(path, json!({"inputs": ["a", "heart"], "truncate": null})).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(body[1], ours["data"][1]["embedding"]);
    }
    let (_, one) = tei("/embed", json!({"inputs": "heart", "normalize": true})).await;
    assert_eq!(one, json!([ours["data"][1]["embedding"]]));
    let (_, raw) = tei(
        "/embed",
        json!({"inputs": "heart", "normalize": false, "dimensions": 2}),
    )
    .await;
    assert_eq!(raw[0].as_array().unwrap().len(), 2);
    assert!(raw[0][0].as_f64().unwrap() > 1.0);

    let long = "a b c d e f g h i j k l m n o p q r s t u v w x y z";
    let (status, rejected) = tei("/embed", json!({"inputs": long})).await;
    let message = rejected["error"].as_str().unwrap();
    assert!(status == 400 && message.contains("`inputs`"), "{message}");
    let cut =
        |direction| json!({"inputs": long, "truncate": true, "truncation_direction": direction});
    let (right, left) = (
        tei("/embed", cut("right")).await,
        tei("/embed", cut("Left")).await,
    );
    assert_eq!((right.0, left.0), (200, 200));
    assert_ne!(right.1, left.1);

    for (body, field) in [
        (
            json!({"inputs": "a", "encoding_format": "base64"}),
            "encoding_format",
        ),
        (json!({"inputs": "a", "input": "b"}), "input"),
        (json!({"input": "b"}), "input"),
        (json!({}), "inputs"),
        (json!({"inputs": "a", "dimensions": "x"}), "dimensions"),
        (json!({"inputs": "a", "prompt_name": "x"}), "prompt_name"),
    ] {
        let (status, response) = tei("/embed", body.clone()).await;
        let message = response["error"].as_str().unwrap();
        assert_eq!(
            (status, &response["error_type"]),
            (400, &json!("Validation"))
        );
        assert!(
            message.contains(&format!("`{field}`")),
            "{body}: {response}"
        );
    }
}

#[actix_web::test]
async fn tokenize_and_info_describe_the_model() {
    let (status, tokens) = tei("/tokenize", json!({"inputs": "心脏 a"})).await;
    assert_eq!(status, 200);
    let tokens = tokens[0].as_array().unwrap();
    assert_eq!(tokens.last().unwrap()["special"], true);
    assert_eq!(tokens[0]["start"], 0);
    let (_, bare) = tei(
        "/tokenize",
        json!({"inputs": ["心脏 a"], "add_special_tokens": false}),
    )
    .await;
    assert_eq!(bare[0].as_array().unwrap().len() + 1, tokens.len());
    let (_, info, _) = send(TestRequest::get().uri("/info")).await;
    assert_eq!(
        (&info["max_input_length"], &info["max_client_batch_size"]),
        (&json!(16), &json!(2048))
    );
}
