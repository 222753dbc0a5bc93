//! Gives errors the shape that a route's clients read: those that others made (routing within the viewer, CORS) that of ours,
//! and all on text-embeddings-inference's routes its own.

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError as _};

use crate::http::errors::{ApiError, Code, TeiErrorBody};

/// The middleware.
pub(crate) async fn reshape_errors<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let response = next.call(request).await?;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return Ok(response.map_into_left_body());
    }
    let response = if response.response().extensions().get::<Code>().is_some() {
        response.map_into_left_body()
    } else {
        let error = error(&response, status);
        response.into_response(error.error_response().map_into_right_body())
    };
    Ok(match for_tei(&response) {
        Some(json) => response.map_body(|_, _| EitherBody::right(BoxBody::new(json))),
        None => response,
    })
}

/// text-embeddings-inference's routes, those of other tasks that its clients may ask for included.
const TEI: [&str; 11] = [
    "/embed",
    "/tokenize",
    "/info",
    "/embed_all",
    "/embed_sparse",
    "/rerank",
    "/predict",
    "/similarity",
    "/decode",
    "/invocations",
    "/vertex",
];

/// Whether a path is one of text-embeddings-inference's, `/` aside.
pub(crate) fn is_tei(path: &str) -> bool {
    TEI.contains(&path.strip_suffix('/').unwrap_or(path))
}

/// The error's body in text-embeddings-inference's shape, where its clients asked.
fn for_tei<B>(response: &ServiceResponse<B>) -> Option<String> {
    let request = response.request();
    let path = request.path();
    let bare = path == "/" && request.method() == Method::POST;
    if !bare && !is_tei(path) {
        return None;
    }
    let extensions = response.response().extensions();
    serde_json::to_string(extensions.get::<TeiErrorBody>()?).ok()
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
