//! The start page: `GET /`.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header;

/// The page may load nothing else, and connect to this server only.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page, with its style and script in one file, because the policy allows no other. `tests/browser/front.py` composes it
/// in the same way.
static PAGE: LazyLock<String> = LazyLock::new(|| {
    include_str!("start_page/index.html")
        .replacen("/*STYLE*/", include_str!("start_page/style.css"), 1)
        .replacen("/*SCRIPT*/", include_str!("start_page/page.js"), 1)
});

pub(crate) async fn show() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .body(PAGE.as_str())
}
