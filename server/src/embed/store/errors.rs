//! Messages about object stores: what happened, where, and what to do.
//!
//! The services' own messages name access keys and parts of signatures. Only their code and their sentence are shown, without what looks
//! like either.

use object_store::Error;

use super::super::location::{Location, Service};
use super::{http, settings};

/// What the library says of a listing that it cannot parse.
const BAD_LISTING: &str = "Got invalid list response";

/// The most characters of a service's own words.
const MOST_WORDS: usize = 300;

/// The message of an error.
pub(super) fn said(location: &Location, error: &Error) -> String {
    let whole = error.to_string();
    let bucket = &location.bucket;
    let reason = reason(error);
    if names_no_bucket(&whole) {
        return format!("{location}: there is no bucket `{bucket}`");
    }
    let denied = || {
        format!(
            "{location}: the store denies access ({reason}): the credentials need permission to list the bucket and to read its objects. {}",
            credentials(location.service)
        )
    };
    match error {
        Error::NotFound { .. } => format!("{location}: there is no such object"),
        Error::Precondition { .. } => changed(location),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => denied(),
        // Of listings, object_store reports this as any other error.
        _ if whole.contains("403 Forbidden") || whole.contains("401 Unauthorized") => denied(),
        Error::InvalidPath { .. } => unreadable_key(location),
        _ if lacks_credentials(&whole) => format!(
            "{location}: there are no credentials: {}",
            credentials(location.service)
        ),
        _ if whole.contains("builder error") || whole.contains("scheme is not allowed") => format!(
            "{location}: {reason}. An endpoint with http:// needs {}=true",
            allow_http(location.service)
        ),
        _ if whole.contains(BAD_LISTING) => format!(
            "{location}: the store's answer is no listing of its protocol{}",
            hint(location.service, &whole)
        ),
        _ => {
            let hint = hint(location.service, &whole);
            format!("{location}: the store cannot be read: {reason}{hint}")
        }
    }
}

/// Whether an error, as the library words it, is a store's answer, and not the lack of one.
pub(super) fn is_answer(whole: &str) -> bool {
    whole.contains("Server returned")
}

/// What helps against an error, if it may be a wrong address.
fn hint(service: Service, whole: &str) -> &'static str {
    let is_elsewhere = whole.contains("AuthorizationHeaderMalformed") || whole.contains("redirect");
    // A store that answers with a status, or a range, has the right address.
    let is_silent =
        whole.contains("Error performing") && !is_answer(whole) || whole.contains(BAD_LISTING);
    match service {
        Service::S3 if is_elsewhere => {
            ": set AWS_REGION to the bucket's region, or AWS_ENDPOINT_URL to the store's address"
        }
        Service::S3 if is_silent => "; AWS_ENDPOINT_URL and AWS_REGION say where the store is",
        Service::Azure if is_silent => {
            "; AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ENDPOINT say where the store is"
        }
        _ => "",
    }
}

/// The message that a key cannot be read.
pub(super) fn unreadable_key(location: &Location) -> String {
    // A line break in a key would look like a message of its own.
    let location = location.with_key(&location.key.escape_debug().to_string());
    format!(
        "{location}: lexivec reads no key that has an empty name, `.`, `..` or a control character between slashes, or more than 4,096 \
         bytes: rename the object"
    )
}

/// The message that a store does not do as its protocol says.
pub(super) fn broken(location: &Location, problem: &str) -> String {
    format!(
        "{location}: the store {problem}, so its listing cannot be trusted: report this to the store's operator"
    )
}

/// The message that an object is no longer the one that was listed.
pub(super) fn changed(location: &Location) -> String {
    format!(
        "{location}: the object has changed since the command listed it: run the command again when nobody writes it"
    )
}

fn names_no_bucket(whole: &str) -> bool {
    let codes = [
        "NoSuchBucket",
        "ContainerNotFound",
        "specified bucket does not exist",
    ];
    codes.iter().any(|code| whole.contains(code))
}

/// Whether the last resort for credentials has failed: the metadata service of a virtual machine.
fn lacks_credentials(whole: &str) -> bool {
    http::METADATA.iter().any(|host| whole.contains(host))
}

/// Where a service's client finds credentials.
fn credentials(service: Service) -> &'static str {
    match service {
        Service::S3 => {
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (a profile's: eval \"$(aws configure export-credentials --format env)\"), or \
             AWS_SKIP_SIGNATURE=true for a public bucket"
        }
        Service::Gcs => {
            "Set GOOGLE_APPLICATION_CREDENTIALS to a file of credentials, or GOOGLE_SKIP_SIGNATURE=true for a public bucket"
        }
        Service::Azure => {
            "Set AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, or AZURE_SKIP_SIGNATURE=true for a \
             public container"
        }
    }
}

fn allow_http(service: Service) -> &'static str {
    match service {
        Service::S3 => "AWS_ALLOW_HTTP",
        Service::Gcs => "GOOGLE_ALLOW_HTTP",
        Service::Azure => "AZURE_ALLOW_HTTP",
    }
}

/// The service's code and sentence, or else the innermost cause.
fn reason(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let words = cause.to_string();
    let field = |name: &str| {
        let (_, rest) = words.split_once(&format!("<{name}>"))?;
        Some(rest.split_once("</")?.0)
    };
    // The rest of an answer's body, and a URL's query, may repeat credentials.
    let up_to = |words: &str| {
        words
            .split([':', '?', '<'])
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let words = match (field("Code"), field("Message")) {
        (Some(code), Some(message)) => {
            let message = message.lines().next().unwrap_or_default();
            format!("{code}: {}", redacted(message, &settings::secrets()))
        }
        (Some(code), None) => code.to_owned(),
        _ => match words.strip_prefix("Server returned non-2xx status code: ") {
            Some(status) => format!("status {}", up_to(status)),
            None => up_to(&words),
        },
    };
    words
        .trim_end_matches(['.', ' '])
        .chars()
        .take(MOST_WORDS)
        .collect()
}

/// Words without the given values, and without what may be a key or a signature: a long run of characters that has a digit or no
/// lower-case letter.
fn redacted(words: &str, secrets: &[String]) -> String {
    let mut known = words.to_owned();
    for secret in secrets {
        known = known.replace(secret.as_str(), "…");
    }
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "+/=_-%".contains(c);
    let runs = known.split_inclusive(|c| !is_inner(c));
    let shown = |run: &str| {
        let value = run.trim_end_matches(|c| !is_inner(c));
        let is_secret = value.len() >= 16
            && (value.contains(|c: char| c.is_ascii_digit())
                || !value.contains(|c: char| c.is_ascii_lowercase()));
        match is_secret {
            true => format!("…{}", &run[value.len()..]),
            false => run.to_owned(),
        }
    };
    runs.map(shown).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn messages_name_the_url_and_what_helps_and_no_credentials() {
        let location = Location::of(Path::new("s3://b/a.csv")).unwrap().unwrap();
        let body = |words: &str| -> Box<dyn std::error::Error + Send + Sync> { words.into() };
        let generic = |words| Error::Generic {
            store: "S3",
            source: body(words),
        };
        let denied = "Server returned non-2xx status code: 403 Forbidden: <?xml?><Error><Code>SignatureDoesNotMatch</Code>\
                      <Message>The signature does not match.</Message><AWSAccessKeyId>AKIASECRET</AWSAccessKeyId></Error>";
        let path = || "a.csv".to_owned();
        for (error, expected) in [
            (
                Error::PermissionDenied {
                    path: path(),
                    source: body(denied),
                },
                "denies access (SignatureDoesNotMatch: The signature does not match): the credentials need",
            ),
            (
                Error::NotFound {
                    path: path(),
                    source: body("<Code>NoSuchBucket</Code>"),
                },
                "there is no bucket `b`",
            ),
            (
                Error::NotFound {
                    path: path(),
                    source: body(""),
                },
                "there is no such object",
            ),
            (
                generic("Error performing PUT http://169.254.169.254/latest/api/token in 1s"),
                "there are no credentials: Set AWS_ACCESS_KEY_ID",
            ),
            (
                generic("Server returned non-2xx status code: 400 Bad Request: AKIASECRET"),
                "cannot be read: status 400 Bad Request",
            ),
            (
                generic("error for http://b/?sig=AKIASECRET"),
                "cannot be read: error for http",
            ),
            (
                generic("<Code>AuthorizationHeaderMalformed</Code>"),
                "set AWS_REGION",
            ),
            (generic(denied), "denies access (SignatureDoesNotMatch"),
            (generic("builder error"), "needs AWS_ALLOW_HTTP=true"),
        ] {
            let said = said(&location, &error);
            assert!(
                said.starts_with("s3://b/a.csv: ") && said.contains(expected),
                "{said}"
            );
            assert!(!said.contains("AKIASECRET"), "{said}");
        }
    }

    #[test]
    fn messages_of_stores_show_no_keys_and_signatures() {
        let secrets = ["minioadmin".to_owned()];
        for (words, expected) in [
            (
                "The key AKIAIOSFODNN7EXAMPLE, of minioadmin, does not exist.",
                "The key …, of …, does not exist.",
            ),
            (
                "Signature 'q0Kd5k/0Bc7eRrX+S8RrX1l4Zg0=' is wrong; expecting 'eu-central-1'",
                "Signature '…' is wrong; expecting 'eu-central-1'",
            ),
            (
                "User arn:aws:iam::123:user/ann-of-quality is denied",
                "User arn:aws:iam::123:user/ann-of-quality is denied",
            ),
            ("", ""),
        ] {
            assert_eq!(redacted(words, &secrets), expected);
        }
    }

    #[test]
    fn the_endpoint_is_named_only_if_it_may_be_wrong() {
        let location = Location::of(Path::new("s3://b/a.csv")).unwrap().unwrap();
        for (words, is_named) in [
            (
                "Server returned non-2xx status code: 503 Slow Down: <Code>SlowDown</Code>",
                false,
            ),
            (
                "Server returned error response: <Code>InternalError</Code>",
                false,
            ),
            ("Requested 0..290, got 0..50", false),
            (
                "Error performing GET http://h - Connection refused (os error 111)",
                true,
            ),
            ("Got invalid list response: at 0..3", true),
            ("the store redirects to another address", true),
        ] {
            let source = words.into();
            let said = said(
                &location,
                &Error::Generic {
                    store: "S3",
                    source,
                },
            );
            assert_eq!(said.contains("AWS_ENDPOINT_URL"), is_named, "{said}");
        }
    }
}
