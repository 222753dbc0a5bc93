//! Gives errors that others made (routing within the viewer, CORS) the shape that ours have.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError as _};

use super::error::{ApiError, Code};

/// The middleware.
pub(super) async fn nested<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let response = next.call(request).await?;
    let status = response.status();
    let failed = status.is_client_error() || status.is_server_error();
    if !failed || response.response().extensions().get::<Code>().is_some() {
        return Ok(response.map_into_left_body());
    }
    let error = error(&response, status);
    Ok(response.into_response(error.error_response().map_into_right_body()))
}

fn error<B>(response: &ServiceResponse<B>, status: StatusCode) -> ApiError {
    let words = || response.response().error().map(ToString::to_string);
    match status {
        StatusCode::NOT_FOUND => ApiError::NotFound {
            path: response.request().path().to_owned(),
        },
        StatusCode::METHOD_NOT_ALLOWED => ApiError::MethodNotAllowed { allow: "GET, HEAD" },
        _ if status.is_client_error() => ApiError::InvalidValue {
            param: None,
            reason: words().unwrap_or_else(|| status.to_string()),
        },
        _ => ApiError::Internal(words().unwrap_or_else(|| status.to_string())),
    }
}
