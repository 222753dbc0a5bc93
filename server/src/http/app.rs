//! The application: routes within middleware. The program and its tests use the same one.

use actix_cors::Cors;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::{Condition, from_fn};
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, Error};

use super::connections::deadline;
use super::middleware::{auth, error_format, headers, hosts, load_report, log};
use super::settings::HttpSettings;
use super::state::AppState;
use super::{body, routes};

/// Registers the routes, and the settings that handlers and middleware read.
pub fn configure(cfg: &mut ServiceConfig, settings: &HttpSettings) {
    cfg.app_data(body::BodyLimit(settings.body_limit))
        .app_data(body::BodyTimeout(settings.body_timeout))
        .app_data(settings.allowed_hosts.clone())
        .configure(routes::configure);
}

/// Creates the whole application: [`configure`] within the middleware. The last middleware here is the outermost.
pub fn create_app(
    state: web::Data<AppState>,
    settings: &HttpSettings,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody + use<>>,
        Error = Error,
        InitError = (),
    > + use<>,
> {
    App::new()
        .app_data(state)
        .configure(|cfg| configure(cfg, settings))
        // Within the keys, so that a request with a wrong key learns nothing. Open routes, such as /metrics, tell the load to everybody.
        .wrap(from_fn(load_report::add_load_report))
        .wrap(from_fn(auth::require_key))
        // Outside the keys, because browsers send preflight requests without one.
        .wrap(Condition::new(
            !settings.cors_origins.is_empty(),
            cors(settings),
        ))
        // Outside CORS, because a page must not learn through a rebound name what it may do here.
        .wrap(from_fn(hosts::check_host))
        .wrap(from_fn(error_format::format_errors))
        .wrap(from_fn(headers::add_security_headers))
        .wrap(from_fn(headers::add_rate_limits))
        .wrap(from_fn(log::log_request))
        .wrap(from_fn(deadline::count_request))
}

fn cors(settings: &HttpSettings) -> Cors {
    let origins = settings.cors_origins.iter();
    let cors = origins.fold(Cors::default(), |cors, origin| match origin.as_str() {
        "*" => cors.allow_any_origin(),
        origin => cors.allowed_origin(origin),
    });
    cors.allowed_methods(["GET", "POST"])
        .allow_any_header()
        .expose_headers([log::REQUEST_ID, header::RETRY_AFTER])
        .max_age(3600)
}
