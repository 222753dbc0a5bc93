//! The HTTP server.
//!
//! [`configure`] is the one place where routes and extractor policy are set, and [`create_app`] wraps it in the
//! middleware; the program and its tests use both. [`run`] serves until its shutdown future resolves, then finishes
//! the requests it has accepted. Every error leaves through the table in [`error`].

use std::future::Future;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::web::{self, PayloadConfig, ServiceConfig};
use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer};

mod answer;
mod body;
mod embeddings;
pub mod error;
mod input;
mod log;
mod registry;
mod request;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod whole;

pub use error::ApiError;
pub use state::{AppState, ServedModel};

/// How the HTTP side behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Threads that read and write connections.
    pub workers: usize,
    /// Threads that tokenise.
    pub tokenizers: usize,
    /// The largest request body, in bytes.
    pub body_limit: usize,
    /// How long accepted requests may take to finish after a shutdown began.
    pub shutdown_timeout: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            workers: cores.min(4),
            tokenizers: cores,
            body_limit: 32 << 20,
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

/// Routes, and what extractors accept.
pub fn configure(cfg: &mut ServiceConfig, settings: &HttpSettings) {
    cfg.app_data(PayloadConfig::new(settings.body_limit))
        .app_data(body::BodyLimit(settings.body_limit))
        .service(
            web::resource("/v1/embeddings")
                .route(web::post().to(embeddings::create))
                .default_service(web::to(|| refuse_method("POST"))),
        )
        .service(
            web::resource("/v1/models")
                .route(web::get().to(registry::models))
                .default_service(web::to(|| refuse_method("GET"))),
        )
        .service(
            web::resource("/v1/domains")
                .route(web::get().to(registry::domains))
                .default_service(web::to(|| refuse_method("GET"))),
        )
        .service(
            web::resource("/health")
                .route(web::get().to(registry::health))
                // Load balancers ask with HEAD.
                .route(web::head().to(registry::health))
                .default_service(web::to(|| refuse_method("GET, HEAD"))),
        )
        .default_service(web::to(refuse_path));
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
        .wrap(from_fn(log::request))
}

/// Serves `listener` until `shutdown` resolves and the requests accepted by then are answered.
///
/// # Errors
/// The listener cannot be served.
pub async fn run(
    listener: TcpListener,
    state: web::Data<AppState>,
    settings: HttpSettings,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let workers = settings.workers;
    let blocking = settings.tokenizers.div_ceil(workers).max(1);
    let shutdown_timeout = settings.shutdown_timeout.as_secs();
    HttpServer::new(move || create_app(state.clone(), &settings))
        .workers(workers)
        .worker_max_blocking_threads(blocking)
        // Otherwise a handler lives on when its client has gone (actix-web #3462), and its texts are computed.
        .h1_allow_half_closed(false)
        .shutdown_timeout(shutdown_timeout)
        .shutdown_signal(shutdown)
        .listen(listener)?
        .run()
        .await
}
