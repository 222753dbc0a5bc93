//! The settings of rotary embeddings. They have had three places in `config.json`.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Config, positive};
use crate::error::{Error, Result};

/// The rotary settings: `rope_scaling` of older checkpoints, `rope_parameters` since transformers 5.
pub(super) type Rope = Map<String, Value>;

impl Config {
    /// Rejects rotary embeddings that rotate only a part of each head.
    pub(super) fn reject_partial_rotation(&self, path: &Path) -> Result<()> {
        let factors = self
            .ropes()
            .into_iter()
            .filter_map(|(_, rope)| rope.get("partial_rotary_factor").filter(|f| !f.is_null()));
        let whole = |factor: &&Value| factor.as_f64() == Some(1.0);
        if let Some(factor) = self
            .partial_rotary_factor
            .iter()
            .chain(factors)
            .find(|factor| !whole(factor))
        {
            return Err(Error::unsupported(
                path,
                format!("partial_rotary_factor {factor}"),
                "only 1 is",
            ));
        }
        Ok(())
    }

    /// The rotary settings of the file, with the fields' names. The first takes precedence, as in transformers 5.
    fn ropes(&self) -> Vec<(&'static str, &Rope)> {
        let both = [
            ("rope_scaling", &self.rope_scaling),
            ("rope_parameters", &self.rope_parameters),
        ];
        both.into_iter()
            .filter_map(|(field, rope)| Some((field, rope.as_ref()?)))
            .collect()
    }

    /// The base of the rotary frequencies, from any place where the file may state it: transformers 5 writes it into
    /// `rope_parameters`, and reads it from there, from `rope_scaling`, and from the top level, in this order of precedence
    /// (`RotaryEmbeddingConfigMixin.convert_rope_params_to_dict`).
    pub(super) fn rope_theta(&self, path: &Path) -> Result<f64> {
        let mut stated: Vec<(String, f64)> = Vec::new();
        for (field, rope) in self.ropes() {
            // Models that mix kinds of layers nest one object for each kind.
            if rope.values().any(Value::is_object) {
                let what = format!("{field} that differs between layers");
                return Err(Error::unsupported(
                    path,
                    what,
                    "only one setting for all layers is",
                ));
            }
            // `type` is the older name; files in transition have both.
            let mut kinds = ["rope_type", "type"].into_iter().filter_map(|key| {
                let kind = rope.get(key)?;
                (!kind.is_null() && kind.as_str() != Some("default")).then_some(kind)
            });
            if let Some(kind) = kinds.next() {
                let kind = kind
                    .as_str()
                    .map_or_else(|| kind.to_string(), str::to_string);
                let hint = "only the unscaled rotary embedding (`default`) is; remove the setting if the longer \
                            context is not needed";
                return Err(Error::unsupported(
                    path,
                    format!("{field} of type `{kind}`"),
                    hint,
                ));
            }
            let field = format!("{field}.rope_theta");
            match rope.get("rope_theta") {
                None | Some(Value::Null) => {}
                Some(theta) => match theta.as_f64() {
                    Some(theta) => stated.push((field, theta)),
                    None => return Err(Error::invalid(path, field, "is not a number")),
                },
            }
        }
        if let [(first, a), (second, b)] = stated.as_slice()
            && a != b
        {
            let reason = format!("is {a}, and `{second}` is {b}: remove the one that is wrong");
            return Err(Error::invalid(path, first.clone(), reason));
        }
        let nested = stated.into_iter().next().map(|(_, theta)| theta);
        positive(
            "rope_theta",
            nested.or(self.rope_theta).unwrap_or(10_000.0),
            path,
        )
    }
}
