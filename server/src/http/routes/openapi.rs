//! The API's document, `GET /openapi.json`.
//!
//! It is generated from the [`ROUTES`], their handlers, and the types that handlers read and write. `server/openapi.json` is
//! a copy for people and tools without a server at hand; a test fails when it differs.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{AdditionalProperties, Components, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};

use super::ROUTES;
use super::route::{Access, ErrorFormat, Route};
use crate::http::errors::{ErrorBody, TeiErrorBody};

/// The document without routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "lexivec",
        description = "Text embeddings with Qwen3-Embedding, behind OpenAI's API and text-embeddings-inference's routes.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(ErrorBody, TeiErrorBody))
)]
struct Api;

/// Returns the document as JSON.
#[must_use]
pub fn document() -> String {
    let mut json = generate().to_pretty_json().unwrap_or_default();
    json.push('\n');
    json
}

pub(super) async fn show() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(document())
}

fn generate() -> utoipa::openapi::OpenApi {
    let mut document = Api::openapi();
    for route in ROUTES {
        let Some(part) = route.handler.document else {
            continue;
        };
        let mut part = part();
        for operation in part.paths.paths.values_mut().flat_map(operations) {
            add_errors(route, operation);
            add_security(route, operation);
        }
        document.merge(part);
    }
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let schemes = BTreeMap::from([("key".to_owned(), RefOr::T(SecurityScheme::Http(bearer)))]);
    components.security_schemes.extend(schemes);
    allow_unknown_nulls(components);
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post].into_iter().flatten()
}

/// Errors of operations with a request body.
const WITH_BODY: [(&str, &str); 10] = [
    (
        "400",
        "a field is missing, unknown or invalid; or a text is too long",
    ),
    ("401", "no API key, or an unknown one"),
    ("403", "the server does not serve the host of the request"),
    ("404", "no such model"),
    ("408", "the body arrived too slowly"),
    ("413", "the request is too large"),
    (
        "415",
        "the body is not announced as JSON, or its content encoding is neither identity nor gzip",
    ),
    (
        "429",
        "the server is overloaded, or the API key has used up its tokens per minute; see Retry-After",
    ),
    ("500", "the model failed; the log has the details"),
    (
        "503",
        "the time limit passed, or the server is shutting down; see Retry-After",
    ),
];
/// Errors of keyed operations without a request body.
const WITHOUT_BODY: [(&str, &str); 3] = [
    ("401", "no API key, or an unknown one"),
    ("403", "the server does not serve the host of the request"),
    ("404", "no such model"),
];

/// Adds error responses, in the format of the route.
fn add_errors(route: &Route, operation: &mut Operation) {
    let errors: &[_] = if operation.request_body.is_some() {
        &WITH_BODY
    } else if route.access == Access::Keyed {
        &WITHOUT_BODY
    } else {
        &[]
    };
    let body = match route.errors {
        ErrorFormat::OpenAi => "ErrorBody",
        ErrorFormat::Tei => "TeiErrorBody",
    };
    let responses = errors.iter().map(|(status, description)| {
        let response = RefOr::T(error_response(description, body));
        ((*status).to_owned(), response)
    });
    operation.responses.responses.extend(responses);
}

fn error_response(description: &str, body: &str) -> Response {
    let body = Content::new(Some(Ref::from_schema_name(body)));
    ResponseBuilder::new()
        .description(description)
        .content("application/json", body)
        .build()
}

/// Declares the API key, which keyed routes require where the server has keys.
fn add_security(route: &Route, operation: &mut Operation) {
    if route.access == Access::Keyed {
        let none = SecurityRequirement::default();
        let key = SecurityRequirement::new::<_, [&str; 0], &str>("key", []);
        operation.security = Some(vec![none, key]);
    }
}

/// The schemas of request bodies.
const BODIES: [&str; 3] = ["EmbeddingsRequest", "EmbedRequest", "TokenizeRequest"];

/// Allows null in unknown fields of request bodies, as `body::unknown_nulls` does.
fn allow_unknown_nulls(components: &mut Components) {
    for name in BODIES {
        if let Some(RefOr::T(Schema::Object(body))) = components.schemas.get_mut(name) {
            let null = ObjectBuilder::new().schema_type(Type::Null);
            let null = AdditionalProperties::RefOr(RefOr::T(Schema::Object(null.build())));
            body.additional_properties = Some(Box::new(null));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `LEXIVEC_UPDATE=1 cargo nextest run openapi` writes the file.
    #[test]
    fn the_committed_document_is_the_generated_one() {
        crate::generated::assert_current("openapi.json", &document(), "openapi");
    }

    #[test]
    fn unknown_fields_of_every_body_may_be_null_and_nothing_else() {
        let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
        for name in BODIES {
            let body = &document["components"]["schemas"][name];
            assert_eq!(body["additionalProperties"]["type"], "null", "{name}");
        }
    }

    #[test]
    fn every_operation_has_a_response_and_its_errors() {
        let mut document = generate();
        for (path, item) in &mut document.paths.paths {
            let mut found = 0;
            for operation in operations(item) {
                found += 1;
                let responses = &operation.responses.responses;
                assert!(responses.contains_key("200"), "{path}");
                assert_eq!(
                    operation.request_body.is_some(),
                    responses.contains_key("413"),
                    "{path}"
                );
            }
            assert_eq!(found, 1, "{path}");
        }
    }
}
