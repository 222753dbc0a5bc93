//! Clients of the services, with the credentials and the endpoint that the environment names.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::list::PaginatedListStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::super::location::{Location, Service};
use super::errors;
use super::http::Connector;
use super::settings::{self, Variables};

/// A store whose listings come page by page.
pub(super) trait Store: ObjectStore + PaginatedListStore {}

impl<S: ObjectStore + PaginatedListStore> Store for S {}

/// The wait before the first retry. Each later one is drawn at random between this and twice the one before. Ten retries wait about
/// half a minute in all, in which a store can restart.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const MOST_RETRIES: usize = 10;
/// No retry begins later. A store that accepts requests and answers none would otherwise take [`MOST_RETRIES`] times the time below.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// The longest wait for the next bytes of an answer.
const STALLED: Duration = Duration::from_secs(10);
/// The longest time of a request. With four pieces of 8 MiB at a time, a line needs 280 kB/s.
const SLOWEST: Duration = Duration::from_secs(120);

/// How often and how long requests are repeated.
pub(super) fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: FIRST_WAIT,
            ..BackoffConfig::default()
        },
        max_retries: MOST_RETRIES,
        retry_timeout: LAST_RETRY,
    }
}

/// A client of a bucket.
///
/// # Errors
/// A setting is missing or malformed.
pub(super) fn open(
    location: &Location,
    variables: &Variables,
    retries: RetryConfig,
) -> Result<Arc<dyn Store>, String> {
    let bucket = &location.bucket;
    let options = ClientOptions::new()
        .with_timeout(SLOWEST)
        .with_read_timeout(STALLED);
    let said = |error| errors::said(location, &error);
    Ok(match location.service {
        Service::S3 => {
            let builder = AmazonS3Builder::new().with_client_options(options);
            let builder = settings::apply(builder, variables, AmazonS3Builder::with_config)?
                .with_bucket_name(bucket)
                .with_http_connector(Connector)
                .with_retry(retries);
            Arc::new(builder.build().map_err(said)?)
        }
        Service::Gcs => {
            let builder = GoogleCloudStorageBuilder::new().with_client_options(options);
            let set = GoogleCloudStorageBuilder::with_config;
            let builder = settings::apply(builder, variables, set)?
                .with_bucket_name(bucket)
                .with_http_connector(Connector)
                .with_retry(retries);
            Arc::new(builder.build().map_err(said)?)
        }
        Service::Azure => {
            let builder = MicrosoftAzureBuilder::new().with_client_options(options);
            let builder = settings::apply(builder, variables, MicrosoftAzureBuilder::with_config)?
                .with_container_name(bucket)
                .with_http_connector(Connector)
                .with_retry(retries);
            Arc::new(builder.build().map_err(said)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use object_store::ObjectStoreExt as _;

    use super::super::fake::{self, Answer, Fake};
    use super::super::runtime;
    use super::*;

    #[test]
    fn a_store_that_restarts_is_waited_for() {
        let begin = Instant::now();
        let store = Fake::serve(move |request| match begin.elapsed().as_secs() {
            ..4 => Answer::status(503),
            _ => fake::object(request, fake::CONTENTS),
        });
        let (_, client) = store.client_with("s3://b/a.txt", retries(), &[]);
        let head = async move { client.head(&"a.txt".into()).await };
        let found = runtime::spawn(head).unwrap().wait(String::new).unwrap();
        assert!(found.is_ok(), "{found:?}");
    }

    #[test]
    fn a_store_that_answers_nothing_is_an_error_in_time() {
        let store = Fake::serve(|_| {
            std::thread::sleep(Duration::from_secs(3600));
            Answer::status(200)
        });
        let retries = RetryConfig {
            max_retries: 0,
            ..retries()
        };
        let begin = Instant::now();
        let (location, client) = store.client_with("s3://b/a.txt", retries, &[]);
        let head = async move { client.head(&"a.txt".into()).await };
        let error = runtime::spawn(head).unwrap().wait(String::new).unwrap();
        assert!(begin.elapsed() < STALLED + Duration::from_secs(5));
        let said = errors::said(&location, &error.unwrap_err());
        assert!(
            said.contains("cannot be read: ") && said.contains("AWS_ENDPOINT_URL"),
            "{said}"
        );
    }
}
