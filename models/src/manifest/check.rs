//! Checks that a manifest's fields can describe a model. Values beyond these bounds would fail later, in a less obvious place.

use std::path::Path;

use super::{Dimensions, Manifest, Quantization, Verification};
use crate::decoder::Decoder;
use crate::digest::FileRecord;
use crate::error::{Error, Result};
use crate::files::is_plain_relative;
use crate::precision::Blocks;

impl Manifest {
    pub(super) fn check_fields(&self, path: &Path) -> Result<()> {
        let invalid = |field: &str, reason: String| {
            Err(Error::invalid(
                path,
                field,
                format!("{reason}: convert the model again"),
            ))
        };
        self.decoder.check(path, "decoder.")?;
        for (field, files) in [("files", &self.files), ("source.files", &self.source.files)] {
            for (name, record) in files {
                if !is_plain_relative(name) {
                    return invalid(
                        field,
                        format!("names `{name}`, which does not stay inside the folder"),
                    );
                }
                if !is_digest(record) {
                    let reason = format!(
                        "is `{}`; it must be `blake3:` or `sha256:` and 64 hexadecimal digits",
                        record.digest
                    );
                    return invalid(&format!("{field}.{name}.digest"), reason);
                }
            }
        }
        let Decoder {
            hidden_size,
            max_positions,
            ..
        } = self.decoder;
        let Dimensions { min, max } = self.dimensions;
        if min == 0 || min > max || max > hidden_size {
            let reason = format!("is {min} to {max}; the hidden size is {hidden_size}");
            return invalid("dimensions", reason);
        }
        if !(1..=max_positions).contains(&self.max_length) {
            let reason = format!("is {}; 1 to {max_positions} is allowed", self.max_length);
            return invalid("max_length", reason);
        }
        if let Some(known) = &self.known_answer
            && !known.fits(&self.decoder)
        {
            let reason =
                "cannot come from this model: its tokens or its vector do not fit the architecture";
            return invalid("known_answer", reason.to_owned());
        }
        if let Some(name) = &self.default_prompt
            && !self.prompts.contains_key(name)
        {
            let reason = format!("is `{name}`, which is not among the prompts");
            return invalid("default_prompt", reason);
        }
        match (self.precision.weight_bits(), self.blocks) {
            (Some(_), Some(Blocks { size, .. })) if !Blocks::SIZES.contains(&size) => {
                let reason = format!("is {size}; allowed are {:?}", Blocks::SIZES);
                return invalid("blocks.size", reason);
            }
            (Some(_), None) => {
                return invalid(
                    "blocks",
                    format!("is missing, and {} has blocks", self.precision),
                );
            }
            (None, Some(_)) => {
                return invalid(
                    "blocks",
                    format!("is given, and {} has none", self.precision),
                );
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        let mut cosines = self.verification.cosines();
        cosines.extend(self.quantization.iter().flat_map(Quantization::cosines));
        match cosines.iter().find(|(_, value)| !is_cosine(*value)) {
            Some((field, value)) => invalid(field, format!("is {value}, which is no cosine")),
            None => Ok(()),
        }
    }
}

impl Verification {
    /// The fields that hold cosines.
    fn cosines(&self) -> Vec<(&'static str, f64)> {
        match self {
            Self::Passed {
                min_cosine,
                mean_cosine,
                ..
            } => vec![
                ("verification.min_cosine", *min_cosine),
                ("verification.mean_cosine", *mean_cosine),
            ],
            Self::Skipped { .. } => Vec::new(),
        }
    }
}

impl Quantization {
    /// The fields that hold cosines.
    fn cosines(&self) -> [(&'static str, f64); 4] {
        [
            ("quantization.min_cosine_asked", self.min_cosine_asked),
            ("quantization.mean_cosine_asked", self.mean_cosine_asked),
            ("quantization.min_cosine", self.min_cosine),
            ("quantization.mean_cosine", self.mean_cosine),
        ]
    }
}

/// Rounding may carry the cosine of equal vectors slightly beyond 1.
fn is_cosine(value: f64) -> bool {
    value.abs() <= 1.000_1
}

fn is_digest(record: &FileRecord) -> bool {
    let digits = record.digest.strip_prefix("blake3:");
    let digits = digits.or_else(|| record.digest.strip_prefix("sha256:"));
    digits.is_some_and(|d| d.len() == 64 && d.bytes().all(|b| b.is_ascii_hexdigit()))
}
