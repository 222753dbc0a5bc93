//! `POST /tokenize`.

use actix_web::http::header;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};

use super::{json, prompt};
use crate::http::blocking::{blocking, canceled_when_dropped};
use crate::http::body::{self, Parsed};
use crate::http::errors::ApiError;
use crate::http::limits::caller;
use crate::http::state::AppState;
use crate::http::types::input::{Input, MAX_ITEMS};

/// The most bytes of the texts of a request, because the response may be a hundred times as large.
const MAX_BYTES: usize = 1 << 20;
/// The bytes of a token in the response, as a value and as JSON.
const TOKEN_BYTES: usize = 160;

/// The body of `POST /tokenize`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "a JSON object with `inputs`")]
pub(crate) struct TokenizeRequest {
    #[schema(schema_with = texts_schema)]
    inputs: Input,
    /// Whether the response includes the tokens that the tokenizer adds; on by default.
    add_special_tokens: Option<bool>,
    /// One of the checkpoint's prompts, put before each text.
    prompt_name: Option<String>,
}

fn texts_schema() -> Schema {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let texts = ArrayBuilder::new().items(text());
    let texts = texts.min_items(Some(1)).max_items(Some(MAX_ITEMS));
    let described = OneOfBuilder::new().description(Some("A text or texts."));
    described.item(text()).item(texts).into()
}

/// A token of a text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SimpleToken {
    id: u32,
    text: String,
    special: bool,
    /// The index of its first character; none for special tokens.
    start: Option<usize>,
    /// The index after its last character.
    stop: Option<usize>,
}

/// Returns the tokens of texts.
#[utoipa::path(post, path = "/tokenize", tag = "text-embeddings-inference", request_body = TokenizeRequest,
    responses((status = 200, body = Vec<Vec<SimpleToken>>)))]
pub(crate) async fn tokenize(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let Parsed {
        value: params,
        mut reservation,
    } = body::json::<TokenizeRequest>(&state, &request, payload).await?;
    let model = state.first_model()?;
    let Input::Texts(texts) = params.inputs else {
        let reason = "`inputs` has token ids already: send a text or texts";
        return Err(ApiError::invalid("inputs", reason));
    };
    let bytes: usize = texts.iter().map(String::len).sum();
    if bytes > MAX_BYTES {
        let reason = format!(
            "the texts have {bytes} bytes, and a request may have {MAX_BYTES}: send fewer or shorter texts"
        );
        return Err(ApiError::invalid("inputs", reason));
    }
    let caller = caller::caller(&request, state.request_timeout);
    let permit = model.admit(texts.len(), caller)?;
    let prompt = prompt(&state, model, params.prompt_name.as_deref())?;
    // A token has at least one byte.
    let max_tokens = bytes + prompt.apply("").len() * texts.len();
    reservation.add(max_tokens.saturating_mul(TOKEN_BYTES))?;
    let special = params.add_special_tokens.unwrap_or(true);
    let engine = model.engine.clone();
    let (_wanted, canceled) = canceled_when_dropped();
    let tokens = blocking(move || {
        let _permit = permit;
        let tokens = texts.iter().map(|text| {
            canceled.check()?;
            let tokens = engine.tokenizer().tokens(&prompt.apply(text), special)?;
            let simple = tokens.into_iter().map(|token| SimpleToken {
                id: token.id,
                text: token.text,
                special: token.place.is_none(),
                start: token.place.map(|p| p.0),
                stop: token.place.map(|p| p.1),
            });
            Ok(simple.collect::<Vec<_>>())
        });
        Ok((
            json(&tokens.collect::<Result<Vec<_>, ApiError>>()?)?,
            reservation,
        ))
    });
    let (json, reservation) = tokens.await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .body(reservation.body(json)))
}
