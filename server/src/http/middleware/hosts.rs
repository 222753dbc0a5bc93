//! Checks the host that a request names, which protects a local server from DNS rebinding.
//!
//! A web page can make its own host name resolve to 127.0.0.1. Browsers then treat the server as a part of that page's site,
//! and CORS does not apply. The `Host` header still has the page's name, so a server that knows its names can reject such
//! requests. IP addresses need no check, because a browser that sends one has resolved no name.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HOST;
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError as _};

use crate::http::errors::ApiError;
use crate::http::routes;
use crate::http::settings::AllowedHosts;

/// The middleware that rejects requests to other hosts with a 403.
pub(crate) async fn check_host<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let checked = !routes::allows_any_host(request.path());
    let hosts = request.app_data::<AllowedHosts>().filter(|_| checked);
    match hosts.and_then(|hosts| rejected(hosts, &request)) {
        None => Ok(next.call(request).await?.map_into_left_body()),
        Some(host) => {
            let error = ApiError::HostNotAllowed { host };
            let response = error.error_response().map_into_right_body();
            Ok(request.into_response(response))
        }
    }
}

/// Finds the host that is not allowed, if the request names one.
fn rejected(allowed: &AllowedHosts, request: &ServiceRequest) -> Option<String> {
    if allowed.allows_all() {
        return None;
    }
    let headers = request.headers().get_all(HOST);
    let hosts = headers.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    // `GET http://name/path` has a host in the request line, too.
    let target = request.uri().authority().map(ToString::to_string);
    let mut hosts: Vec<String> = hosts.chain(target).collect();
    if hosts.is_empty() {
        hosts.push(String::new());
    }
    hosts.into_iter().find(|host| !allowed.allows(host))
}
