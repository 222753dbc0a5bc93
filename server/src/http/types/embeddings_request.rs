//! The body of `POST /v1/embeddings`: OpenAI's fields, and ours beside them.
//!
//! Parsed by hand instead of by derive so that every error names its field. `null` stands for an absent field, since
//! some clients send it; an unknown field with a value is refused, because a misspelt `dimension` must not pass unnoticed.

use std::fmt;

use lexivec_runtime::Truncate;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use super::input::Input;
use super::integer::Whole;
use crate::http::body::in_field;

/// How vectors are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum EncodingFormat {
    /// As JSON numbers.
    #[default]
    Float,
    /// As base64 of little-endian float32; what OpenAI's clients ask for by default.
    Base64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EmbeddingsRequest {
    pub(crate) input: Input,
    pub(crate) model: String,
    pub(crate) encoding_format: EncodingFormat,
    pub(crate) dimensions: Option<usize>,
    pub(crate) instruction: Option<String>,
    pub(crate) domain: Option<String>,
    pub(crate) prompt_name: Option<String>,
    pub(crate) truncate: Cut,
    pub(crate) normalize: bool,
    pub(crate) cache_salt: Option<String>,
}

/// What happens to a text that is too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It is refused.
    #[default]
    None,
    /// Its end is cut.
    End,
    /// Its start is cut; an instruction stays.
    Start,
}

impl From<Cut> for Truncate {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::None => Self::Refuse,
            Cut::End => Self::End,
            Cut::Start => Self::Start,
        }
    }
}

const FIELDS: &[&str] = &[
    "input",
    "model",
    "encoding_format",
    "dimensions",
    "user",
    "instruction",
    "domain",
    "prompt_name",
    "truncate",
    "normalize",
    "cache_salt",
];

impl PartialSchema for EmbeddingsRequest {
    fn schema() -> RefOr<Schema> {
        let nullable = |kind| SchemaType::from_iter([kind, Type::Null]);
        let field = |kind, words: &str| {
            ObjectBuilder::new()
                .schema_type(kind)
                .description(Some(words))
        };
        let word = |words: &[&str], default: &str, text| {
            let null = std::iter::once(serde_json::Value::Null);
            let allowed = words
                .iter()
                .map(|w| serde_json::Value::from(*w))
                .chain(null);
            field(nullable(Type::String), text)
                .enum_values(Some(allowed))
                .default(Some(default.into()))
        };
        ObjectBuilder::new()
            .property("input", Input::schema())
            .required("input")
            .property(
                "model",
                field(
                    Type::String.into(),
                    "A model's name; GET /v1/models lists them.",
                ),
            )
            .required("model")
            .property(
                "encoding_format",
                word(
                    &["float", "base64"],
                    "float",
                    "Vectors as JSON numbers, or as base64 of little-endian float32.",
                ),
            )
            .property(
                "dimensions",
                field(
                    nullable(Type::Integer),
                    "Width of the vectors, 1 to the model's; they are \
                cut, then scaled to unit length. Default: the model's.",
                )
                .minimum(Some(1)),
            )
            .property(
                "user",
                field(
                    nullable(Type::String),
                    "Accepted, and neither kept nor logged.",
                ),
            )
            .property(
                "instruction",
                field(
                    nullable(Type::String),
                    "Put before each text as the model was trained with \
                it. Excludes `domain` and `prompt_name`.",
                ),
            )
            .property(
                "domain",
                field(
                    nullable(Type::String),
                    "An instruction by name; GET /v1/domains lists them.",
                ),
            )
            .property(
                "prompt_name",
                field(nullable(Type::String), "One of the checkpoint's prompts."),
            )
            .property(
                "truncate",
                word(
                    &["none", "end", "start"],
                    "none",
                    "Whether a text that is too long is refused or cut, and where.",
                ),
            )
            .property(
                "normalize",
                field(
                    nullable(Type::Boolean),
                    "Whether vectors are scaled to unit length.",
                )
                .default(Some(true.into())),
            )
            .property(
                "cache_salt",
                field(
                    nullable(Type::String),
                    "Cached vectors are shared only by requests with the same salt, so that nobody learns from an answer's \
                speed what others asked for.",
                ),
            )
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .into()
    }
}

impl ToSchema for EmbeddingsRequest {}

impl<'de> Deserialize<'de> for EmbeddingsRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The names let `nulls` pass over unknown fields that are null.
        deserializer.deserialize_struct("EmbeddingsRequest", FIELDS, Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = EmbeddingsRequest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object with `input` and `model`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut input, mut model, mut format, mut dimensions, mut user) =
            (None, None, None, None, None);
        let (mut instruction, mut domain, mut prompt_name) = (None, None, None);
        let (mut truncate, mut normalize, mut cache_salt) = (None, None, None);
        while let Some(field) = map.next_key::<String>()? {
            match field.as_str() {
                "input" => set(&mut input, "input", &mut map)?,
                "model" => set(&mut model, "model", &mut map)?,
                "encoding_format" => set::<Word, _>(&mut format, "encoding_format", &mut map)?,
                "dimensions" => set::<Whole, _>(&mut dimensions, "dimensions", &mut map)?,
                // OpenAI's field for the caller's end user: accepted, and neither kept nor logged.
                "user" => set::<String, _>(&mut user, "user", &mut map)?,
                "instruction" => set(&mut instruction, "instruction", &mut map)?,
                "domain" => set(&mut domain, "domain", &mut map)?,
                "prompt_name" => set(&mut prompt_name, "prompt_name", &mut map)?,
                "truncate" => set::<Word, _>(&mut truncate, "truncate", &mut map)?,
                "normalize" => set(&mut normalize, "normalize", &mut map)?,
                "cache_salt" => set(&mut cache_salt, "cache_salt", &mut map)?,
                other => {
                    return Err(in_field(
                        other,
                        format_args!("unknown field; known are {}", FIELDS.join(", ")),
                    ));
                }
            }
        }
        Ok(EmbeddingsRequest {
            input: input.ok_or_else(|| {
                in_field("input", "is missing: send a text, or an array of texts")
            })?,
            model: model.ok_or_else(|| {
                in_field("model", "is missing: GET /v1/models lists what is served")
            })?,
            encoding_format: word(
                format,
                "encoding_format",
                &[
                    ("float", EncodingFormat::Float),
                    ("base64", EncodingFormat::Base64),
                ],
            )?,
            dimensions: dimensions.map(|Whole(width)| width as usize),
            instruction,
            domain,
            prompt_name,
            truncate: word(
                truncate,
                "truncate",
                &[
                    ("none", Cut::None),
                    ("end", Cut::End),
                    ("start", Cut::Start),
                ],
            )?,
            normalize: normalize.unwrap_or(true),
            cache_salt,
        })
    }
}

type Word = String;

fn set<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    slot: &mut Option<T>,
    field: &str,
    map: &mut A,
) -> Result<(), A::Error> {
    if slot.is_some() {
        return Err(in_field(field, "is given twice"));
    }
    *slot = map.next_value().map_err(|error| in_field(field, error))?;
    Ok(())
}

/// One of a few words, the first by default.
fn word<T: Copy, E: serde::de::Error>(
    given: Option<Word>,
    field: &str,
    words: &[(&str, T)],
) -> Result<T, E> {
    let Some(given) = given else {
        return Ok(words[0].1);
    };
    let found = words.iter().find(|(word, _)| *word == given);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        E::custom(format_args!(
            "`{field}`: `{given}` is unknown; allowed are {}",
            known.join(", ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<EmbeddingsRequest, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn the_smallest_request_has_openais_defaults() {
        let request = parse(r#"{"input":"a","model":"m"}"#).unwrap();
        assert_eq!(request.input, Input::Texts(vec!["a".to_owned()]));
        assert_eq!(request.encoding_format, EncodingFormat::Float);
        assert_eq!((request.truncate, request.normalize), (Cut::None, true));
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
