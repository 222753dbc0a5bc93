//! The models that lexivec knows by name, from `data/catalog.toml`.
//!
//! The catalog is data: adding a model needs no code, and no code asks for a model's name. What a conversion
//! depends on is always read from the checkpoint itself.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::manifest::Dimensions;

/// A known model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogEntry {
    /// The id on the hub.
    pub id: String,
    /// Other names it goes by.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The branch or commit to download.
    pub revision: String,
    /// How many parameters it has.
    pub parameters: u64,
    /// The full width of an embedding.
    pub hidden_size: usize,
    /// The widths to which an embedding may be cut.
    pub dimensions: Dimensions,
    /// The most tokens of a text, by the model card.
    pub max_length: usize,
    /// Texts put before an input, by name.
    pub prompts: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalog {
    model: Vec<CatalogEntry>,
}

static CATALOG: LazyLock<Vec<CatalogEntry>> = LazyLock::new(|| {
    let catalog: Catalog = toml::from_str(include_str!("../data/catalog.toml"))
        .expect("the built-in catalog parses, as a test checks");
    catalog.model
});

/// All known models, the smallest first.
pub fn catalog() -> &'static [CatalogEntry] {
    &CATALOG
}

/// The known model of this id or alias, in upper or lower case.
pub fn find(id: &str) -> Option<&'static CatalogEntry> {
    catalog().iter().find(|entry| {
        entry.id.eq_ignore_ascii_case(id)
            || entry
                .aliases
                .iter()
                .any(|alias| alias.eq_ignore_ascii_case(id))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_parses_and_is_consistent() {
        let ids: Vec<&str> = catalog().iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "Qwen/Qwen3-Embedding-0.6B",
                "Qwen/Qwen3-Embedding-4B",
                "Qwen/Qwen3-Embedding-8B"
            ]
        );
        for entry in catalog() {
            assert!(crate::is_hub_id(&entry.id));
            assert_eq!(
                entry.dimensions,
                Dimensions {
                    min: 32,
                    max: entry.hidden_size
                }
            );
            assert!(entry.prompts.contains_key("query") && entry.prompts.contains_key("document"));
        }
        assert!(catalog().is_sorted_by_key(|entry| entry.parameters));
    }

    #[test]
    fn models_are_found_by_id_and_alias_in_any_case() {
        let four = find("qwen/qwen3-embedding-4b").unwrap();
        assert_eq!(four.hidden_size, 2560);
        assert_eq!(find("Qwen3-Embedding-4B"), Some(four));
        assert_eq!(find("Qwen3-Embedding"), None);
    }
}
