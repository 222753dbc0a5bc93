//! Responses of OpenAI-compatible servers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// A model in the response of `GET /models`. All fields besides the id are lexivec's own.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ListedModel {
    pub(super) id: String,
    #[serde(default)]
    pub(super) precision: Option<String>,
    #[serde(default)]
    pub(super) execution_provider: Option<String>,
    #[serde(default)]
    pub(super) max_length: Option<usize>,
}

impl ListedModel {
    pub(super) fn named(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            precision: None,
            execution_provider: None,
            max_length: None,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct ModelList {
    pub(super) data: Vec<ListedModel>,
}

#[derive(Deserialize)]
pub(super) struct EmbeddingsResponse {
    pub(super) data: Vec<Item>,
    #[serde(default)]
    pub(super) usage: Option<Usage>,
}

#[derive(Deserialize)]
pub(super) struct Item {
    pub(super) index: usize,
    pub(super) embedding: Numbers,
}

/// A vector in a response. Some servers send plain numbers even if base64 was requested.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Numbers {
    Base64(String),
    Plain(Vec<f32>),
}

#[derive(Deserialize)]
pub(super) struct Usage {
    pub(super) prompt_tokens: usize,
}

impl Numbers {
    pub(super) fn decode(self) -> Result<Vec<f32>, String> {
        match self {
            Self::Plain(numbers) => Ok(numbers),
            Self::Base64(text) => {
                let bytes = STANDARD
                    .decode(text)
                    .map_err(|error| format!("a vector is not base64: {error}"))?;
                let (numbers, rest) = bytes.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err("the bytes of a vector are not a multiple of 4".to_owned());
                }
                Ok(numbers.iter().map(|b| f32::from_le_bytes(*b)).collect())
            }
        }
    }
}
