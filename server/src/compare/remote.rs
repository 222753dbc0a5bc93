//! A side of a comparison that is a server with the OpenAI embeddings API: lexivec's own, another, or a vendor's.
//!
//! Vectors are asked for at full width and cut here, so that one request serves every width. Whether the server's own
//! `dimensions` agrees is tried once for each width, and noted where it does not.

use std::fmt::Write as _;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lexivec_convert::compare::{Embedded, Embedder, Error, Facts, Result, Side, SideKind, Vectors};
use lexivec_runtime::vector::cosine;
use reqwest::blocking::{Client, RequestBuilder};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde_json::json;

/// Texts of one request: vendors' limits are higher, and the loss by not reaching them is small.
const REQUEST: usize = 64;
/// Times that a request is sent where the server is busy.
const TRIES: u32 = 4;
/// The longest that a server may make us wait between two tries.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time for one request: a server on a CPU may need minutes for long documents.
const TIMEOUT: Duration = Duration::from_secs(600);
/// The text that widths are tried with.
const PROBE: &str = "What is the width of a vector?";
/// Below this the server's cut vector is another than ours; rounding to float32 is far above.
const SAME: f64 = 0.999_99;

/// Where a server is, and what to say to it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    base: String,
    model: Option<String>,
    key: Option<String>,
}

impl Endpoint {
    /// Whether a side is given as an address.
    #[must_use]
    pub fn is_address(side: &str) -> bool {
        side.starts_with("http://") || side.starts_with("https://")
    }

    /// Takes an address such as `http://host:30000/v1`, or `http://host:30000/v1#MODEL`; `model` is for addresses that
    /// name none. Without a path, `/v1` is meant.
    ///
    /// # Errors
    /// It is no address.
    pub fn new(address: &str, model: Option<&str>, key: Option<&str>) -> anyhow::Result<Self> {
        let mut url = Url::parse(address).with_context(|| format!("{address}: no address"))?;
        let named = url.fragment().map(str::to_owned);
        url.set_fragment(None);
        if url.path() == "/" {
            url.set_path("/v1");
        }
        let base = url.as_str().trim_end_matches('/');
        let base = base.strip_suffix("/embeddings").unwrap_or(base).to_owned();
        Ok(Self {
            base,
            model: named.or_else(|| model.map(str::to_owned)),
            key: key.filter(|k| !k.is_empty()).map(str::to_owned),
        })
    }

    /// Asks the server what it serves and how wide its vectors are.
    ///
    /// # Errors
    /// It cannot be reached, refuses, or serves several models and none was named.
    pub fn open(&self, dimensions: &[usize]) -> anyhow::Result<Side> {
        let client = Client::builder().timeout(TIMEOUT).build()?;
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
                .unwrap_or_else(|| Model::named(name)),
            (None, Err(error)) => {
                return Err(
                    error.context("name the server's model with --model to do without its list")
                );
            }
            (None, Ok(mut models)) if models.len() == 1 => models.remove(0),
            (None, Ok(models)) => {
                let ids: Vec<_> = models.iter().map(|m| m.id.as_str()).collect();
                bail!(
                    "{}: it serves {}: choose one with --model, or as {}#MODEL",
                    self.base,
                    ids.join(", "),
                    self.base
                );
            }
        };
        server.name = format!("{}#{}", without_scheme(&self.base), model.id);
        server.model.clone_from(&model.id);
        let full = server.ask(&[PROBE], None)?;
        let width = full.vectors.width();
        server.width = Some(width);
        let facts = Facts {
            name: server.name.clone(),
            given: self.base.clone(),
            kind: SideKind::Endpoint,
            source: None,
            precision: model.precision,
            execution_provider: model.execution_provider,
            width,
            max_length: model.max_length,
            bytes: None,
            footprint: None,
            notes: server.try_dimensions(&full.vectors, dimensions),
        };
        Ok(Side {
            facts,
            embedder: Box::new(server),
        })
    }
}

fn without_scheme(base: &str) -> &str {
    base.split_once("://").map_or(base, |(_, rest)| rest)
}

/// What `GET /models` says of a model. All but the id is lexivec's own.
#[derive(Debug, Clone, Deserialize)]
struct Model {
    id: String,
    #[serde(default)]
    precision: Option<String>,
    #[serde(default)]
    execution_provider: Option<String>,
    #[serde(default)]
    max_length: Option<usize>,
}

impl Model {
    fn named(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            precision: None,
            execution_provider: None,
            max_length: None,
        }
    }
}

#[derive(Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Item>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Item {
    index: usize,
    embedding: Numbers,
}

/// Some servers answer with numbers whatever was asked for.
#[derive(Deserialize)]
#[serde(untagged)]
enum Numbers {
    Base64(String),
    Plain(Vec<f32>),
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: usize,
}

struct Server {
    client: Client,
    base: String,
    key: Option<String>,
    name: String,
    model: String,
    /// `None` until the first answer.
    width: Option<usize>,
}

impl Server {
    fn models(&self) -> anyhow::Result<Vec<Model>> {
        let request = || self.client.get(format!("{}/models", self.base));
        Ok(serde_json::from_slice::<Models>(&self.send(request)?)
            .with_context(|| format!("{}/models: not a list of models", self.base))?
            .data)
    }

    /// The vectors of some texts, at full width or another.
    fn ask(&self, texts: &[&str], dimensions: Option<usize>) -> anyhow::Result<Embedded> {
        let mut body = json!({"model": self.model, "input": texts, "encoding_format": "base64"});
        if let Some(dimensions) = dimensions {
            body["dimensions"] = json!(dimensions);
        }
        let address = format!("{}/embeddings", self.base);
        let answer = self.send(|| self.client.post(&address).json(&body))?;
        let answer: Answer = serde_json::from_slice(&answer)
            .with_context(|| format!("{address}: not an answer of the OpenAI embeddings API"))?;
        let mut rows = vec![None; texts.len()];
        for item in answer.data {
            let Some(row) = rows.get_mut(item.index) else {
                bail!(
                    "{address}: a vector for text {}, of {}",
                    item.index,
                    texts.len()
                );
            };
            *row = Some(item.embedding.decode().with_context(|| address.clone())?);
        }
        let Some(rows) = rows.into_iter().collect::<Option<Vec<Vec<f32>>>>() else {
            bail!("{address}: fewer vectors than texts");
        };
        let expected = dimensions.or(self.width).or(rows.first().map(Vec::len));
        let width = expected.unwrap_or(0);
        if let Some(other) = rows
            .iter()
            .map(Vec::len)
            .find(|len| *len != width || width == 0)
        {
            bail!("{address}: a vector of {other} dimensions, where {width} were expected");
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
        embedded.tokens = answer.usage.map(|usage| usage.prompt_tokens);
        Ok(embedded)
    }

    /// What the server makes of `dimensions`, where that is another vector than the first components of the full one.
    fn try_dimensions(&self, full: &Vectors, dimensions: &[usize]) -> Vec<String> {
        let mut refused = Vec::new();
        let mut different = Vec::new();
        let mut reason = String::new();
        for width in dimensions.iter().copied().filter(|d| *d < full.width()) {
            match self.ask(&[PROBE], Some(width)) {
                Ok(found) if cosine(found.vectors.first(0, width), full.first(0, width)) > SAME => {
                }
                Ok(_) => different.push(width.to_string()),
                Err(error) => {
                    reason = format!("{error:#}");
                    refused.push(width.to_string());
                }
            }
        }
        let mut notes = Vec::new();
        let cut = "its full vectors are cut here instead";
        if !refused.is_empty() {
            notes.push(format!(
                "it gives no {} dimensions ({reason}); {cut}",
                refused.join(", ")
            ));
        }
        if !different.is_empty() {
            notes.push(format!(
                "at {} dimensions its vectors are others than the first components of its full ones; {cut}",
                different.join(", ")
            ));
        }
        notes
    }

    /// Sends a request, again where the server is busy.
    fn send(&self, request: impl Fn() -> RequestBuilder) -> anyhow::Result<Vec<u8>> {
        let mut tries = 1;
        loop {
            let mut request = request();
            if let Some(key) = &self.key {
                request = request.bearer_auth(key);
            }
            let response = request
                .send()
                .map_err(reqwest::Error::without_url)
                .with_context(|| format!("{}: the server does not answer", self.base))?;
            let status = response.status();
            if status.is_success() {
                return Ok(response.bytes()?.to_vec());
            }
            let wait = response
                .headers()
                .get("retry-after")
                .and_then(|value| value.to_str().ok()?.parse().ok());
            let busy = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
            if busy && tries < TRIES {
                let wait = wait.map_or(Duration::from_secs(1 << tries), Duration::from_secs);
                sleep(wait.min(PATIENCE));
                tries += 1;
                continue;
            }
            bail!(
                "{}: {}",
                self.base,
                refusal(status, &response.text().unwrap_or_default())
            );
        }
    }
}

/// A status and the server's own words.
fn refusal(status: StatusCode, body: &str) -> String {
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
        // Writing to a String does not fail.
        let _ = write!(text, " ({shown})");
    }
    if status == StatusCode::UNAUTHORIZED {
        text.push_str(": give its key with --api-key or LEXIVEC_API_KEY");
    }
    text
}

impl Numbers {
    fn decode(self) -> anyhow::Result<Vec<f32>> {
        match self {
            Self::Plain(numbers) => Ok(numbers),
            Self::Base64(text) => {
                let bytes = STANDARD.decode(text).context("a vector is not base64")?;
                let (numbers, rest) = bytes.as_chunks::<4>();
                if !rest.is_empty() {
                    bail!("a vector is not a number of float32s");
                }
                Ok(numbers.iter().map(|b| f32::from_le_bytes(*b)).collect())
            }
        }
    }
}

impl Embedder for Server {
    fn embed(&mut self, texts: &[&str]) -> Result<Embedded> {
        let width = self.width.unwrap_or(1);
        let mut all = Embedded::new(width);
        for texts in texts.chunks(REQUEST) {
            let found = self.ask(texts, None).map_err(|source| Error::Side {
                side: self.name.clone(),
                source: source.into(),
            })?;
            all.append(&found);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests;
