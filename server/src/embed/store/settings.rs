//! The settings of stores, which the environment has. They are checked here, because the library panics on many malformed values.

use std::str::FromStr;

use reqwest::Url;

use super::super::location::Service;

/// Variables and their values.
pub(super) type Variables = Vec<(String, String)>;

/// The variables of a service that are not empty.
pub(super) fn of_environment(service: Service) -> Variables {
    let (prefix, other) = match service {
        Service::S3 => ("AWS_", ""),
        Service::Gcs => ("GOOGLE_", "SERVICE_ACCOUNT"),
        Service::Azure => ("AZURE_", "IDENTITY_ENDPOINT"),
    };
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(prefix) || name == other)
        // An empty variable means an unset one, but an empty endpoint would send requests to another store.
        .filter(|(name, value)| !value.is_empty() || is_endpoint(name))
        .collect()
}

/// Passes the variables that a library's builder has a key for to `set`.
///
/// # Errors
/// A value is malformed.
pub(super) fn apply<B, K: FromStr>(
    builder: B,
    variables: &Variables,
    set: impl Fn(B, K, String) -> B,
) -> Result<B, String> {
    let mut variables = variables.iter();
    variables.try_fold(builder, |builder, (name, value)| {
        let Ok(key) = name.to_ascii_lowercase().parse() else {
            return Ok(builder);
        };
        check(name, value)?;
        Ok(set(builder, key, value.clone()))
    })
}

/// Values of variables that no message may have.
pub(super) fn secrets() -> Vec<String> {
    let services = [Service::S3, Service::Gcs, Service::Azure];
    let variables = services.into_iter().flat_map(of_environment);
    let is_secret = |name: &str| {
        let parts = ["KEY", "SECRET", "TOKEN"];
        parts.iter().any(|part| name.contains(part)) && !name.ends_with("_FILE")
    };
    variables
        .filter(|(name, value)| is_secret(name) && value.len() > 3)
        .map(|(_, value)| value)
        .collect()
}

fn check(name: &str, value: &str) -> Result<(), String> {
    if is_endpoint(name) {
        return check_endpoint(name, value);
    }
    let has_lines = ["SERVICE_ACCOUNT_KEY", "_CERTIFICATE"];
    if has_lines.iter().any(|end| name.ends_with(end)) {
        return Ok(());
    }
    let paths = ["_FILE", "_CREDENTIALS", "SERVICE_ACCOUNT"];
    let is_path = paths.iter().any(|end| name.ends_with(end));
    if value.contains(|c: char| c.is_control() || !is_path && !c.is_ascii()) {
        return Err(format!(
            "{name}: the value has a line break or another character that no request can have: set the variable again"
        ));
    }
    Ok(())
}

fn is_endpoint(name: &str) -> bool {
    let is_switch = name.ends_with("USE_FABRIC_ENDPOINT");
    name.contains("ENDPOINT") && !is_switch || name.ends_with("BASE_URL")
}

/// Does not quote the value, which may have a password.
fn check_endpoint(name: &str, value: &str) -> Result<(), String> {
    let url = Url::parse(value).ok().filter(|url| {
        let is_http = ["http", "https"].contains(&url.scheme());
        let is_bare = url.username().is_empty() && url.password().is_none();
        is_http && is_bare && url.query().is_none() && url.fragment().is_none()
    });
    // The parser leaves out line breaks, and the library does not.
    if url.is_none() || value.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(format!(
            "{name}: the value is no URL such as https://HOST:PORT: correct it, or unset the variable"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

    use super::*;

    #[test]
    fn malformed_values_are_errors_that_do_not_quote_them() {
        let applied = |name: &str, value: &str| {
            let variables = vec![(name.to_owned(), value.to_owned())];
            let set = |builder, _: AmazonS3ConfigKey, _| builder;
            apply(AmazonS3Builder::new(), &variables, set).map(|_| ())
        };
        for (name, value) in [
            ("AWS_SESSION_TOKEN", "QUOTED\n"),
            ("AWS_REGION", "QUOTED\r\n"),
            ("AWS_ACCESS_KEY_ID", "QUOTÉD"),
            ("AWS_SECRET_ACCESS_KEY", "QUOTED\n"),
            ("AWS_ENDPOINT_URL", ""),
            ("AWS_ENDPOINT_URL", "QUOTED"),
            ("AWS_ENDPOINT_URL", "http://"),
            ("AWS_ENDPOINT_URL", "https://user:QUOTED@host"),
            ("AWS_ENDPOINT_URL", "https://host\nQUOTED"),
            ("AWS_ENDPOINT_URL_S3", "https://host/?QUOTED"),
            ("AWS_METADATA_ENDPOINT", "ftp://QUOTED"),
        ] {
            let said = applied(name, value).unwrap_err();
            assert!(said.starts_with(&format!("{name}: ")), "{said}");
            assert!(
                !said.contains("QUOTED") && !said.contains("QUOTÉD"),
                "{said}"
            );
        }
        for (name, value) in [
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9000/"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/tmp/ü"),
            ("AWS_CA_BUNDLE", "not\na setting"),
        ] {
            assert_eq!(applied(name, value), Ok(()));
        }
    }
}
