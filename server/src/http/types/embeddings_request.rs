//! The body of `POST /v1/embeddings`.
//!
//! `null` stands for an absent field, because some clients send it. An unknown field with a value is an error, because a
//! misspelt `dimension` must not go unnoticed. Parsing is in [`body`](crate::http::body).

use lexivec_runtime::Truncate;
use serde::Deserialize;
use utoipa::ToSchema;

use super::input::Input;
use super::integer::Integer;

/// The body of `POST /v1/embeddings`: OpenAI's fields, and lexivec's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a JSON object with `input` and `model`"
)]
pub(crate) struct EmbeddingsRequest {
    #[schema(inline)]
    pub(crate) input: Input,
    /// A model's name; GET /v1/models lists them.
    pub(crate) model: String,
    /// Vectors as JSON numbers, or as base64 of little-endian float32.
    #[schema(inline, default = "float")]
    pub(crate) encoding_format: Option<EncodingFormat>,
    /// The width of the vectors, 1 to the model's. Vectors are truncated, then scaled to unit length. Default: the
    /// model's.
    #[schema(value_type = Option<usize>, minimum = 1)]
    pub(crate) dimensions: Option<Integer>,
    /// OpenAI's field for the caller's end user. Accepted, and neither used nor logged.
    #[serde(rename = "user")]
    _user: Option<String>,
    /// Put before each text as the model was trained with it. Excludes `domain` and `prompt_name`.
    pub(crate) instruction: Option<String>,
    /// An instruction by name; GET /v1/domains lists them.
    pub(crate) domain: Option<String>,
    /// One of the checkpoint's prompts.
    pub(crate) prompt_name: Option<String>,
    /// Whether a text that is too long is an error, or loses its end or its start.
    #[schema(inline, default = "none")]
    pub(crate) truncate: Option<Truncation>,
    /// Whether vectors are scaled to unit length.
    #[schema(default = true)]
    pub(crate) normalize: Option<bool>,
    /// A projection that the server was started with (`--projection`). Vectors are reduced to its principal components, and then
    /// scaled to unit length unless `normalize` is false. `dimensions` may then only be the projection's width.
    pub(crate) projection: Option<String>,
    /// Only requests with the same salt share cached vectors, so that the time of a response tells nobody what others
    /// asked for.
    pub(crate) cache_salt: Option<String>,
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EncodingFormat {
    /// As JSON numbers.
    #[default]
    Float,
    /// As base64 of little-endian float32, which OpenAI's clients ask for by default.
    Base64,
}

/// What happens to a text that is too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Truncation {
    /// It is an error.
    #[default]
    None,
    /// It loses its end.
    End,
    /// It loses its start. An instruction stays.
    Start,
}

impl From<Truncation> for Truncate {
    fn from(truncation: Truncation) -> Self {
        match truncation {
            Truncation::None => Self::Reject,
            Truncation::End => Self::End,
            Truncation::Start => Self::Start,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::body;

    fn parse(json: &str) -> Result<EmbeddingsRequest, String> {
        body::parse(json.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_smallest_request_has_openais_defaults() {
        let request = parse(r#"{"input":"a","model":"m"}"#).unwrap();
        assert_eq!(request.input, Input::Texts(vec!["a".to_owned()]));
        let format = request.encoding_format.unwrap_or_default();
        assert_eq!(format, EncodingFormat::Float);
        let truncation = request.truncate.unwrap_or_default();
        assert_eq!((truncation, request.normalize), (Truncation::None, None));
        let with_nulls =
            parse(r#"{"input":"a","model":"m","user":null,"dimensions":null,"truncate":null}"#);
        assert_eq!(with_nulls.unwrap(), request);
    }

    #[test]
    fn every_error_begins_with_its_field() {
        for (field, json) in [
            ("input", r#"{"model":"m"}"#),
            ("model", r#"{"input":"a"}"#),
            ("input", r#"{"input":{},"model":"m"}"#),
            ("input", r#"{"input":"a","input":"b","model":"m"}"#),
            (
                "dimensions",
                r#"{"input":"a","model":"m","dimensions":"8"}"#,
            ),
            ("dimensions", r#"{"input":"a","model":"m","dimensions":-1}"#),
            ("dimension", r#"{"input":"a","model":"m","dimension":8}"#),
            (
                "encoding_format",
                r#"{"input":"a","model":"m","encoding_format":"int8"}"#,
            ),
            (
                "dimensions",
                r#"{"input":"a","model":"m","dimensions":8.5}"#,
            ),
            ("truncate", r#"{"input":"a","model":"m","truncate":true}"#),
            (
                "normalize",
                r#"{"input":"a","model":"m","normalize":"yes"}"#,
            ),
            ("user", r#"{"input":"a","model":"m","user":3}"#),
        ] {
            let message = parse(json).unwrap_err();
            assert!(message.starts_with(&format!("`{field}`: ")), "{message}");
        }
        assert!(parse("[]").unwrap_err().contains("JSON object"));
    }
}
