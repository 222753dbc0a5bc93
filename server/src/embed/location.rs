//! Locations in object stores, as URLs name them.

use std::fmt;
use std::path::Path;

/// The services' own limits are lower.
const MOST_BUCKET: usize = 255;

/// An object store's service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Service {
    /// Amazon S3 and services with its API.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

impl Service {
    const ALL: [Self; 3] = [Self::S3, Self::Gcs, Self::Azure];

    fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }
}

/// What a URL names: an object, a folder or a pattern. The key is not percent-encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) service: Service,
    pub(super) bucket: String,
    /// Without a slash at its beginning. A folder's key may end in one, and that of a whole bucket is empty.
    pub(super) key: String,
}

impl Location {
    /// The location that a name has in an object store; `None` for the name of a file.
    ///
    /// # Errors
    /// The URL names no bucket, or is not UTF-8.
    pub(super) fn of(name: &Path) -> Result<Option<Self>, String> {
        let Some((service, rest)) = split(name) else {
            return Ok(None);
        };
        let scheme = service.scheme();
        let Ok(rest) = std::str::from_utf8(rest) else {
            return Err(format!("{}: the URL is not UTF-8", name.display()));
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        // Azure has containers such as `$web`.
        let is_name = |c: char| c.is_ascii_alphanumeric() || ".-_$".contains(c);
        if !(1..=MOST_BUCKET).contains(&bucket.len()) || !bucket.chars().all(is_name) {
            return Err(format!(
                "{}: the URL names no bucket: it has the form {scheme}://BUCKET/KEY",
                name.display()
            ));
        }
        Ok(Some(Self {
            service,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        }))
    }

    /// The location of another key in the same bucket.
    #[cfg(feature = "object-store")]
    pub(super) fn with_key(&self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..self.clone()
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            service,
            bucket,
            key,
        } = self;
        write!(f, "{}://{bucket}/{key}", service.scheme())
    }
}

/// Whether a name is the URL of an object store.
pub(crate) fn is_url(name: &Path) -> bool {
    split(name).is_some()
}

/// The message that a file cannot be in an object store.
pub(crate) fn only_texts(url: &Path) -> String {
    format!(
        "{}: lexivec reads object stores as the texts of `embed` and `compare` only: copy the file to this machine",
        url.display()
    )
}

/// The service of a URL, and the URL without its scheme, which may be in upper case.
fn split(name: &Path) -> Option<(Service, &[u8])> {
    let name = name.as_os_str().as_encoded_bytes();
    Service::ALL.into_iter().find_map(|service| {
        let (scheme, rest) = name.split_at_checked(service.scheme().len())?;
        let is_scheme = scheme.eq_ignore_ascii_case(service.scheme().as_bytes());
        Some((service, rest.strip_prefix(b"://")?)).filter(|_| is_scheme)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_bucket_and_a_key() {
        for (url, service, bucket, key) in [
            (
                "s3://b/terms/a b%20.csv",
                Service::S3,
                "b",
                "terms/a b%20.csv",
            ),
            ("gs://b/terms/", Service::Gcs, "b", "terms/"),
            ("az://b/*.parquet", Service::Azure, "b", "*.parquet"),
            ("s3://b/", Service::S3, "b", ""),
        ] {
            let found = Location::of(Path::new(url)).unwrap().unwrap();
            let parts = (found.service, found.bucket.as_str(), found.key.as_str());
            assert_eq!(parts, (service, bucket, key));
            assert_eq!(found.to_string(), url);
        }
        for url in ["s3://b", "S3://b/"] {
            let whole = Location::of(Path::new(url)).unwrap().unwrap();
            assert_eq!(whole.to_string(), "s3://b/");
        }
        for name in ["terms.csv", "s3:/b", "s3", "https://b/a.csv", "./s3://b"] {
            assert_eq!(Location::of(Path::new(name)), Ok(None), "{name}");
            assert!(!is_url(Path::new(name)));
        }
        // Credentials have no place in a URL, which is written to manifests.
        for url in [
            "s3://",
            "s3:///a.csv",
            "s3://*/a.csv",
            "s3://key:secret@b/a.csv",
            "s3://a b/a.csv",
            "s3://a\nb/a.csv",
            &format!("s3://{}/a.csv", "b".repeat(1000)),
        ] {
            let said = Location::of(Path::new(url)).unwrap_err();
            assert!(said.contains("names no bucket"), "{said}");
        }
    }
}
