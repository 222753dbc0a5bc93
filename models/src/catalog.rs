//! The models that lexivec knows by name, from `data/catalog.toml`.
//!
//! The catalog is data: adding a model needs no code, and no code depends on a model's name. A conversion reads everything
//! that it needs from the checkpoint itself.

use std::sync::LazyLock;

use serde::Deserialize;

/// A known model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogEntry {
    /// The id on the hub.
    pub id: String,
    /// Other names that users may type.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The branch or commit to download.
    pub revision: String,
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

/// Returns all known models, the smallest first.
///
/// ```
/// let ids: Vec<&str> = lexivec_models::catalog().iter().map(|model| model.id.as_str()).collect();
/// assert_eq!(ids[0], "Qwen/Qwen3-Embedding-0.6B");
/// ```
pub fn catalog() -> &'static [CatalogEntry] {
    &CATALOG
}

/// Finds a known model by its id or an alias, in upper or lower case.
///
/// ```
/// let model = lexivec_models::find("qwen3-embedding-4b").expect("an alias of the catalog");
/// assert_eq!(model.id, "Qwen/Qwen3-Embedding-4B");
/// assert_eq!(lexivec_models::find("bert-base"), None);
/// ```
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
        }
    }

    #[test]
    fn models_are_found_by_id_and_alias_in_any_case() {
        let four = find("qwen/qwen3-embedding-4b").unwrap();
        assert_eq!(four.id, "Qwen/Qwen3-Embedding-4B");
        assert_eq!(find("Qwen3-Embedding-4B"), Some(four));
        assert_eq!(find("Qwen3-Embedding"), None);
    }
}
