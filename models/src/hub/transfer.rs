//! Requests for files of a model.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};
use sha2::{Digest as _, Sha256};

use super::fetch::HubConfig;
use super::report::Progress;
use crate::digest::hexadecimal;

/// How long connecting may take, and the answer to a question without contents.
const PATIENCE: Duration = Duration::from_secs(30);
/// Redirects within the hub, which renames models.
const REDIRECTS: usize = 10;
/// How often a request is tried that the hub did not answer, or could not for now.
const RETRIES: usize = 3;

/// Asks one hub for the files of one model.
#[derive(Debug)]
pub(super) struct Transfer {
    /// Shows answers as they are.
    asking: Client,
    /// Follows redirects to where the contents of large files are; the token stays with the hub.
    fetching: Client,
    root: Url,
    token: Option<String>,
    retries: usize,
}

/// What arrived of a file.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl Transfer {
    /// For the model `id`; `None` where the endpoint is no address of a hub.
    pub(super) fn new(
        config: &HubConfig,
        id: &str,
        token: Option<String>,
    ) -> reqwest::Result<Option<Self>> {
        let Ok(mut root) = Url::parse(&config.endpoint) else {
            return Ok(None);
        };
        let Ok(mut segments) = root.path_segments_mut() else {
            return Ok(None);
        };
        segments
            .pop_if_empty()
            .extend(id.split('/'))
            .push("resolve");
        drop(segments);
        let mut headers = HeaderMap::new();
        // Digests and sizes are those of the file itself.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let client = || {
            Client::builder()
                .user_agent(super::USER_AGENT)
                .default_headers(headers.clone())
                .connect_timeout(PATIENCE)
                // Weights may travel for hours.
                .timeout(None)
        };
        Ok(Some(Self {
            asking: client().redirect(Policy::none()).build()?,
            fetching: client().build()?,
            root,
            token: token.filter(|token| !token.is_empty()),
            retries: config.retries.unwrap_or(RETRIES),
        }))
    }

    fn url(&self, revision: &str, name: &str) -> Url {
        let mut url = self.root.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(revision).extend(name.split('/'));
        }
        url
    }

    /// The hub's description of a file. Redirects elsewhere are returned, because they hold it.
    pub(super) fn describe(&self, revision: &str, name: &str) -> reqwest::Result<Response> {
        let mut url = self.url(revision, name);
        for _ in 0..REDIRECTS {
            let response = self.send(|| self.asking.head(url.clone()).timeout(PATIENCE))?;
            let Some(next) = within(&response) else {
                return Ok(response);
            };
            url = next;
        }
        self.send(|| self.asking.head(url.clone()).timeout(PATIENCE))
    }

    /// Begins to fetch a file.
    pub(super) fn fetch(&self, revision: &str, name: &str) -> reqwest::Result<Response> {
        let url = self.url(revision, name);
        self.send(|| self.fetching.get(url.clone()))
    }

    fn send(&self, request: impl Fn() -> RequestBuilder) -> reqwest::Result<Response> {
        let mut wait = Duration::from_millis(500);
        for _ in 0..self.retries {
            match self.authorized(request()).send() {
                Ok(response) if !response.status().is_server_error() => return Ok(response),
                Err(error) if !error.is_connect() && !error.is_timeout() => return Err(error),
                _ => {}
            }
            std::thread::sleep(wait);
            wait *= 2;
        }
        self.authorized(request()).send()
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

/// Where an answer sends us, in words: without the query, which may hold a signature.
pub(super) fn location(response: &Response) -> Option<String> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let mut url = response.url().join(location).ok()?;
    url.set_query(None);
    url.set_fragment(None);
    // Nor a password.
    let _ = url.set_password(None);
    Some(url.to_string())
}

/// Where an answer sends us, if that is the same server.
fn within(response: &Response) -> Option<Url> {
    if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let relative = Url::parse(location).is_err() && !location.starts_with("//");
    let next = relative.then(|| response.url().join(location).ok())??;
    (next.origin() == response.url().origin()).then_some(next)
}

/// Writes an answer's contents to `path`, at most `most` bytes of them and one more.
///
/// # Errors
/// The connection was cut, or the file cannot be written.
pub(super) fn save(
    response: Response,
    path: &Path,
    most: Option<u64>,
    mut arrived: impl FnMut(u64),
) -> std::io::Result<Arrived> {
    let mut file = fs_err::File::create(path)?;
    let mut body = response.take(most.map_or(u64::MAX, |most| most.saturating_add(1)));
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = body.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        file.write_all(&buffer[..read])?;
        hasher.update(&buffer[..read]);
        bytes += read as u64;
        arrived(read as u64);
    }
    Ok(Arrived {
        bytes,
        sha256: hexadecimal(&hasher.finalize()),
    })
}

/// A file's transfer, as it is shown; it ends when this is dropped.
pub(super) struct Bar {
    name: String,
    progress: Option<Arc<dyn Progress>>,
}

impl Bar {
    pub(super) fn start(
        name: &str,
        bytes: Option<u64>,
        progress: Option<Arc<dyn Progress>>,
    ) -> Self {
        if let Some(progress) = &progress {
            progress.start(name, bytes);
        }
        Self {
            name: name.to_owned(),
            progress,
        }
    }

    pub(super) fn advance(&self, bytes: u64) {
        if let Some(progress) = &self.progress {
            progress.advance(&self.name, bytes);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(progress) = &self.progress {
            progress.finish(&self.name);
        }
    }
}
