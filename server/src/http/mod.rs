//! The HTTP server.
//!
//! [`configure`] is the one place where routes and extractor policy are set, and [`create_app`] wraps it in the
//! middleware; the program and its tests use both. [`run`] serves until its shutdown future resolves, then finishes
//! the requests it has accepted. Every error leaves through the table in [`errors`].

use std::future::Future;
use std::net::TcpListener;

use actix_cors::Cors;
use actix_server::ServerBuilder;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::{Condition, from_fn};
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, Error, HttpRequest, HttpResponse, Resource, Route};
use utoipa_swagger_ui::SwaggerUi;

mod body;
mod connections;
pub mod errors;
mod limits;
mod metrics;
mod middleware;
mod pipeline;
mod routes;
mod settings;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod types;

pub use connections::listen::listen;
pub use connections::tls::{Tls, tls};
pub use errors::ApiError;
pub use limits::keys::ApiKeys;
pub use limits::memory_budget::Budget;
pub use metrics::Exporter;
pub use middleware::hosts::AllowedHosts;
pub use routes::openapi::document;
pub use settings::HttpSettings;
pub use state::{AppState, ServedModel};

use connections::{accept, deadline};
use middleware::{auth, error_format, headers, hosts, log};
use routes::{embeddings, health, models, openapi, start_page, tei};

/// Routes, and what extractors accept.
pub fn configure(cfg: &mut ServiceConfig, settings: &HttpSettings) {
    cfg.app_data(body::BodyLimit(settings.body_limit))
        .app_data(body::BodyTimeout(settings.body_timeout))
        .app_data(settings.allowed_hosts.clone())
        .service(
            web::resource("/")
                .route(web::get().to(start_page::show))
                .route(web::head().to(start_page::show))
                // huggingface_hub's InferenceClient asks the bare address.
                .route(web::post().to(tei::embed))
                .default_service(web::to(|| refuse_method("GET, HEAD, POST"))),
        )
        .service(posted(
            web::resource(EMBEDDINGS),
            web::post().to(embeddings::create),
        ))
        .service(posted(
            web::resource(["/embed", "/embed/"]),
            web::post().to(tei::embed),
        ))
        .service(posted(
            web::resource(["/tokenize", "/tokenize/"]),
            web::post().to(tei::tokenize),
        ))
        .service(shown(web::resource(MODELS), || web::to(models::models)))
        .service(shown(web::resource("/v1/models/{id:.+}"), || {
            web::to(models::model)
        }))
        .service(shown(web::resource("/v1/domains"), || {
            web::to(models::domains)
        }))
        .service(shown(web::resource("/info"), || web::to(tei::info)))
        .service(shown(web::resource("/health"), || web::to(health::health)))
        .service(shown(web::resource("/livez"), || web::to(health::live)))
        .service(shown(web::resource("/readyz"), || web::to(health::ready)))
        .service(shown(web::resource("/metrics"), || web::to(metrics::show)))
        .service(shown(web::resource("/openapi.json"), || {
            web::to(openapi::show)
        }))
        .service(web::redirect("/docs", "/docs/"))
        .service(
            SwaggerUi::new("/docs/{_:.*}").config(utoipa_swagger_ui::Config::from("/openapi.json")),
        )
        .default_service(web::to(refuse_path));
}

/// Base URLs end with or without `/v1` and a slash, and clients add `/embeddings` or `/embeddings/` to any of them.
const EMBEDDINGS: [&str; 4] = [
    "/v1/embeddings",
    "/v1/embeddings/",
    "/embeddings",
    "/embeddings/",
];
const MODELS: [&str; 4] = ["/v1/models", "/v1/models/", "/models", "/models/"];

fn posted(resource: Resource, route: Route) -> Resource {
    resource
        .route(route)
        .default_service(web::to(|| refuse_method("POST")))
}

/// Load balancers ask with HEAD.
fn shown(resource: Resource, route: impl Fn() -> Route) -> Resource {
    resource
        .route(route().method(Method::GET))
        .route(route().method(Method::HEAD))
        .default_service(web::to(|| refuse_method("GET, HEAD")))
}

async fn refuse_method(allow: &'static str) -> Result<HttpResponse, ApiError> {
    Err(ApiError::MethodNotAllowed { allow })
}

async fn refuse_path(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::NotFound {
        path: request.path().to_owned(),
    })
}

/// The whole application: [`configure`] within the middleware.
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
        .wrap(from_fn(auth::require_key))
        // Outside the keys: a browser asks for permission without one.
        .wrap(Condition::new(
            !settings.cors_origins.is_empty(),
            cors(settings),
        ))
        // Outside CORS: a page must not learn what it may do here through a name that it rebound.
        .wrap(from_fn(hosts::check))
        .wrap(from_fn(error_format::reshape_errors))
        .wrap(from_fn(headers::for_browsers))
        .wrap(from_fn(headers::rate_limits))
        .wrap(from_fn(log::request))
        .wrap(from_fn(deadline::answering))
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

/// Serves `listener` until `shutdown` resolves and the requests accepted by then are answered.
///
/// After the signal `/readyz` answers 503 and requests are still accepted for `shutdown_delay`; then accepted ones
/// have `shutdown_timeout` to finish. The TLS certificate is read again each time that `hangup` resolves, and when its
/// files change.
///
/// # Errors
/// The listener cannot be served.
pub async fn run(
    listener: TcpListener,
    state: web::Data<AppState>,
    settings: HttpSettings,
    tls: Option<Tls>,
    shutdown: impl Future<Output = ()> + Send + 'static,
    hangup: impl AsyncFn() + 'static,
) -> std::io::Result<()> {
    let workers = settings.workers;
    let (draining, delay) = (state.clone(), settings.shutdown_delay);
    let stop = async move {
        shutdown.await;
        draining.drain();
        tracing::info!("shutting down");
        actix_web::rt::time::sleep(delay).await;
    };
    let server = ServerBuilder::new()
        .workers(workers)
        .worker_max_blocking_threads(settings.tokenizers.div_ceil(workers).max(1))
        .max_concurrent_connections(settings.max_connections.div_ceil(workers))
        .shutdown_timeout(settings.shutdown_timeout.as_secs())
        .shutdown_signal(stop);
    let tls = match tls.map(Tls::split) {
        Some((config, reloader)) => {
            actix_web::rt::spawn(reloader.run(hangup));
            Some(config)
        }
        None => {
            actix_web::rt::spawn(ignore(hangup));
            None
        }
    };
    let app = settings.clone();
    let app = move || create_app(state.clone(), &app);
    let server = accept::serve(server, listener, &settings, tls, app)?;
    server.run().await
}

/// Without a certificate there is nothing to read again.
async fn ignore(hangup: impl AsyncFn()) {
    loop {
        hangup().await;
        tracing::info!(
            "SIGHUP is ignored: it reads TLS certificates again, and this server has none"
        );
    }
}
