//! Requires an API key, where the server has keys and the route is not open.

use std::sync::Arc;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::AUTHORIZATION;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _, ResponseError as _};

use crate::http::errors::ApiError;
use crate::http::limits::keys::ApiKeys;
use crate::http::routes;
use crate::http::state::AppState;

/// The middleware that rejects requests without a known key in `Authorization: Bearer` with a 401.
pub(crate) async fn require_key<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let keys = request
        .app_data::<Data<AppState>>()
        .map(|state| &state.keys);
    let required = keys.is_some_and(ApiKeys::are_required);
    let known = keys
        .and_then(|keys| keys.find(bearer(&request)?))
        .map(Arc::clone);
    let open = routes::is_open(request.method(), request.path());
    if !required || open || known.is_some() {
        if let Some(key) = known {
            request.extensions_mut().insert(key);
        }
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let error = ApiError::InvalidApiKey {
        missing: bearer(&request).is_none(),
    };
    let response = error.error_response().map_into_right_body();
    Ok(request.into_response(response))
}

/// The key in the header `Authorization: Bearer`.
fn bearer(request: &ServiceRequest) -> Option<&str> {
    let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}
