//! The name and revision of a model's source.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// The name and revision of a model's source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceId {
    /// The id on the hub, such as `Qwen/Qwen3-Embedding-4B`, or the folder's own name.
    pub name: String,
    /// The commit on the hub, where the folder is a snapshot in the hub's cache.
    pub revision: Option<String>,
}

impl SourceId {
    /// Derives id and commit from a path in the hub's cache (`models--owner--name/snapshots/commit`).
    pub(crate) fn of(dir: &Path) -> SourceId {
        // Resolved, because the name of `.` or of a symbolic link says nothing about the folder.
        let dir = fs_err::canonicalize(dir).unwrap_or_else(|_| dir.to_path_buf());
        let mut names = dir.iter().rev().map(|name| name.to_string_lossy());
        let (own, parent, repo) = (names.next(), names.next(), names.next());
        let own = own.map_or_else(|| "model".to_string(), |name| name.into_owned());
        match (
            parent.as_deref(),
            repo.as_deref()
                .and_then(|repo| repo.strip_prefix("models--")),
        ) {
            (Some("snapshots"), Some(id)) => SourceId {
                name: id.replacen("--", "/", 1),
                revision: Some(own),
            },
            _ => SourceId {
                name: own,
                revision: None,
            },
        }
    }
}
