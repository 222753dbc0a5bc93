//! A store for tests, which can misbehave: an HTTP server that gives each request the answer of a function.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use object_store::{BackoffConfig, RetryConfig};
use reqwest::Url;

use super::super::location::Location;
use super::client::{self, Store};
use super::settings::Variables;

/// What an object of [`Fake::bucket`] contains.
pub(super) const CONTENTS: &[u8] = b"heart\n";
const DATE: &str = "Sat, 28 Nov 2026 00:00:00 GMT";

/// The head of a request.
pub(super) struct Request {
    pub(super) method: String,
    url: Url,
    range: Option<(usize, usize)>,
}

impl Request {
    pub(super) fn is_listing(&self) -> bool {
        self.query("list-type").is_some()
    }

    fn query(&self, name: &str) -> Option<String> {
        let mut pairs = self.url.query_pairs();
        let (_, value) = pairs.find(|(key, _)| key == name)?;
        Some(value.into_owned())
    }
}

/// An answer, which closes the connection.
#[derive(Clone)]
pub(super) struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
    length: Option<usize>,
    is_endless: bool,
}

impl Answer {
    pub(super) fn status(status: u16) -> Self {
        Self {
            status,
            headers: String::new(),
            body: Vec::new(),
            length: None,
            is_endless: false,
        }
    }

    pub(super) fn body(body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self {
            body,
            ..Self::status(200)
        }
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }

    /// With a body that has no end.
    pub(super) fn endless(mut self) -> Self {
        self.is_endless = true;
        self
    }

    fn write(&self, to: &mut TcpStream) -> std::io::Result<()> {
        let length = self.length.unwrap_or(self.body.len());
        // The library refuses objects without a length.
        let length = if self.is_endless { 1 << 60 } else { length };
        let (status, headers) = (self.status, &self.headers);
        write!(
            to,
            "HTTP/1.1 {status} Status\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        )?;
        to.write_all(&self.body)?;
        if self.is_endless {
            loop {
                to.write_all(&[b'<'; 1 << 16])?;
            }
        }
        Ok(())
    }
}

/// A server, which runs until the process ends.
pub(super) struct Fake {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    pub(super) fn serve(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fake = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
        };
        let (answer, requests) = (Arc::new(answer), Arc::clone(&fake.requests));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, requests) = (Arc::clone(&answer), Arc::clone(&requests));
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                    let line = lines.next()?.ok()?;
                    requests.lock().unwrap().push(line.clone());
                    let mut range = None;
                    for header in lines.map_while(Result::ok) {
                        let header = header.to_ascii_lowercase();
                        if let Some(bytes) = header.strip_prefix("range: bytes=") {
                            let (start, end) = bytes.split_once('-')?;
                            range = Some((start.parse().ok()?, end.parse::<usize>().ok()? + 1));
                        }
                        if header.is_empty() {
                            break;
                        }
                    }
                    let mut words = line.split(' ');
                    let request = Request {
                        method: words.next()?.to_owned(),
                        url: Url::parse("http://fake").ok()?.join(words.next()?).ok()?,
                        range,
                    };
                    let mut stream = stream;
                    answer(&request).write(&mut stream).ok()
                });
            }
        });
        fake
    }

    /// A store of S3's API with these keys. It lists them as they are, and answers all of them.
    pub(super) fn bucket(keys: &[&str]) -> Self {
        let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        Self::serve(move |request| {
            if request.is_listing() {
                return Answer::body(listing(&keys, request));
            }
            let key = request.url.path().strip_prefix("/b/").unwrap_or_default();
            let key = key
                .replace("%20", " ")
                .replace("%5B", "[")
                .replace("%5D", "]");
            match keys.contains(&key.replace("%25", "%")) {
                true => object(request, CONTENTS),
                false => Answer::status(404),
            }
        })
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The first lines of the requests.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// A client of this store, which retries at once.
    pub(super) fn client(&self, url: &str) -> (Location, Arc<dyn Store>) {
        let retries = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(1),
                ..BackoffConfig::default()
            },
            max_retries: 2,
            ..RetryConfig::default()
        };
        self.client_with(url, retries, &[])
    }

    pub(super) fn client_with(
        &self,
        url: &str,
        retries: RetryConfig,
        more: &[(&str, &str)],
    ) -> (Location, Arc<dyn Store>) {
        let location = Location::of(Path::new(url)).unwrap().unwrap();
        let endpoint = self.url("");
        let google = format!(
            r#"{{"gcs_base_url": "{endpoint}", "disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": ""}}"#
        );
        let settings = [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", "token"),
            ("AZURE_STORAGE_ENDPOINT", &endpoint),
            ("AZURE_ALLOW_HTTP", "true"),
            ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
            ("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=signature"),
            ("GOOGLE_SERVICE_ACCOUNT_KEY", &google),
            ("GOOGLE_ALLOW_HTTP", "true"),
        ];
        let settings = settings.iter().chain(more);
        let variables: Variables = settings
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let store = client::open(&location, &variables, retries).unwrap();
        (location, store)
    }
}

/// The answer to a request for an object, or a range of it.
pub(super) fn object(request: &Request, contents: &[u8]) -> Answer {
    let whole = (0, contents.len());
    let (start, end) = request.range.unwrap_or(whole);
    let end = end.min(contents.len());
    let mut answer = Answer::status(if request.range.is_some() { 206 } else { 200 })
        .header("ETag", "e")
        .header("Last-Modified", DATE);
    if request.range.is_some() {
        let range = format!("bytes {start}-{}/{}", end - 1, contents.len());
        answer = answer.header("Content-Range", &range);
    }
    match request.method.as_str() {
        "HEAD" => answer.length = Some(contents.len()),
        _ => answer.body = contents[start..end].to_vec(),
    }
    answer
}

fn listing(keys: &[String], request: &Request) -> String {
    let prefix = request.query("prefix").unwrap_or_default();
    let (mut entries, mut folders) = (String::new(), BTreeSet::new());
    for key in keys {
        let Some(rest) = key.strip_prefix(&prefix) else {
            continue;
        };
        match rest.find('/') {
            Some(end) if request.query("delimiter").is_some() => {
                folders.insert(format!("{prefix}{}", &rest[..=end]));
            }
            _ => entries += &entry(key, CONTENTS.len()),
        }
    }
    for folder in folders {
        entries += &format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>");
    }
    page(&entries, None)
}

/// An object's entry in a page of a listing.
pub(super) fn entry(key: &str, size: usize) -> String {
    let key = key.replace('\n', "&#10;");
    format!(
        "<Contents><Key>{key}</Key><LastModified>2026-11-28T00:00:00.000Z</LastModified><ETag>e</ETag><Size>{size}</Size></Contents>"
    )
}

/// A page of a listing, and the token of the next one.
pub(super) fn page(entries: &str, token: Option<&str>) -> String {
    let token =
        token.map(|token| format!("<NextContinuationToken>{token}</NextContinuationToken>"));
    let token = token.unwrap_or_default();
    format!("<ListBucketResult>{entries}{token}</ListBucketResult>")
}
