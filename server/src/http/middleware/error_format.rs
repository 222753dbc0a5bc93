//! Gives every error a body in the format of its route, also errors of actix-web, CORS and the document viewer.

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError as _};

use crate::http::errors::{ApiError, ErrorCode, TeiErrorBody};
use crate::http::routes::{self, ErrorFormat};

/// The middleware that rewrites error bodies.
pub(crate) async fn format_errors<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let response = next.call(request).await?;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return Ok(response.map_into_left_body());
    }
    let is_ours = response
        .response()
        .extensions()
        .get::<ErrorCode>()
        .is_some();
    let response = if is_ours {
        response.map_into_left_body()
    } else {
        let error = foreign_error(&response, status);
        response.into_response(error.error_response().map_into_right_body())
    };
    Ok(match tei_body(&response) {
        Some(json) => response.map_body(|_, _| EitherBody::right(BoxBody::new(json))),
        None => response,
    })
}

/// The error's body in text-embeddings-inference's format, if the request is for one of its routes.
fn tei_body<B>(response: &ServiceResponse<B>) -> Option<String> {
    let request = response.request();
    if routes::error_format(request.method(), request.path()) != ErrorFormat::Tei {
        return None;
    }
    let extensions = response.response().extensions();
    serde_json::to_string(extensions.get::<TeiErrorBody>()?).ok()
}

/// Our error for a response that is not one of ours.
fn foreign_error<B>(response: &ServiceResponse<B>, status: StatusCode) -> ApiError {
    let message = response.response().error().map(ToString::to_string);
    let message = message.unwrap_or_else(|| status.to_string());
    match status {
        StatusCode::NOT_FOUND => ApiError::NotFound {
            path: response.request().path().to_owned(),
        },
        StatusCode::METHOD_NOT_ALLOWED => ApiError::MethodNotAllowed {
            allow: "GET, HEAD".to_owned(),
        },
        _ if status.is_client_error() => ApiError::InvalidValue {
            param: None,
            reason: message,
        },
        _ => ApiError::Internal(message),
    }
}
