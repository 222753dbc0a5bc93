//! How requests are turned into token ids.

use super::*;
use crate::request::Prompt;

fn tokenizer(max_length: usize) -> Tokenizer {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/nano/tokenizer.json");
    Tokenizer::open(path.as_ref(), 16_384, max_length).unwrap()
}

fn request(truncate: Truncate) -> Request<'static> {
    Request {
        prompt: Prompt::Instruction("Name the organ:".to_owned()),
        truncate,
        ..Request::text("one two three four five six seven eight nine ten")
    }
}

#[test]
fn truncation_keeps_the_instruction_and_the_special_tokens() {
    let whole = tokenizer(4096)
        .encode(&request(Truncate::Reject))
        .unwrap()
        .ids;
    let short = tokenizer(whole.len() - 3);
    assert!(matches!(
        short.encode(&request(Truncate::Reject)),
        Err(Error::TooLong { .. })
    ));
    let end = short.encode(&request(Truncate::End)).unwrap();
    assert!(end.truncated);
    let last = whole.len() - 1;
    assert_eq!(end.ids, [&whole[..last - 3], &whole[last..]].concat());

    let start = short.encode(&request(Truncate::Start)).unwrap().ids;
    let prompt = request(Truncate::Reject).prompt.apply("").into_owned();
    let head = short.tokens(&prompt, false).unwrap().len();
    assert_eq!(start, [&whole[..head], &whole[head + 3..]].concat());
    let tiny = tokenizer(head);
    assert!(matches!(
        tiny.encode(&request(Truncate::Start)),
        Err(Error::TooLong { .. })
    ));
}

#[test]
fn token_ids_are_truncated_as_texts_are() {
    let tokens = |truncate| Request {
        input: Input::Tokens(vec![10, 11, 12, 13].into()),
        prompt: Prompt::None,
        truncate,
        ..Request::text("")
    };
    let short = tokenizer(3);
    let after = short.added_tokens().1.to_vec();
    let truncated = |truncate| short.encode(&tokens(truncate)).unwrap().ids;
    assert_eq!(truncated(Truncate::End), [&[10, 11], &after[..]].concat());
    assert_eq!(truncated(Truncate::Start), [&[12, 13], &after[..]].concat());
}

#[test]
fn tokens_name_their_part_of_the_text() {
    let tokens = tokenizer(64).tokens("heart ok", true).unwrap();
    let text: String = tokens
        .iter()
        .filter(|t| t.place.is_some())
        .map(|t| t.text.as_str())
        .collect();
    assert_eq!(text.replace(' ', ""), "heartok");
    assert_eq!(tokens.last().unwrap().place, None);
    assert_eq!(tokens.last().unwrap().text, "<|endoftext|>");
}

#[test]
fn a_model_that_leaves_out_merges_at_random_is_rejected() {
    let nano = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/nano/tokenizer.json");
    let text = fs_err::read_to_string(nano).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    let open = |value: &str| {
        let with = text.replacen("\"dropout\": null", &format!("\"dropout\": {value}"), 1);
        assert!(with.contains(&format!("\"dropout\": {value}")));
        fs_err::write(&path, with).unwrap();
        Tokenizer::open(&path, 16_384, 4096)
    };
    for harmless in ["null", "0.0"] {
        open(harmless).unwrap();
    }
    let error = open("0.9").unwrap_err().to_string();
    assert!(error.contains("`dropout` is 0.9"), "{error}");
}
