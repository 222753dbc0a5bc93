//! `GET /metrics`.

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Data;

use crate::http::metrics::Exporter;
use crate::http::state::AppState;

/// Counters, gauges and histograms in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "operations",
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn show(state: Data<AppState>) -> HttpResponse {
    for model in &state.models {
        model.engine.sample_metrics();
    }
    let text = state.exporter.as_ref().map(Exporter::render);
    HttpResponse::Ok()
        .insert_header((
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
        ))
        .body(text.unwrap_or_default())
}
