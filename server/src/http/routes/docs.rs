//! The viewer of the API's document, at `/docs/`.

use actix_web::web::{self, ServiceConfig};
use utoipa_swagger_ui::{Config, SwaggerUi};

const VIEWER: &str = "/docs/";
/// Redirects to the viewer.
const REDIRECT: &str = "/docs";

/// Registers the viewer.
pub(super) fn configure(cfg: &mut ServiceConfig) {
    let viewer = SwaggerUi::new("/docs/{_:.*}").config(Config::from("/openapi.json"));
    cfg.service(web::redirect(REDIRECT, VIEWER)).service(viewer);
}

/// Whether a path is one of those that [`configure`] registers.
pub(super) fn serves(path: &str) -> bool {
    path == REDIRECT || is_viewer(path)
}

/// Whether a path is the viewer's page or one of its files.
pub(crate) fn is_viewer(path: &str) -> bool {
    path.starts_with(VIEWER)
}
