//! The sizes that a decoder may have.

use std::path::Path;

use super::Decoder;
use crate::error::{Error, Result};

// No decoder comes near these limits: a config beyond them is damaged or hostile.
pub(super) const MAX_WIDTH: usize = 1 << 20;
pub(super) const MAX_LAYERS: usize = 1 << 12;
pub(super) const MAX_VOCABULARY: usize = 1 << 24;
pub(super) const MAX_POSITIONS: usize = 1 << 24;

impl Decoder {
    /// Checks the sizes of a decoder that was not parsed from a `config.json`, as [`parse`](Self::parse) checks them. `prefix` is put
    /// before the names of fields.
    pub(crate) fn check(&self, path: &Path, prefix: &str) -> Result<()> {
        let sizes = Sizes { path };
        for (field, size, most) in [
            ("vocab_size", self.vocab_size, MAX_VOCABULARY),
            ("hidden_size", self.hidden_size, MAX_WIDTH),
            ("layers", self.layers, MAX_LAYERS),
            ("heads", self.heads, MAX_WIDTH),
            ("kv_heads", self.kv_heads, self.heads),
            ("head_dim", self.head_dim, MAX_WIDTH / self.heads.max(1)),
            ("intermediate_size", self.intermediate_size, MAX_WIDTH),
            ("max_positions", self.max_positions, MAX_POSITIONS),
        ] {
            sizes.check(&format!("{prefix}{field}"), Some(size), most)?;
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            let reason = format!(
                "is {}, which does not divide the {} heads",
                self.kv_heads, self.heads
            );
            return Err(Error::invalid(path, format!("{prefix}kv_heads"), reason));
        }
        positive(&format!("{prefix}rope_theta"), self.rope_theta, path)?;
        positive(&format!("{prefix}rms_norm_eps"), self.rms_norm_eps, path)?;
        Ok(())
    }
}

/// Checks the sizes that a file states.
pub(super) struct Sizes<'a> {
    pub(super) path: &'a Path,
}

impl Sizes<'_> {
    /// Returns a size if it is given, not zero, and at most `most`.
    pub(super) fn check(&self, field: &str, size: Option<usize>, most: usize) -> Result<usize> {
        match size {
            None => Err(Error::invalid(self.path, field, "is missing or too large")),
            Some(size) if (1..=most).contains(&size) => Ok(size),
            Some(size) => Err(Error::invalid(
                self.path,
                field,
                format!("is {size}; 1 to {most} is allowed"),
            )),
        }
    }
}

/// Returns a number if it is finite and above 0.
pub(super) fn positive(field: &str, value: f64, path: &Path) -> Result<f64> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(Error::invalid(
            path,
            field,
            format!("is {value}; it must be a number above 0"),
        ))
    }
}
