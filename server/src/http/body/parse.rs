//! Parses JSON bodies. Every error names the field that caused it; this is the one place that finds its name.

use serde::de::{DeserializeOwned, IgnoredAny};

use super::unknown_nulls::IgnoreUnknownNulls;
use crate::http::errors::ApiError;
use crate::surrogate;

/// Parses a body.
///
/// # Errors
/// [`ApiError::InvalidJson`]; [`ApiError::InvalidValue`] with the field for JSON of another shape.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // .NET and PowerShell begin UTF-8 with a byte order mark, which RFC 8259 (section 8.1) allows a server to ignore.
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parsed =
        serde_path_to_error::deserialize(IgnoreUnknownNulls(&mut reader)).map_err(|error| {
            let path = error.path().to_string();
            (path, error.into_inner())
        });
    let ended = |value| match reader.end() {
        Ok(()) => Ok(value),
        Err(error) => Err((".".to_owned(), error)),
    };
    parsed.and_then(ended).map_err(|(path, error)| {
        if is_of_an_escape(&error.to_string())
            && let Some(lone) = surrogate::find(bytes)
        {
            return ApiError::InvalidValue {
                param: lone.field().map(str::to_owned),
                reason: lone.to_string(),
            };
        }
        // The rest of the body is not read, because it may be megabytes.
        if error.is_data() {
            return invalid_value(&error.to_string(), &path);
        }
        // Otherwise the error of a truncated body would name the field at which it ends.
        match (serde_json::from_slice::<IgnoredAny>(bytes), not_utf8(bytes)) {
            (Err(_), Some(reason)) => ApiError::InvalidJson(reason),
            (Err(syntax), None) => ApiError::InvalidJson(syntax.to_string()),
            (Ok(_), Some(reason)) => {
                let message = error.to_string();
                let undecodable = message.starts_with("invalid unicode code point");
                invalid_value(if undecodable { &reason } else { &message }, &path)
            }
            (Ok(_), None) => invalid_value(&error.to_string(), &path),
        }
    })
}

/// The message for a body in another encoding, which serde_json reports as an invalid code point.
fn not_utf8(bytes: &[u8]) -> Option<String> {
    let place = std::str::from_utf8(bytes).err()?.valid_up_to();
    Some(format!(
        "byte {place} of the request body is not UTF-8: encode the body in UTF-8 (Invoke-RestMethod of Windows PowerShell encodes \
         strings in ISO 8859-1: pass it bytes)"
    ))
}

/// Begins a parser's message with the field that it is about.
pub(super) fn in_field<E: serde::de::Error>(field: &str, message: impl std::fmt::Display) -> E {
    E::custom(format_args!("`{field}`: {message}"))
}

/// Whether a message is serde_json's about a `\u` escape.
fn is_of_an_escape(message: &str) -> bool {
    [
        "unexpected end of hex escape",
        "lone leading surrogate in hex escape",
    ]
    .iter()
    .any(|kind| message.starts_with(kind))
}

/// Splits a message of [`in_field`] into the field and the rest.
fn split_field(message: &str) -> Option<(&str, &str)> {
    message.strip_prefix('`')?.split_once("`: ")
}

/// The error for a parser's message about the value at `path`. Its text begins with the field.
fn invalid_value(message: &str, path: &str) -> ApiError {
    if let Some((field, _)) = split_field(message) {
        return ApiError::invalid(field, message);
    }
    let quoted = |start: &str| Some(message.strip_prefix(start)?.split_once('`')?.0);
    if let Some(field) = quoted("missing field `") {
        return ApiError::invalid(
            field,
            format!("`{field}`: is missing{}", missing_hint(field)),
        );
    }
    if let Some(field) = quoted("duplicate field `") {
        return ApiError::invalid(field, format!("`{field}`: is given twice"));
    }
    let field = path.split(['.', '[']).next().unwrap_or_default();
    if field.is_empty() || field == "?" {
        return ApiError::InvalidValue {
            param: None,
            reason: message.to_owned(),
        };
    }
    ApiError::invalid(field, format!("`{field}`: {message}"))
}

/// How to fill a required field.
fn missing_hint(field: &str) -> &'static str {
    match field {
        "input" | "inputs" => ": send a text, or an array of texts",
        "model" => ": GET /v1/models lists the models of this server",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Body {
        input: String,
    }

    #[test]
    fn only_messages_of_the_parser_itself_are_of_an_escape() {
        for (json, expected) in [
            (r#""\ud800""#, true),
            (r#""\ud800\u0041""#, true),
            (r#""\udc00""#, true),
            (r#""\u00""#, false),
        ] {
            let error = serde_json::from_str::<String>(json).unwrap_err();
            assert_eq!(is_of_an_escape(&error.to_string()), expected, "{error}");
        }
        let named = "unknown field `hex escape`, expected `input`";
        assert!(!is_of_an_escape(named));
    }

    #[test]
    fn a_byte_order_mark_is_ignored_and_other_encodings_are_named() {
        let read = |bytes: &[u8]| parse::<Body>(bytes).map(|body| body.input);
        let latin = read(b"{\"input\":\"caf\xe9\"}").unwrap_err();
        let ApiError::InvalidValue { param, reason } = latin else {
            panic!("the error names no field");
        };
        assert_eq!(param.as_deref(), Some("input"));
        assert!(
            reason.starts_with("`input`: byte 13 of the request body is not UTF-8"),
            "{reason}"
        );
        // The encoding is not what is wrong first.
        let other = read(b"{\"input\":1,\"x\":\"\xe9\"}")
            .unwrap_err()
            .to_string();
        assert!(other.contains("expected a string"), "{other}");
        let marked = "\u{feff}{\"input\":\"caf\u{e9}\"}".as_bytes();
        assert_eq!(read(marked).unwrap(), "caf\u{e9}");
        let wide = read(b"\xff\xfe{\0}\0").unwrap_err();
        assert!(matches!(wide, ApiError::InvalidJson(_)));
        assert!(wide.to_string().contains("byte 0 of"), "{wide}");
    }

    #[test]
    fn the_field_is_found_in_the_message_or_by_its_path() {
        let field = |message: &str, path: &str| match invalid_value(message, path) {
            ApiError::InvalidValue { param, reason } => (param, reason),
            other => panic!("{other:?}"),
        };
        let input = || Some("input".to_owned());
        let error: serde_json::Error = in_field("input", "a string is expected");
        assert_eq!(field(&error.to_string(), ".").0, input());
        let (param, reason) = field("missing field `inputs` at line 1 column 2", ".");
        assert_eq!(param.as_deref(), Some("inputs"));
        assert_eq!(
            reason,
            "`inputs`: is missing: send a text, or an array of texts"
        );
        let (param, reason) = field("duplicate field `input` at line 1 column 2", ".");
        assert_eq!(
            (param, reason),
            (input(), "`input`: is given twice".to_owned())
        );
        let wrong = "invalid type: string, expected usize";
        let (param, reason) = field(wrong, "dimensions");
        assert_eq!(param.as_deref(), Some("dimensions"));
        assert_eq!(reason, format!("`dimensions`: {wrong}"));
        assert_eq!(field(wrong, "inputs[3].x").0.as_deref(), Some("inputs"));
        assert_eq!(field(wrong, "."), (None, wrong.to_owned()));
        // A value that looks like a parser's message.
        let quoted = "invalid type: string \"missing field `model`\", expected usize";
        assert_eq!(field(quoted, "input").0, input());
    }
}
