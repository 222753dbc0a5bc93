//! Parses the manifest, and names the field that an error is about.

use std::path::Path;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_path_to_error::Segment;

use crate::error::{Error, Result};

/// Parses a manifest's text.
///
/// # Errors
/// [`Error::Invalid`] names a field that is missing or has another type; [`Error::Json`] if the text is not JSON.
pub(super) fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T> {
    // serde_json calls some values of a wrong type errors of syntax, so the syntax is checked apart.
    serde_json::from_str::<IgnoredAny>(text).map_err(|source| Error::Json {
        path: path.to_path_buf(),
        source,
    })?;
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| wrong_field(path, &error))
}

fn wrong_field(path: &Path, error: &serde_path_to_error::Error<serde_json::Error>) -> Error {
    let containers = error.path().iter().filter_map(|segment| match segment {
        Segment::Map { key } => Some(key.clone()),
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Enum { variant } => Some(variant.clone()),
        Segment::Unknown => None,
    });
    let message = error.inner().to_string();
    let missing = message.strip_prefix("missing field `");
    let missing = missing.and_then(|rest| rest.split_once('`'));
    let name = missing.map(|(name, _)| name.to_owned());
    let reason = match missing {
        Some(_) => "is missing: convert the model again".to_owned(),
        None => format!("cannot be read ({message}): convert the model again"),
    };
    let field: Vec<String> = containers.chain(name).collect();
    Error::invalid(path, field.join("."), reason)
}
