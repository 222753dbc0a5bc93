//! Liveness (`/livez`) and readiness (`/readyz`).
//!
//! Neither uses a session: they read the workers' own status, and respond at once under any load.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;

use crate::http::errors::ApiError;
use crate::http::state::AppState;

/// The response of the three health routes.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Health)]
pub(crate) struct HealthResponse {
    #[schema(example = "ok")]
    status: &'static str,
}

const OK: HealthResponse = HealthResponse { status: "ok" };

/// The server has loaded its models and responds.
#[utoipa::path(get, path = "/health", tag = "operations", responses((status = 200, body = HealthResponse)))]
pub(crate) async fn health() -> HttpResponse {
    HttpResponse::Ok().json(OK)
}

/// The process is alive.
#[utoipa::path(get, path = "/livez", tag = "operations", responses((status = 200, body = HealthResponse)))]
pub(crate) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(OK)
}

/// Every model is warm, has a session that serves, and no batch is stuck; the server is not shutting down.
#[utoipa::path(get, path = "/readyz", tag = "operations",
    responses((status = 200, body = HealthResponse), (status = 503, body = crate::http::errors::ErrorBody, description = "the part that is not ready")))]
pub(crate) async fn ready(state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    match state.unready() {
        None => Ok(HttpResponse::Ok().json(OK)),
        Some(reason) => Err(ApiError::NotReady { reason }),
    }
}
