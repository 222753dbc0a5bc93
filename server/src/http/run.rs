//! Runs the server until it is told to shut down.

use std::future::Future;
use std::net::TcpListener;

use actix_server::ServerBuilder;
use actix_web::web;

use super::app::create_app;
use super::connections::accept;
use super::connections::tls::Tls;
use super::settings::HttpSettings;
use super::state::AppState;

/// Serves `listener` until `shutdown` resolves and the requests accepted by then have their responses.
///
/// After the signal `/readyz` answers 503, and the server still accepts requests for `shutdown_delay`. Then the accepted
/// requests have `shutdown_timeout` to finish. The server reloads the TLS certificate each time that `hangup` resolves,
/// and when its files change.
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
            actix_web::rt::spawn(ignore_hangups(hangup));
            None
        }
    };
    let app = settings.clone();
    let app = move || create_app(state.clone(), &app);
    let server = accept::serve(server, listener, &settings, tls, app)?;
    server.run().await
}

/// Logs each SIGHUP of a server without TLS, which has nothing to reload.
async fn ignore_hangups(hangup: impl AsyncFn()) {
    loop {
        hangup().await;
        tracing::info!("SIGHUP is ignored: it reloads TLS certificates, and this server has none");
    }
}
