//! Clients of the services, with the credentials and the endpoint that the environment names.

use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{ObjectStore, Result, RetryConfig};

use super::super::location::{Location, Service};

/// Each wait is drawn at random, up to twice the one before; all of them together take about two seconds.
const MOST_RETRIES: usize = 8;

/// A client of a bucket.
///
/// # Errors
/// The environment lacks a setting, or one is malformed.
pub(super) fn open(location: &Location) -> Result<Arc<dyn ObjectStore>> {
    let bucket = &location.bucket;
    let retry = RetryConfig {
        max_retries: MOST_RETRIES,
        ..RetryConfig::default()
    };
    Ok(match location.service {
        Service::S3 => {
            let builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
            Arc::new(builder.with_retry(retry).build()?)
        }
        Service::Gcs => {
            let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
            Arc::new(builder.with_retry(retry).build()?)
        }
        Service::Azure => {
            let builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket);
            Arc::new(builder.with_retry(retry).build()?)
        }
    })
}
