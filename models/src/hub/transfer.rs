//! HTTP requests for the files of a model.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};
use sha2::{Digest as _, Sha256};

use super::config::HubConfig;
use super::report::DownloadProgress;

/// The timeout for connecting, and for the answer to a `HEAD` request.
const PATIENCE: Duration = Duration::from_secs(30);
/// The limit of redirects within the hub, which redirects renamed models.
const REDIRECTS: usize = 10;
/// How often a request is tried again if the hub does not answer, or answers with a server error.
const RETRIES: usize = 3;

/// Requests the files of one model from one hub.
#[derive(Debug)]
pub(super) struct Transfer {
    /// Does not follow redirects.
    asking: Client,
    /// Follows redirects to the servers of large files. The token is sent to the hub only.
    fetching: Client,
    root: Url,
    token: Option<String>,
    retries: usize,
}

/// The size and digest of a file that was received.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl Transfer {
    /// Returns a client for the model `id`; `None` if the endpoint is not a URL.
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
        // Stated digests and sizes are those of the uncompressed file.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let client = || {
            Client::builder()
                .user_agent(super::USER_AGENT)
                .default_headers(headers.clone())
                .connect_timeout(PATIENCE)
                // The transfer of weights may take hours.
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

    /// Requests the hub's description of a file. A redirect to another server is returned, because its headers are the
    /// description.
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

    /// Requests a file's contents.
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

/// The address that a redirect leads to, for an error message: without the query, which may hold a signature.
pub(super) fn location(response: &Response) -> Option<String> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let mut url = response.url().join(location).ok()?;
    url.set_query(None);
    url.set_fragment(None);
    // It may hold a password.
    let _ = url.set_password(None);
    Some(url.to_string())
}

/// The address that a redirect leads to, if it is on the same server.
fn within(response: &Response) -> Option<Url> {
    if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let relative = Url::parse(location).is_err() && !location.starts_with("//");
    let next = relative.then(|| response.url().join(location).ok())??;
    (next.origin() == response.url().origin()).then_some(next)
}

/// Writes an answer's body to `path`, at most `most` bytes and one more, by which the caller sees that it is too long.
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
        sha256: hex::encode(hasher.finalize()),
    })
}

/// A progress bar for one file. It ends when it is dropped.
pub(super) struct Bar {
    name: String,
    progress: Option<Arc<dyn DownloadProgress>>,
}

impl Bar {
    pub(super) fn start(
        name: &str,
        bytes: Option<u64>,
        progress: Option<Arc<dyn DownloadProgress>>,
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
