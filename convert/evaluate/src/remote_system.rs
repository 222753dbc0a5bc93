//! A system that is a server with the OpenAI embeddings API: lexivec's own, another one, or a vendor's.
//!
//! The client requests vectors at full width and truncates them itself, so that one request serves every width. It tries the
//! server's own `dimensions` once for each width, and notes where the result differs.

mod responses;

use std::fmt::Write as _;
use std::thread::sleep;
use std::time::Duration;

use lexivec_runtime::vector::cosine;
use reqwest::blocking::{Client, RequestBuilder};
use reqwest::{StatusCode, Url};
use serde_json::json;

use self::responses::{EmbeddingsResponse, ListedModel, ModelList};
use crate::error::{Error, Result};
use crate::system::{Embedded, Embedder, System, SystemFacts, SystemKind};
use crate::vectors::Vectors;

/// Texts per request. Vendors' limits are higher, but larger requests would gain little.
const TEXTS_PER_REQUEST: usize = 64;
/// How often a request is sent to a busy server.
const ATTEMPTS: u32 = 4;
/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The timeout of a request. A server on a CPU may need minutes for long documents.
const TIMEOUT: Duration = Duration::from_secs(600);
/// The text with which widths are tried.
const PROBE: &str = "What is the width of a vector?";
/// The least cosine between the server's truncated vector and ours. Rounding to float32 stays far above it.
const SAME: f64 = 0.999_99;

/// The address of a server, and the model and key to use there.
///
/// ```
/// use lexivec_evaluate::Endpoint;
///
/// assert!(Endpoint::is_address("http://localhost:30000#nano"));
/// assert!(!Endpoint::is_address("models/nano"));
/// assert!(Endpoint::new("http://localhost:30000", Some("nano"), None).is_ok());
/// assert!(Endpoint::new("http://", None, None).is_err());
/// ```
#[derive(Debug, Clone)]
pub struct Endpoint {
    base: String,
    model: Option<String>,
    key: Option<String>,
}

impl Endpoint {
    /// Whether a user's name for a system is an address.
    #[must_use]
    pub fn is_address(system: &str) -> bool {
        system.starts_with("http://") || system.starts_with("https://")
    }

    /// Parses an address such as `http://host:30000/v1` or `http://host:30000/v1#MODEL`. `model` is the default for addresses
    /// without a model. The path defaults to `/v1`. Blanks and line breaks around `key` are not part of it.
    ///
    /// # Errors
    /// The address is not a URL, or `key` has characters that a header cannot carry.
    pub fn new(address: &str, model: Option<&str>, key: Option<&str>) -> Result<Self> {
        let mut url = Url::parse(address)
            .map_err(|error| server_error(address, format!("not an address: {error}")))?;
        let named = url.fragment().map(str::to_owned);
        url.set_fragment(None);
        if url.path() == "/" {
            url.set_path("/v1");
        }
        let base = url.as_str().trim_end_matches('/');
        let base = base.strip_suffix("/embeddings").unwrap_or(base).to_owned();
        let key = key.map(str::trim).filter(|key| !key.is_empty());
        if key.is_some_and(|key| !key.bytes().all(|byte| byte.is_ascii_graphic())) {
            let reason =
                "its API key has spaces or characters beyond ASCII, which a header cannot carry";
            return Err(server_error(address, reason.to_owned()));
        }
        Ok(Self {
            base,
            model: named.or_else(|| model.map(str::to_owned)),
            key: key.map(str::to_owned),
        })
    }

    /// Connects: asks the server for its models, the width of its vectors, and vectors of these dimensions.
    ///
    /// # Errors
    /// The server cannot be reached, answers with an error, or has several models and none was named.
    ///
    /// # Example
    /// ```no_run
    /// use lexivec_evaluate::Endpoint;
    ///
    /// let mut server = Endpoint::new("http://localhost:30000#nano", None, None)?.open(&[64])?;
    /// let embedded = server.embed(&["cardiac arrest"])?;
    /// assert_eq!(embedded.vectors.width(), server.facts.width);
    /// # Ok::<(), lexivec_evaluate::Error>(())
    /// ```
    pub fn open(&self, dimensions: &[usize]) -> Result<System> {
        let client = Client::builder()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| server_error(&self.base, error.to_string()))?;
        let mut server = Server {
            client,
            base: self.base.clone(),
            key: self.key.clone(),
            name: self.base.clone(),
            model: String::new(),
            width: None,
        };
        let listed = server.models();
        let model = match (&self.model, listed) {
            (Some(name), listed) => listed
                .unwrap_or_default()
                .into_iter()
                .find(|model| model.id == *name)
                .unwrap_or_else(|| ListedModel::named(name)),
            (None, Err(error)) => {
                return Err(Error::UnknownModel {
                    source: Box::new(error),
                });
            }
            (None, Ok(mut models)) if models.len() == 1 => models.remove(0),
            (None, Ok(models)) => {
                return Err(Error::AmbiguousModel {
                    address: self.base.clone(),
                    models: models.into_iter().map(|model| model.id).collect(),
                });
            }
        };
        server.name = format!("{}#{}", without_scheme(&self.base), model.id);
        server.model.clone_from(&model.id);
        let full = server.request(&[PROBE], None)?;
        let width = full.vectors.width();
        server.width = Some(width);
        let facts = SystemFacts {
            name: server.name.clone(),
            given: self.base.clone(),
            kind: SystemKind::Endpoint,
            source: None,
            precision: model.precision,
            execution_provider: model.execution_provider,
            width,
            max_length: model.max_length,
            bytes: None,
            footprint: None,
            notes: server.try_dimensions(&full.vectors, dimensions),
        };
        Ok(System {
            facts,
            embedder: Box::new(server),
        })
    }
}

fn without_scheme(base: &str) -> &str {
    base.split_once("://").map_or(base, |(_, rest)| rest)
}

struct Server {
    client: Client,
    base: String,
    key: Option<String>,
    name: String,
    model: String,
    /// `None` until the first response.
    width: Option<usize>,
}

impl Server {
    fn models(&self) -> Result<Vec<ListedModel>> {
        let address = format!("{}/models", self.base);
        let body = self.send(|| self.client.get(&address))?;
        let list: ModelList = serde_json::from_slice(&body)
            .map_err(|error| server_error(&address, format!("not a list of models: {error}")))?;
        Ok(list.data)
    }

    /// Requests the vectors of texts, at full width or with these dimensions.
    fn request(&self, texts: &[&str], dimensions: Option<usize>) -> Result<Embedded> {
        let mut body = json!({"model": self.model, "input": texts, "encoding_format": "base64"});
        if let Some(dimensions) = dimensions {
            body["dimensions"] = json!(dimensions);
        }
        let address = format!("{}/embeddings", self.base);
        let error = |reason: String| server_error(&address, reason);
        let response = self.send(|| self.client.post(&address).json(&body))?;
        let response: EmbeddingsResponse = serde_json::from_slice(&response)
            .map_err(|e| error(format!("not a response of the OpenAI embeddings API: {e}")))?;
        let mut rows = vec![None; texts.len()];
        for item in response.data {
            let Some(row) = rows.get_mut(item.index) else {
                return Err(error(format!(
                    "a vector for text {}, of {}",
                    item.index,
                    texts.len()
                )));
            };
            *row = Some(item.embedding.decode().map_err(error)?);
        }
        let Some(rows) = rows.into_iter().collect::<Option<Vec<Vec<f32>>>>() else {
            return Err(error("fewer vectors than texts".to_owned()));
        };
        let expected = dimensions.or(self.width).or(rows.first().map(Vec::len));
        let width = expected.unwrap_or(0);
        if let Some(other) = rows
            .iter()
            .map(Vec::len)
            .find(|len| *len != width || width == 0)
        {
            return Err(error(format!(
                "a vector of {other} dimensions, where {width} were expected"
            )));
        }
        let mut embedded = Embedded::new(width);
        for (i, row) in rows.iter().enumerate() {
            if row.iter().all(|v| v.is_finite()) {
                embedded.vectors.push(row);
            } else {
                embedded.vectors.push(&vec![0.0; width]);
                embedded.not_finite.push(i);
            }
        }
        embedded.tokens = response.usage.map(|usage| usage.prompt_tokens);
        Ok(embedded)
    }

    /// Tries the server's own `dimensions`, and returns notes on widths for which it gives no vector, or another vector than
    /// the first components of the full one.
    fn try_dimensions(&self, full: &Vectors, dimensions: &[usize]) -> Vec<String> {
        let mut rejected = Vec::new();
        let mut different = Vec::new();
        let mut reason = String::new();
        for width in dimensions.iter().copied().filter(|d| *d < full.width()) {
            match self.request(&[PROBE], Some(width)) {
                Ok(found) if cosine(found.vectors.first(0, width), full.first(0, width)) > SAME => {
                }
                Ok(_) => different.push(width.to_string()),
                Err(error) => {
                    reason = error.to_string();
                    rejected.push(width.to_string());
                }
            }
        }
        let mut notes = Vec::new();
        let instead = "its full vectors are truncated instead";
        if !rejected.is_empty() {
            notes.push(format!(
                "it gives no {} dimensions ({reason}); {instead}",
                rejected.join(", ")
            ));
        }
        if !different.is_empty() {
            notes.push(format!(
                "at {} dimensions its vectors differ from the first components of its full ones; {instead}",
                different.join(", ")
            ));
        }
        notes
    }

    /// Sends a request, and repeats it while the server is busy.
    fn send(&self, request: impl Fn() -> RequestBuilder) -> Result<Vec<u8>> {
        let failed = |error: reqwest::Error| {
            let error = error.without_url();
            server_error(
                &self.base,
                format!("the server does not answer: {}", causes(&error)),
            )
        };
        let mut attempts = 1;
        loop {
            let mut request = request();
            if let Some(key) = &self.key {
                request = request.bearer_auth(key);
            }
            let response = request.send().map_err(failed)?;
            let status = response.status();
            if status.is_success() {
                return Ok(response.bytes().map_err(failed)?.to_vec());
            }
            let wait = response
                .headers()
                .get("retry-after")
                .and_then(|value| value.to_str().ok()?.parse().ok());
            let busy = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
            if busy && attempts < ATTEMPTS {
                let wait = wait.map_or(Duration::from_secs(1 << attempts), Duration::from_secs);
                sleep(wait.min(LONGEST_WAIT));
                attempts += 1;
                continue;
            }
            return Err(Error::Server {
                address: self.base.clone(),
                reason: failure(status, &response.text().unwrap_or_default()),
                status: Some(status.as_u16()),
            });
        }
    }
}

fn server_error(address: &str, reason: String) -> Error {
    Error::Server {
        address: address.to_owned(),
        reason,
        status: None,
    }
}

/// An error and its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

/// A status and the server's own message.
fn failure(status: StatusCode, body: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let own = [
        &value["error"]["message"],
        &value["message"],
        &value["error"],
    ];
    let message = own.iter().find_map(|message| message.as_str());
    let message = message.unwrap_or(body).trim();
    let mut text = format!("the server answered {}", status.as_u16());
    if !message.is_empty() {
        let shown: String = message.chars().take(300).collect();
        // Writing to a String cannot fail.
        let _ = write!(text, " ({shown})");
    }
    text
}

impl Embedder for Server {
    fn embed(&mut self, texts: &[&str]) -> Result<Embedded> {
        let width = self.width.unwrap_or(1);
        let mut all = Embedded::new(width);
        for texts in texts.chunks(TEXTS_PER_REQUEST) {
            let found = self.request(texts, None).map_err(|source| Error::System {
                system: self.name.clone(),
                source: source.into(),
            })?;
            all.append(&found);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests;
