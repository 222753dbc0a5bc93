//! API keys.
//!
//! Keys are compared by the digests of their bytes in constant time: how long a comparison takes tells nothing of a
//! key, its length included. They are never shown or logged.

use std::fmt;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::AUTHORIZATION;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, ResponseError as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::error::ApiError;
use super::state::AppState;

/// Who may use the API; without any key, everybody.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ApiKeys(Vec<[u8; 32]>);

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

impl ApiKeys {
    /// Keys as the user gave them.
    ///
    /// # Errors
    /// A key is empty or has characters that no header can carry; the message does not show it.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut digests = Vec::new();
        for (place, key) in keys.into_iter().enumerate() {
            if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(format!(
                    "API key number {} is empty, or has spaces or characters beyond ASCII, which a header cannot carry",
                    place + 1
                ));
            }
            digests.push(digest(key));
        }
        Ok(Self(digests))
    }

    /// Whether a key is asked for at all.
    #[must_use]
    pub fn are_required(&self) -> bool {
        !self.0.is_empty()
    }

    fn allow(&self, key: &str) -> bool {
        let given = digest(key);
        // All are compared, so that time does not tell which matched.
        let found = self.0.iter().fold(subtle::Choice::from(0), |found, known| {
            found | known.ct_eq(&given)
        });
        found.into()
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Open to everybody: what load balancers, monitoring and browsers ask for before anybody can give a key.
const OPEN: [&str; 9] = [
    "/",
    "/health",
    "/livez",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/docs/",
    "/favicon.ico",
];

/// The middleware: refuses requests without a known key in `Authorization: Bearer`.
pub(super) async fn require_key<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let keys = request
        .app_data::<Data<AppState>>()
        .map(|state| &state.keys);
    let required = keys.is_some_and(ApiKeys::are_required);
    let open = request.method().is_safe() && is_open(request.path());
    let allowed = !required
        || open
        || bearer(&request).is_some_and(|key| keys.is_some_and(|keys| keys.allow(key)));
    if allowed {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let error = ApiError::InvalidApiKey {
        missing: bearer(&request).is_none(),
    };
    let response = error.error_response().map_into_right_body();
    Ok(request.into_response(response))
}

pub(super) fn is_open(path: &str) -> bool {
    OPEN.contains(&path) || path.starts_with("/docs/")
}

fn bearer(request: &ServiceRequest) -> Option<&str> {
    let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_match_whole_and_are_not_shown() {
        let keys = ApiKeys::new(["sk-one", "sk-two"]).unwrap();
        assert!(keys.allow("sk-one") && keys.allow("sk-two"));
        for wrong in ["", "sk-on", "sk-one ", "SK-ONE", "sk-onesk-two"] {
            assert!(!keys.allow(wrong), "{wrong}");
        }
        assert_eq!(format!("{keys:?}"), "2 keys");
        assert!(!ApiKeys::default().are_required());
        let error = ApiKeys::new(["sk-one", "geheim ß"]).unwrap_err();
        assert!(
            error.contains("number 2") && !error.contains("geheim"),
            "{error}"
        );
        assert!(ApiKeys::new([""]).is_err());
    }
}
