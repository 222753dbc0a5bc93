//! The requests of stores' clients, and answers that may come from hostile or broken stores.
//!
//! The library follows redirects to any host, and the session and SAS tokens of a request go along. It reads bodies of any size, and
//! panics on addresses that are no URL. Here redirects are errors, bodies are bounded, and addresses are checked.

use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Limited};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions, Error};
use reqwest::redirect::Policy;
use reqwest::{Client, Proxy, StatusCode, Url};

use super::page;

/// A page of a listing has at most 5,000 keys of a kilobyte, and other answers are smaller.
const MOST_BYTES: usize = 32 << 20;

/// The services that give virtual machines and containers their credentials, as they stand in URLs.
pub(super) const METADATA: [&str; 2] = ["169.254.169.254", "metadata.google.internal"];

/// Marks the requests for pages of listings.
#[derive(Debug, Clone, Copy)]
pub(super) struct IsListing;

/// An answer that is not accepted.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the address of the request is no URL")]
    Address,
    #[error("the store redirects to another address, which lexivec does not follow{0}")]
    Redirect(String),
    #[error("the answer has more than {} MiB", MOST_BYTES >> 20)]
    Long,
}

impl From<Refused> for HttpError {
    fn from(refused: Refused) -> Self {
        // Errors of this kind are not retried.
        Self::new(HttpErrorKind::Unknown, refused)
    }
}

/// Makes the clients of all services.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let text = |key| options.get_config_value(&key);
        let is_on = |key| {
            let yes = ["1", "true", "on", "yes", "y"];
            text(key).is_some_and(|value| yes.contains(&value.to_ascii_lowercase().as_str()))
        };
        let duration = |key| -> object_store::Result<Option<Duration>> {
            let value = text(key).map(|value| humantime::parse_duration(&value));
            value.transpose().map_err(unusable)
        };
        let mut client = Client::builder()
            .user_agent(concat!("lexivec/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .http1_only()
            .https_only(!is_on(ClientConfigKey::AllowHttp))
            .danger_accept_invalid_certs(is_on(ClientConfigKey::AllowInvalidCertificates))
            // Sizes are those of the objects as they are stored.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate();
        if let Some(proxy) = text(ClientConfigKey::ProxyUrl) {
            client = client.proxy(Proxy::all(proxy).map_err(unusable)?);
        }
        if let Some(time) = duration(ClientConfigKey::Timeout)? {
            client = client.timeout(time);
        }
        if let Some(time) = duration(ClientConfigKey::ConnectTimeout)? {
            client = client.connect_timeout(time);
        }
        if let Some(time) = duration(ClientConfigKey::ReadTimeout)? {
            client = client.read_timeout(time);
        }
        let client = client.build().map_err(unusable)?;
        Ok(HttpClient::new(Guarded(client)))
    }
}

fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic {
        store: "HTTP",
        source: Box::new(error),
    }
}

/// A client that checks what it sends and what it gets.
#[derive(Debug)]
struct Guarded(Client);

#[async_trait]
impl HttpService for Guarded {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let url = Url::parse(&request.uri().to_string()).map_err(|_| Refused::Address)?;
        let is_listing = request.extensions().get::<IsListing>().is_some();
        let answer = HttpService::call(&self.0, request).await;
        let answer = answer.map_err(|error| match url.host_str() {
            // Most machines have no such service, and retries would only delay the message that there are no credentials.
            Some(host) if METADATA.contains(&host) => HttpError::new(HttpErrorKind::Unknown, error),
            _ => error,
        })?;
        if answer.status().is_redirection() && answer.status() != StatusCode::NOT_MODIFIED {
            return Err(Refused::Redirect(region(&answer)).into());
        }
        let (mut parts, body) = answer.into_parts();
        let body = bounded(body);
        if !is_listing || !parts.status.is_success() {
            return Ok(HttpResponse::from_parts(parts, body));
        }
        let (body, unreadable) = page::split(&body.bytes().await?);
        parts.extensions.insert(unreadable);
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}

/// The region that S3 names in a redirect, for the message.
fn region(answer: &HttpResponse) -> String {
    let region = answer.headers().get("x-amz-bucket-region");
    let region = region.and_then(|region| region.to_str().ok());
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    match region {
        Some(region) if region.len() < 32 && region.chars().all(is_name) => {
            format!(" (the bucket is in {region})")
        }
        _ => String::new(),
    }
}

fn bounded(body: HttpResponseBody) -> HttpResponseBody {
    let body = Limited::new(body, MOST_BYTES);
    HttpResponseBody::new(body.map_err(|error| match error.downcast::<HttpError>() {
        Ok(error) => *error,
        Err(_) => Refused::Long.into(),
    }))
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt as _;
    use object_store::path::Path as Key;

    use super::super::fake::{Answer, Fake};
    use super::super::{errors, runtime};

    #[test]
    fn redirects_are_not_followed_and_the_message_says_what_to_set() {
        let other = Fake::serve(|_| Answer::status(200));
        let target = other.url("/stolen");
        let store = Fake::serve(move |_| {
            let answer = Answer::status(307).header("Location", &target);
            answer.header("x-amz-bucket-region", "eu-west-1")
        });
        for url in ["s3://b/a.txt", "az://b/a.txt", "gs://b/a.txt"] {
            let (location, client) = store.client(url);
            let asked = client.clone();
            let head = async move { asked.head(&Key::from("a.txt")).await };
            let error = runtime::spawn(head).unwrap().wait(String::new).unwrap();
            let said = errors::said(&location, &error.unwrap_err());
            assert!(
                said.contains("redirects to another address") && said.contains("eu-west-1"),
                "{said}"
            );
            assert_eq!(said.contains("AWS_REGION"), url.starts_with("s3"), "{said}");
        }
        assert!(store.requests().len() >= 3);
        assert_eq!(other.requests(), [""; 0]);
    }

    #[test]
    fn an_endless_answer_is_an_error() {
        for is_error in [false, true] {
            let store =
                Fake::serve(move |_| Answer::status(if is_error { 400 } else { 200 }).endless());
            let (location, client) = store.client("s3://b/");
            let list = async move { client.list_with_delimiter(None).await };
            let error = runtime::spawn(list).unwrap().wait(String::new).unwrap();
            let said = errors::said(&location, &error.unwrap_err());
            assert!(said.contains("more than 32 MiB"), "{said}");
        }
    }
}
