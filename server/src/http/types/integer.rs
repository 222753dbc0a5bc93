//! Integers in request bodies.
//!
//! JSON does not distinguish 8.0 from 8, and neither does JSON Schema's `integer`. Clients in languages with one type of
//! number may write either.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// An integer from 0 to 2^32 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Integer(pub(crate) u32);

impl Integer {
    pub(crate) fn from_u64<E: Error>(number: u64) -> Result<Self, E> {
        let fits = u32::try_from(number).map(Self);
        fits.map_err(|_| E::custom(format_args!("{number} is too large")))
    }

    pub(crate) fn from_f64<E: Error>(number: f64) -> Result<Self, E> {
        if number.fract() != 0.0 || number < 0.0 {
            return Err(E::custom(format_args!("{number} is not a whole number")));
        }
        // The cast saturates: a number too large for u64 is too large for u32, too.
        Self::from_u64(number as u64)
    }
}

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Integer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Integer, E> {
                Integer::from_u64(number)
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Integer, E> {
                Integer::from_f64(number)
            }
        }

        deserializer.deserialize_any(Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_with_a_zero_fraction_is_an_integer() {
        for (json, number) in [("8", 8), ("8.0", 8), ("-0.0", 0), ("1e3", 1000)] {
            let integer: Integer = serde_json::from_str(json).unwrap();
            assert_eq!(integer, Integer(number), "{json}");
        }
        for json in ["8.5", "-1", "-1.0", "4294967296", "1e300", "\"8\"", "true"] {
            assert!(serde_json::from_str::<Integer>(json).is_err(), "{json}");
        }
    }
}
