//! Ignores unknown fields whose value is null.
//!
//! Clients for a newer API, or in a language without absent fields, send `"field": null` for features that they do not use.
//! Such a field is no error. An unknown field with a value is one, because a misspelt `dimension` must not go unnoticed.

use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer as _, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::parse::in_field;

/// A deserializer that hides unknown null fields from the outermost struct.
#[derive(Debug)]
pub(crate) struct IgnoreUnknownNulls<D>(pub(crate) D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for IgnoreUnknownNulls<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        // As a map, because serde would also read a struct from an array, by the order of its fields.
        self.0.deserialize_map(KnownFields {
            inner: visitor,
            known: fields,
        })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Passes on only known fields.
struct KnownFields<T> {
    inner: T,
    known: &'static [&'static str],
}

impl<'de, V: Visitor<'de>> Visitor<'de> for KnownFields<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(KnownFields {
            inner: map,
            known: self.known,
        })
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for KnownFields<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(name) = self.inner.next_key::<String>()? {
            if self.known.contains(&name.as_str()) {
                return seed.deserialize(name.into_deserializer()).map(Some);
            }
            if self.inner.next_value_seed(IsNull)? {
                continue;
            }
            let known = self.known.join(", ");
            let reason = format_args!("unknown field; known are {known}");
            return Err(in_field(&name, reason));
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(seed)
    }
}

/// Tells whether a value is null. Another value is not read, because it may be megabytes.
struct IsNull;

impl<'de> DeserializeSeed<'de> for IsNull {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for IsNull {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_none<E>(self) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_some<D: Deserializer<'de>>(self, _: D) -> Result<bool, D::Error> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        text: String,
        width: Option<u8>,
    }

    fn read(json: &str) -> Result<Body, String> {
        let mut reader = serde_json::Deserializer::from_str(json);
        Body::deserialize(IgnoreUnknownNulls(&mut reader)).map_err(|error| error.to_string())
    }

    #[test]
    fn unknown_nulls_are_ignored_and_other_unknown_fields_are_errors() {
        let expected = Body {
            text: "a".to_owned(),
            width: None,
        };
        for json in [
            r#"{"text":"a"}"#,
            r#"{"extra":null,"text":"a","width":null,"other":null}"#,
        ] {
            assert_eq!(read(json).as_ref(), Ok(&expected), "{json}");
        }
        // The last one ends within the value: an unknown field is an error as soon as its value begins.
        for value in ["1", "false", "\"null\"", "[null]", "{}", "[1,2,?"] {
            let message = read(&format!(r#"{{"text":"a","extra":{value}}}"#)).unwrap_err();
            assert!(
                message.starts_with("`extra`: unknown field; known are text, width"),
                "{message}"
            );
        }
        assert!(read(r#"{"text":"a","extra":nul}"#).is_err());
        assert!(read(r#"["a",1]"#).is_err());
        assert!(
            read(r#"{"extra":null}"#)
                .unwrap_err()
                .contains("missing field `text`")
        );
    }
}
