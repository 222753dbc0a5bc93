//! The API's document: `GET /openapi.json`, and its viewer at `/docs`.
//!
//! Generated from the handlers and the types that they read and write. `server/openapi.json` is a copy for people and
//! tools without a server at hand; a test keeps it true.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::{embeddings, health, models, tei};
use crate::http::middleware::{auth, error_format};
use crate::http::{errors, metrics};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "lexivec",
        description = "Text embeddings with Qwen3-Embedding, behind OpenAI's API and text-embeddings-inference's routes.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    paths(
        embeddings::create,
        models::models,
        models::model,
        models::domains,
        tei::embed,
        tei::tokenize,
        tei::info,
        health::health,
        health::live,
        health::ready,
        metrics::show,
    ),
    components(schemas(errors::ErrorBody, errors::TeiErrorBody)),
    modifiers(&Errors, &Keys, &Nulls)
)]
struct Document;

/// The document, as JSON.
#[must_use]
pub fn document() -> String {
    let mut json = Document::openapi().to_pretty_json().unwrap_or_default();
    json.push('\n');
    json
}

pub(crate) async fn show() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(document())
}

/// Every operation may answer with an error, in the shape that its clients read.
struct Errors;

/// Errors that requests with a body may meet, and errors of all.
const WITH_BODY: [(&str, &str); 10] = [
    (
        "400",
        "a field is missing, unknown or holds what it must not; or the text is too long",
    ),
    ("401", "no API key, or an unknown one"),
    (
        "403",
        "the Host header has a name that the server does not go by",
    ),
    ("404", "no such model"),
    ("408", "the body arrived too slowly"),
    ("413", "the body is too large"),
    (
        "415",
        "the body is not announced as JSON, or compressed in another way than gzip",
    ),
    ("429", "too many texts are waiting; see Retry-After"),
    ("500", "the model failed; the log has the details"),
    (
        "503",
        "the time limit passed, or the server is shutting down; see Retry-After",
    ),
];
const WITHOUT_BODY: [(&str, &str); 3] = [
    ("401", "no API key, or an unknown one"),
    (
        "403",
        "the Host header has a name that the server does not go by",
    ),
    ("404", "no such model"),
];

impl Modify for Errors {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut document.paths.paths {
            for operation in operations(item) {
                let errors: &[_] = if operation.request_body.is_some() {
                    &WITH_BODY
                } else if path.starts_with("/v1/") || path == "/info" {
                    &WITHOUT_BODY
                } else {
                    &[]
                };
                let shape = match error_format::is_tei(path) {
                    true => "TeiErrorBody",
                    false => "ErrorBody",
                };
                for (status, words) in errors {
                    let response = RefOr::T(response(words, shape));
                    operation
                        .responses
                        .responses
                        .insert((*status).to_owned(), response);
                }
            }
        }
    }
}

fn response(words: &str, shape: &str) -> Response {
    let body = Content::new(Some(Ref::from_schema_name(shape)));
    ResponseBuilder::new()
        .description(words)
        .content("application/json", body)
        .build()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post].into_iter().flatten()
}

/// What needs a key, where the server asks for one.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        let schemes = BTreeMap::from([("key".to_owned(), RefOr::T(SecurityScheme::Http(bearer)))]);
        components.security_schemes.extend(schemes);
        for (path, item) in &mut document.paths.paths {
            for operation in operations(item) {
                if !auth::is_open(path) {
                    let none = SecurityRequirement::default();
                    let key = SecurityRequirement::new::<_, [&str; 0], &str>("key", []);
                    operation.security = Some(vec![none, key]);
                }
            }
        }
    }
}

/// Unknown fields of a request may be null; see `nulls`.
struct Nulls;

const BODIES: [&str; 3] = ["EmbeddingsRequest", "EmbedRequest", "TokenizeRequest"];

impl Modify for Nulls {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        for name in BODIES {
            if let Some(RefOr::T(Schema::Object(body))) = components.schemas.get_mut(name) {
                let null = ObjectBuilder::new().schema_type(Type::Null);
                let null = AdditionalProperties::RefOr(RefOr::T(Schema::Object(null.build())));
                body.additional_properties = Some(Box::new(null));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `LEXIVEC_UPDATE=1 cargo nextest run openapi` writes the file anew.
    #[test]
    fn the_committed_document_is_the_generated_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        if std::env::var_os("LEXIVEC_UPDATE").is_some() {
            fs_err::write(path, document()).unwrap();
        }
        let committed = fs_err::read_to_string(path).unwrap();
        assert!(
            committed == document(),
            "server/openapi.json is not what the code says: LEXIVEC_UPDATE=1 cargo nextest run openapi"
        );
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
    fn every_operation_has_an_answer_and_its_errors() {
        let mut document = Document::openapi();
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
