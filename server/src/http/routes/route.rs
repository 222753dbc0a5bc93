//! The definition of a route, and everything that follows from it: the service, access, the format of errors, the log level.

use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Resource};
use tracing::Level;
use utoipa::openapi::OpenApi;

use super::{ROUTES, docs, tei};
use crate::http::errors::ApiError;

/// A route of the API.
pub(super) struct Route {
    /// The path, as a pattern of actix-web. Logs, metrics and traces name the route by it.
    pub(super) path: &'static str,
    /// Further paths at which clients look for the same operation.
    pub(super) aliases: &'static [&'static str],
    pub(super) methods: RouteMethods,
    pub(super) access: Access,
    /// The format of error bodies, those of other methods at the same path included.
    pub(super) errors: ErrorFormat,
    /// The level of the log lines. Errors of the server have level error instead.
    pub(super) log: Level,
    pub(super) handler: Handler,
}

/// The methods of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RouteMethods {
    /// GET, and HEAD, which load balancers send.
    Get,
    Post,
}

/// Which requests a route serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Requests with an API key, where the server has keys.
    Keyed,
    /// All requests, because load balancers, monitoring and browsers send no key.
    Open,
    /// As [`Open`](Self::Open), and requests to any host: load balancers send probes with any `Host` header. Responses have
    /// no information that a web page must not see.
    AnyHost,
}

/// The format of error bodies, which depends on the clients of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorFormat {
    OpenAi,
    /// text-embeddings-inference.
    Tei,
}

/// A handler, and its operation in the API's document.
pub(super) struct Handler {
    pub(super) route: fn() -> actix_web::Route,
    /// A document of this operation and its schemas; `None` for routes that programs do not call.
    pub(super) document: Option<fn() -> OpenApi>,
}

/// A handler with `#[utoipa::path]`.
macro_rules! documented {
    ($($handler:ident)::+) => {{
        #[derive(utoipa::OpenApi)]
        #[openapi(paths($($handler)::+))]
        struct Document;

        $crate::http::routes::route::Handler {
            route: || actix_web::web::to($($handler)::+),
            document: Some(<Document as utoipa::OpenApi>::openapi),
        }
    }};
}

/// A handler that the API's document does not describe.
macro_rules! undocumented {
    ($($handler:ident)::+) => {
        $crate::http::routes::route::Handler {
            route: || actix_web::web::to($($handler)::+),
            document: None,
        }
    };
}

pub(super) use {documented, undocumented};

impl RouteMethods {
    pub(super) fn all(self) -> &'static [Method] {
        match self {
            Self::Get => &[Method::GET, Method::HEAD],
            Self::Post => &[Method::POST],
        }
    }
}

impl Route {
    /// Whether `path` is the route's, by its pattern or an alias.
    fn matches(&self, path: &str) -> bool {
        match self.path.split_once('{') {
            // A parameter stands at the end and takes the rest.
            Some((prefix, _)) => path.len() > prefix.len() && path.starts_with(prefix),
            None => self.path == path || self.aliases.contains(&path),
        }
    }
}

/// The routes at a path; several where methods differ.
fn routes_at(path: &str) -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(move |route| route.matches(path))
}

/// Registers all routes, and the errors for other paths and methods.
pub(crate) fn configure(cfg: &mut ServiceConfig) {
    for (place, route) in ROUTES.iter().enumerate() {
        let is_first = ROUTES[..place].iter().all(|other| other.path != route.path);
        if is_first {
            cfg.service(resource(route.path));
        }
    }
    docs::configure(cfg);
    cfg.default_service(web::to(reject_path));
}

/// The service of all routes with the pattern `path`, which together accept several methods.
fn resource(path: &'static str) -> Resource {
    let routes: Vec<&Route> = ROUTES.iter().filter(|route| route.path == path).collect();
    let aliases = routes
        .iter()
        .flat_map(|route| route.aliases.iter().copied());
    let mut resource = web::resource([path].into_iter().chain(aliases).collect::<Vec<_>>());
    let mut allow = Vec::new();
    for route in routes {
        for method in route.methods.all() {
            allow.push(method.as_str());
            resource = resource.route((route.handler.route)().method(method.clone()));
        }
    }
    let allow = allow.join(", ");
    resource.default_service(web::to(move || reject_method(allow.clone())))
}

async fn reject_method(allow: String) -> Result<HttpResponse, ApiError> {
    Err(ApiError::MethodNotAllowed { allow })
}

async fn reject_path(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::NotFound {
        path: request.path().to_owned(),
    })
}

/// Browsers ask every site for it, without a key.
const FAVICON: &str = "/favicon.ico";

/// Whether a request needs no API key. Paths without a route need one, so that a client without a key cannot discover routes.
pub(crate) fn is_open(method: &Method, path: &str) -> bool {
    let is_open = |route: &Route| route.access != Access::Keyed;
    let open = routes_at(path).any(is_open) || docs::serves(path) || path == FAVICON;
    open && method.is_safe()
}

/// Whether the `Host` header of a request does not matter.
pub(crate) fn allows_any_host(path: &str) -> bool {
    routes_at(path).any(|route| route.access == Access::AnyHost)
}

/// The format of errors about a request, whether or not there is a route for it.
pub(crate) fn error_format(method: &Method, path: &str) -> ErrorFormat {
    // Clients add slashes even where that leads to a 404.
    let path = match path.strip_suffix('/') {
        None | Some("") => path,
        Some(path) => path,
    };
    let mut routes = routes_at(path);
    let first = routes.next();
    let route = first
        .filter(|route| route.methods.all().contains(method))
        .or_else(|| routes.find(|route| route.methods.all().contains(method)))
        .or(first);
    match route {
        Some(route) => route.errors,
        None if tei::OTHER_TASKS.contains(&path) => ErrorFormat::Tei,
        None => ErrorFormat::OpenAi,
    }
}

/// The level of the log lines of the route with the pattern `path`.
pub(crate) fn log_level(path: &str) -> Level {
    let route = ROUTES.iter().find(|route| route.path == path);
    route.map_or(Level::INFO, |route| route.log)
}
