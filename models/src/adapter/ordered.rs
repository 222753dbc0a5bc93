//! Reads the entries of a JSON object in their order, which `serde_json`'s own map does not keep.

use std::fmt;
use std::path::Path;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::Result;
use crate::files::read_json;

#[derive(Deserialize, Default)]
struct File {
    #[serde(default)]
    rank_pattern: Option<Entries>,
    #[serde(default)]
    alpha_pattern: Option<Entries>,
}

struct Entries(Vec<(String, f64)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of numbers")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        from.deserialize_map(InOrder)
    }
}

pub(super) fn entries(path: &Path, field: &str) -> Result<Vec<(String, f64)>> {
    let file: File = read_json(path)?;
    let entries = match field {
        super::RANKS => file.rank_pattern,
        _ => file.alpha_pattern,
    };
    Ok(entries.map_or_else(Vec::new, |entries| entries.0))
}
