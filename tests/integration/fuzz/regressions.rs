//! Bodies that once got a wrong response, or that parsers are known to fail on.

use super::{application, judge};

const OPENAI: &str = "/v1/embeddings";

/// Route, body, and the expected status and error code.
const CASES: &[(&str, &[u8], u16, &str)] = &[
    (OPENAI, b"", 400, "invalid_json"),
    (OPENAI, b"null", 400, "invalid_value"),
    (OPENAI, b"[]", 400, "invalid_value"),
    (OPENAI, b"{", 400, "invalid_json"),
    (
        OPENAI,
        b"\xef\xbb\xbf\xef\xbb\xbf{\"model\":\"fake\",\"input\":\"a\"}",
        400,
        "invalid_json",
    ),
    (
        OPENAI,
        b"{\"model\":\"fake\",\"input\":\"a\"}}",
        400,
        "invalid_json",
    ),
    (OPENAI, b"{\"model\":\"fake\",\"input\":\"a\"} \n", 200, ""),
    // Texts that are not Unicode: lone surrogates, and bytes that are not UTF-8.
    (
        OPENAI,
        br#"{"model":"fake","input":"\ud800"}"#,
        400,
        "invalid_value",
    ),
    (
        OPENAI,
        br#"{"model":"fake","input":"\udc00\ud800"}"#,
        400,
        "invalid_value",
    ),
    (
        OPENAI,
        br#"{"model":"fake","input":["a","\ud83d"]}"#,
        400,
        "invalid_value",
    ),
    (
        OPENAI,
        br#"{"model":"fake","input":"\ud83d\ude00"}"#,
        200,
        "",
    ),
    (
        OPENAI,
        b"{\"model\":\"fake\",\"input\":\"\xff\xfe\"}",
        400,
        "invalid_value",
    ),
    (
        OPENAI,
        b"{\"model\":\"fake\",\"inp\xc3\":\"a\"}",
        400,
        "invalid_value",
    ),
    (
        OPENAI,
        br#"{"model":"fake","\ud800":"a"}"#,
        400,
        "invalid_value",
    ),
    (OPENAI, br#"{"model":"fake","input":"\u0000"}"#, 200, ""),
    (
        OPENAI,
        b"{\"model\":\"fake\",\"input\":\"\x00\"}",
        400,
        "invalid_json",
    ),
    // The same field twice, once with an escape in its name.
    (
        OPENAI,
        br#"{"model":"fake","input":"a","in\u0070ut":"b"}"#,
        400,
        "invalid_value",
    ),
    // Numbers that no type holds.
    (
        OPENAI,
        br#"{"model":"fake","input":"a","dimensions":1e400}"#,
        400,
        "invalid_value",
    ),
    (
        OPENAI,
        br#"{"model":"fake","input":[18446744073709551616]}"#,
        400,
        "invalid_value",
    ),
    (OPENAI, br#"{"model":"fake","input":[-0.0,1e0]}"#, 200, ""),
    (
        OPENAI,
        br#"{"model":"fake","input":[NaN]}"#,
        400,
        "invalid_json",
    ),
    (
        OPENAI,
        br#"{"model":"fake","input":[[]]}"#,
        400,
        "invalid_value",
    ),
    ("/embed", br#"{"inputs":[]}"#, 400, "invalid_value"),
    ("/tokenize", br#"{"inputs":""}"#, 200, ""),
    ("/tokenize", br#"{"inputs":[1]}"#, 400, "invalid_value"),
    ("/tokenize", br#"{"inputs":[]}"#, 400, "invalid_value"),
];

#[test]
fn each_body_gets_the_expected_response() {
    let app = application();
    for (route, body, status, code) in CASES {
        let (found, response) = app(route, body);
        let judged = judge(route, found, &response);
        let expected = (*status, Ok((*code).to_owned()));
        assert_eq!((found, judged), expected, "{route} {}", body.escape_ascii());
    }
}

#[test]
fn deep_and_huge_bodies_get_short_errors() {
    let app = application();
    let text = "a".repeat(500_000);
    for (body, status, code) in [
        // The third bracket is an error already, so the missing ones are not looked for.
        (
            format!(r#"{{"model":"fake","input":{}"#, "[".repeat(500_000)),
            400,
            "invalid_value",
        ),
        (
            format!(
                r#"{{"model":"fake","input":"a","x":{}1{}}}"#,
                "[".repeat(9000),
                "]".repeat(9000)
            ),
            400,
            "invalid_value",
        ),
        (
            format!(r#"{{"model":"{text}","input":"a"}}"#),
            404,
            "model_not_found",
        ),
        (
            format!(r#"{{"model":"fake","input":"a","{text}":1}}"#),
            400,
            "invalid_value",
        ),
        (
            format!(r#"{{"model":"fake","input":"a","domain":"{text}"}}"#),
            400,
            "invalid_value",
        ),
        (
            format!(r#"{{"model":"fake","input":"a","truncate":"{text}"}}"#),
            400,
            "invalid_value",
        ),
        (
            format!(r#"{{"model":"fake","input":"{text} {text}"}}"#),
            400,
            "context_length_exceeded",
        ),
        (
            format!(r#"{{"model":"fake","input":"{text}{text}{text}"}}"#),
            413,
            "body_too_large",
        ),
    ] {
        let (found, response) = app(OPENAI, body.as_bytes());
        let start = &body[..60];
        assert_eq!(
            (found, judge(OPENAI, found, &response)),
            (status, Ok(code.to_owned())),
            "{start}"
        );
        assert!(response.len() < 2500, "{start}: {} bytes", response.len());
    }
}
