//! The routes. To add one, write its handler and add an entry to [`ROUTES`]; everything else follows from the entry.
//!
//! `route` defines the fields of an entry, and the lookups of the middleware. `openapi` generates the API's document from
//! the entries. The other modules have the handlers. The document viewer at `/docs` is no entry, because a library serves it.

use tracing::Level;

use self::route::{Access, Route, RouteMethods, documented, undocumented};

mod docs;
mod embeddings;
mod health;
mod metrics;
mod models;
pub(crate) mod openapi;
mod route;
mod start_page;
mod tei;
#[cfg(test)]
mod tests;

pub(crate) use docs::is_viewer;
pub(crate) use route::{ErrorFormat, allows_any_host, configure, error_format, is_open, log_level};

/// All routes. Where two could match a path, the first does.
static ROUTES: &[Route] = &[
    Route {
        path: "/",
        aliases: &[],
        methods: RouteMethods::Get,
        access: Access::Open,
        errors: ErrorFormat::OpenAi,
        log: Level::INFO,
        handler: undocumented!(start_page::show),
    },
    // huggingface_hub's InferenceClient asks the bare address.
    Route {
        path: "/",
        aliases: &[],
        methods: RouteMethods::Post,
        access: Access::Keyed,
        errors: ErrorFormat::Tei,
        log: Level::INFO,
        handler: undocumented!(tei::embed::embed),
    },
    // Base URLs end with or without `/v1` and a slash, and clients add `/embeddings` or `/embeddings/` to any of them.
    Route {
        path: "/v1/embeddings",
        aliases: &["/v1/embeddings/", "/embeddings", "/embeddings/"],
        methods: RouteMethods::Post,
        access: Access::Keyed,
        errors: ErrorFormat::OpenAi,
        log: Level::INFO,
        handler: documented!(embeddings::create),
    },
    Route {
        path: "/embed",
        aliases: &["/embed/"],
        methods: RouteMethods::Post,
        access: Access::Keyed,
        errors: ErrorFormat::Tei,
        log: Level::INFO,
        handler: documented!(tei::embed::embed),
    },
    Route {
        path: "/tokenize",
        aliases: &["/tokenize/"],
        methods: RouteMethods::Post,
        access: Access::Keyed,
        errors: ErrorFormat::Tei,
        log: Level::INFO,
        handler: documented!(tei::tokenize::tokenize),
    },
    Route {
        path: "/v1/models",
        aliases: &["/v1/models/", "/models", "/models/"],
        methods: RouteMethods::Get,
        access: Access::Keyed,
        errors: ErrorFormat::OpenAi,
        log: Level::INFO,
        handler: documented!(models::models),
    },
    Route {
        path: "/v1/models/{id:.+}",
        aliases: &[],
        methods: RouteMethods::Get,
        access: Access::Keyed,
        errors: ErrorFormat::OpenAi,
        log: Level::INFO,
        handler: documented!(models::model),
    },
    Route {
        path: "/v1/domains",
        aliases: &[],
        methods: RouteMethods::Get,
        access: Access::Keyed,
        errors: ErrorFormat::OpenAi,
        log: Level::INFO,
        handler: documented!(models::domains),
    },
    Route {
        path: "/info",
        aliases: &["/info/"],
        methods: RouteMethods::Get,
        access: Access::Keyed,
        errors: ErrorFormat::Tei,
        log: Level::INFO,
        handler: documented!(tei::info::info),
    },
    Route {
        path: "/health",
        aliases: &[],
        methods: RouteMethods::Get,
        access: Access::Open,
        errors: ErrorFormat::OpenAi,
        log: Level::DEBUG,
        handler: documented!(health::health),
    },
    Route {
        path: "/livez",
        aliases: &[],
        methods: RouteMethods::Get,
        access: Access::AnyHost,
        errors: ErrorFormat::OpenAi,
        log: Level::DEBUG,
        handler: documented!(health::live),
    },
    Route {
        path: "/readyz",
        aliases: &[],
        methods: RouteMethods::Get,
        access: Access::AnyHost,
        errors: ErrorFormat::OpenAi,
        log: Level::DEBUG,
        handler: documented!(health::ready),
    },
    Route {
        path: "/metrics",
        aliases: &[],
        methods: RouteMethods::Get,
        access: Access::Open,
        errors: ErrorFormat::OpenAi,
        log: Level::DEBUG,
        handler: documented!(metrics::show),
    },
    Route {
        path: "/openapi.json",
        aliases: &[],
        methods: RouteMethods::Get,
        access: Access::Open,
        errors: ErrorFormat::OpenAi,
        log: Level::INFO,
        handler: undocumented!(openapi::show),
    },
];
