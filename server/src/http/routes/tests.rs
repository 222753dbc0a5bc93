//! Each entry of [`ROUTES`] against the application: what it declares is what clients get.

use actix_http::Request;
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::Data;
use serde_json::Value;

use super::ROUTES;
use super::route::{Access, ErrorFormat, Route, RouteMethods};
use crate::http::tests::state;
use crate::http::{AllowedHosts, ApiKeys, AppState, HttpSettings, create_app};

/// What a client, the log and the metrics get of a request.
struct Outcome {
    status: u16,
    route: Option<String>,
    allow: Option<String>,
    body: Value,
}

/// The application, as the program serves it on a local address.
macro_rules! application {
    ($state:expr) => {{
        let settings = HttpSettings {
            allowed_hosts: AllowedHosts::only([]).unwrap(),
            ..HttpSettings::default()
        };
        init_service(create_app(Data::new($state), &settings)).await
    }};
}

async fn send<B: MessageBody>(
    app: &impl Service<Request, Response = ServiceResponse<B>, Error = Error>,
    method: &Method,
    path: &str,
    host: &str,
) -> Outcome {
    let request = TestRequest::default().method(method.clone()).uri(path);
    let request = request.insert_header(("host", host)).to_request();
    let response = call_service(app, request).await;
    let header = response.headers().get("allow");
    Outcome {
        status: response.status().as_u16(),
        route: response.request().match_pattern(),
        allow: header.map(|allow| allow.to_str().unwrap().to_owned()),
        body: serde_json::from_slice(&read_body(response).await).unwrap_or(Value::Null),
    }
}

fn keyed() -> AppState {
    let mut state = state(8);
    state.keys = ApiKeys::new(["sk-test"]).unwrap();
    state
}

/// A path that the route matches.
fn path(route: &Route) -> String {
    route.path.replace("{id:.+}", "fake")
}

fn has_format(body: &Value, format: ErrorFormat) -> bool {
    match format {
        ErrorFormat::OpenAi => body["error"]["code"].is_string(),
        ErrorFormat::Tei => body["error"].is_string() && body["error_type"].is_string(),
    }
}

#[actix_web::test]
async fn every_path_and_alias_leads_to_the_route_and_is_logged_by_its_pattern() {
    let app = application!(state(8));
    for route in ROUTES {
        let aliases = route.aliases.iter().map(|alias| (*alias).to_owned());
        for path in [path(route)].into_iter().chain(aliases) {
            for method in route.methods.all() {
                let outcome = send(&app, method, &path, "localhost").await;
                // A POST without a body gets as far as the handler.
                let expected = match route.methods {
                    RouteMethods::Get => StatusCode::OK,
                    RouteMethods::Post => StatusCode::UNSUPPORTED_MEDIA_TYPE,
                };
                assert_eq!(outcome.status, expected.as_u16(), "{method} {path}");
                assert_eq!(outcome.route.as_deref(), Some(route.path), "{path}");
            }
        }
    }
}

#[actix_web::test]
async fn errors_have_the_declared_format() {
    let app = application!(state(8));
    for route in ROUTES {
        let path = path(route);
        if route.methods == RouteMethods::Post {
            let outcome = send(&app, &Method::POST, &path, "localhost").await;
            assert!(has_format(&outcome.body, route.errors), "{path}");
        }
        let outcome = send(&app, &Method::PUT, &path, "localhost").await;
        assert_eq!(outcome.status, 405, "{path}");
        let allow = outcome.allow.unwrap();
        let methods = route.methods.all();
        assert!(
            methods.iter().all(|m| allow.contains(m.as_str())),
            "{path}: {allow}"
        );
        // At `/` the page comes first.
        if path != "/" {
            assert!(has_format(&outcome.body, route.errors), "{path}");
        }
    }
}

#[actix_web::test]
async fn only_keyed_routes_ask_for_a_key() {
    let app = application!(keyed());
    for route in ROUTES {
        let path = path(route);
        let method = &route.methods.all()[0];
        let outcome = send(&app, method, &path, "localhost").await;
        let rejected = outcome.status == 401;
        assert_eq!(rejected, route.access == Access::Keyed, "{method} {path}");
    }
}

#[actix_web::test]
async fn only_probes_are_served_to_any_host() {
    let app = application!(state(8));
    for route in ROUTES {
        let path = path(route);
        let method = &route.methods.all()[0];
        let outcome = send(&app, method, &path, "evil.example").await;
        let served = outcome.status != 403;
        assert_eq!(served, route.access == Access::AnyHost, "{method} {path}");
    }
}

#[test]
fn every_route_is_documented_or_not_for_programs() {
    let mut undocumented = Vec::new();
    for route in ROUTES {
        let Some(document) = route.handler.document else {
            undocumented.push(route.path);
            continue;
        };
        let paths = document().paths.paths;
        let documented: Vec<&String> = paths.keys().collect();
        assert_eq!(documented, [&route.path.replace(":.+", "")]);
        let item = &paths[documented[0]];
        let (get, post) = (item.get.is_some(), item.post.is_some());
        let expected = match route.methods {
            RouteMethods::Get => (true, false),
            RouteMethods::Post => (false, true),
        };
        assert_eq!((get, post), expected, "{}", route.path);
    }
    // The page, the document itself, and the second address of `/embed`.
    assert_eq!(undocumented, ["/", "/", "/openapi.json"]);
}

#[test]
fn no_two_routes_share_a_path_and_a_method() {
    let mut seen = std::collections::BTreeSet::new();
    for route in ROUTES {
        for path in [&route.path].into_iter().chain(route.aliases) {
            for method in route.methods.all() {
                assert!(seen.insert((*path, method.as_str())), "{method} {path}");
            }
        }
    }
}
