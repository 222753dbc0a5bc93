//! The response of `POST /v1/embeddings`.
//!
//! It is written straight from the vectors: floats from borrowed slices, base64 from their bytes. This is the server's own
//! hot path, because OpenAI's clients ask for base64 by default.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lexivec_runtime::Embedding;
use serde::ser::{Serialize, SerializeSeq, Serializer};

use super::embeddings_request::EncodingFormat;
use crate::http::errors::ApiError;

/// The schema of the response, for the API's document; [`json`] writes it.
#[derive(utoipa::ToSchema)]
#[schema(title = "EmbeddingList", as = Embeddings)]
#[allow(dead_code)]
pub(crate) struct EmbeddingsSchema {
    /// Always `list`.
    object: String,
    /// In the order of the inputs.
    data: Vec<EmbeddingItem>,
    /// The model that computed the vectors.
    model: String,
    usage: Usage,
}

#[derive(utoipa::ToSchema)]
#[allow(dead_code)]
struct EmbeddingItem {
    /// Always `embedding`.
    object: String,
    index: usize,
    embedding: VectorSchema,
    /// Only present if the text was truncated.
    truncated: Option<bool>,
}

/// Numbers, or base64 of little-endian float32, by `encoding_format`.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[schema(as = Vector)]
#[allow(dead_code)]
enum VectorSchema {
    #[schema(title = "float")]
    Float(Vec<f32>),
    #[schema(title = "base64")]
    Base64(String),
}

#[derive(serde::Serialize)]
struct EmbeddingsResponse<'a> {
    object: &'static str,
    data: Data<'a>,
    model: &'a str,
    usage: Usage,
}

/// Tokens of all texts, instructions and special tokens included.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

struct Data<'a> {
    embeddings: &'a [Embedding],
    format: EncodingFormat,
}

#[derive(serde::Serialize)]
struct Item<'a> {
    object: &'static str,
    index: usize,
    embedding: Vector<'a>,
    /// lexivec's own field, only written if the text was truncated.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

enum Vector<'a> {
    Float(&'a [f32]),
    Base64(&'a [f32]),
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.embeddings.len()))?;
        for (index, embedding) in self.embeddings.iter().enumerate() {
            let vector = &embedding.vector;
            seq.serialize_element(&Item {
                object: "embedding",
                index,
                embedding: match self.format {
                    EncodingFormat::Float => Vector::Float(vector),
                    EncodingFormat::Base64 => Vector::Base64(vector),
                },
                truncated: embedding.truncated,
            })?;
        }
        seq.end()
    }
}

impl Serialize for Vector<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Float(values) => values.serialize(serializer),
            Self::Base64(values) => serializer.serialize_str(&base64_of(values)),
        }
    }
}

/// Base64 of the values as little-endian float32.
fn base64_of(values: &[f32]) -> String {
    if cfg!(target_endian = "little") {
        STANDARD.encode(bytemuck::cast_slice::<f32, u8>(values))
    } else {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        STANDARD.encode(bytes)
    }
}

/// Writes the response as JSON.
pub(crate) fn json(
    model: &str,
    embeddings: &[Embedding],
    format: EncodingFormat,
) -> Result<Vec<u8>, ApiError> {
    let tokens = embeddings.iter().map(|e| e.tokens).sum();
    let values: usize = embeddings.iter().map(|e| e.vector.len()).sum();
    // A float takes up to 13 characters and a comma; base64 takes 16 characters for 3.
    let estimate = 128
        + 64 * embeddings.len()
        + values
            * if format == EncodingFormat::Float {
                13
            } else {
                6
            };
    let mut json = Vec::with_capacity(estimate);
    let response = EmbeddingsResponse {
        object: "list",
        data: Data { embeddings, format },
        model,
        usage: Usage {
            prompt_tokens: tokens,
            total_tokens: tokens,
        },
    };
    serde_json::to_writer(&mut json, &response)
        .map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedding(vector: Vec<f32>, truncated: bool) -> Embedding {
        Embedding {
            vector,
            tokens: 3,
            truncated,
            origin: lexivec_runtime::Origin::Computed,
            queued: std::time::Duration::ZERO,
            infer: std::time::Duration::ZERO,
        }
    }

    #[test]
    fn the_response_has_openais_format() {
        let json = json(
            "m",
            &[
                embedding(vec![0.6, -0.8], false),
                embedding(vec![1.0], true),
            ],
            EncodingFormat::Float,
        );
        assert_eq!(
            String::from_utf8(json.unwrap()).unwrap(),
            r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.6,-0.8]},"#
                .to_owned()
                + r#"{"object":"embedding","index":1,"embedding":[1.0],"truncated":true}],"model":"m","#
                + r#""usage":{"prompt_tokens":6,"total_tokens":6}}"#
        );
    }

    #[test]
    fn base64_is_little_endian_float32() {
        assert_eq!(base64_of(&[1.0]), STANDARD.encode([0, 0, 0x80, 0x3f]));
    }
}
