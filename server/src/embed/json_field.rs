//! Fields of a JSON object. `serde_json::Value` would keep the last of equal names, and silently drop the others.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// Why the fields of a line cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JsonFieldError {
    /// The line is not JSON.
    #[error("the line is not JSON: {0}")]
    NotJson(serde_json::Error),
    /// The line is JSON, but not an object.
    #[error("the line is not a JSON object")]
    NoObject,
    /// The object has a field more than once.
    #[error("the field `{0}` occurs twice: remove one of them")]
    Twice(String),
}

/// Reads the values of these fields of an object; `None` for those that it does not have.
///
/// # Errors
/// The text is not a JSON object, or one of the fields occurs twice.
pub fn json_fields<const N: usize>(
    json: &str,
    names: [&str; N],
) -> Result<[Option<Value>; N], JsonFieldError> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let read = Fields(names).deserialize(&mut reader);
    let found = read.and_then(|found| reader.end().map(|()| found));
    let found = found.map_err(|error| match error.is_data() {
        true => JsonFieldError::NoObject,
        false => JsonFieldError::NotJson(error),
    })?;
    found.map_err(JsonFieldError::Twice)
}

/// Reads all fields of an object, in their order.
///
/// # Errors
/// The text is not a JSON object, or one of its fields occurs twice.
pub(crate) fn json_object(json: &str) -> Result<Vec<(String, Value)>, JsonFieldError> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let read = reader.deserialize_map(Object);
    let fields = read.and_then(|fields| reader.end().map(|()| fields));
    let fields = fields.map_err(|error| match error.is_data() {
        true => JsonFieldError::NoObject,
        false => JsonFieldError::NotJson(error),
    })?;
    let mut names = HashSet::new();
    match fields.iter().find(|(name, _)| !names.insert(name)) {
        Some((name, _)) => Err(JsonFieldError::Twice(name.clone())),
        None => Ok(fields),
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(fields)
    }
}

/// What a value is, for messages.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

struct Fields<'a, const N: usize>([&'a str; N]);

/// The values, or the name of the field that occurs twice.
type Found<const N: usize> = Result<[Option<Value>; N], String>;

impl<'de, const N: usize> DeserializeSeed<'de> for Fields<'_, N> {
    type Value = Found<N>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Found<N>, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Fields<'_, N> {
    type Value = Found<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<N>, A::Error> {
        let mut found = Ok([const { None }; N]);
        while let Some(name) = map.next_key::<String>()? {
            if !self.0.contains(&name.as_str()) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: Value = map.next_value()?;
            let Ok(values) = &mut found else {
                continue;
            };
            // The caller may ask for a field more than once.
            let places = self
                .0
                .iter()
                .zip(values)
                .filter(|(asked, _)| **asked == name);
            let earlier = places.filter_map(|(_, place)| place.replace(value.clone()));
            if earlier.count() > 0 {
                found = Err(name);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_keeps_the_order_of_its_fields() {
        let fields = json_object(r#"{"b":1,"a":"x","c":null}"#).unwrap();
        let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "a", "c"]);
        assert_eq!(fields[1].1, json!("x"));
        for (json, message) in [
            (r#"{"a":1,"b":2,"\u0061":3}"#, "the field `a` occurs twice"),
            ("[1]", "not a JSON object"),
            ("{} x", "not JSON"),
        ] {
            let error = json_object(json).unwrap_err().to_string();
            assert!(error.contains(message), "{json}: {error}");
        }
    }

    #[test]
    fn fields_are_read_and_equal_names_are_an_error() {
        let json = r#"{"id":{"text":1},"text":"a","score":null}"#;
        let found = json_fields(json, ["text", "score", "other", "text"]).unwrap();
        let text = || Some(json!("a"));
        assert_eq!(found, [text(), Some(Value::Null), None, text()]);
        for (json, message) in [
            (
                r#"{"text":"a","id":1,"te\u0078t":"a"}"#,
                "the field `text` occurs twice",
            ),
            ("[1]", "not a JSON object"),
            ("5", "not a JSON object"),
            ("{", "not JSON"),
            ("{} x", "not JSON"),
            (r#"{"text":"a","text":"a""#, "not JSON"),
        ] {
            let error = json_fields(json, ["text"]).unwrap_err().to_string();
            assert!(error.contains(message), "{json}: {error}");
        }
        // Nobody asks for the other fields.
        assert!(json_fields(r#"{"id":1,"id":2,"text":"a"}"#, ["text"]).is_ok());
    }
}
