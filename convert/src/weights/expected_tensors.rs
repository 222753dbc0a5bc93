//! The tensors of an architecture, to detect tensors that nothing would read.
//!
//! Without this check, a checkpoint of six layers beside a config.json that names five would convert without an error and give
//! wrong vectors. So would a bias that config.json denies.

use std::collections::HashSet;

use lexivec_models::Decoder;

/// The number of names that an error shows.
const SHOWN: usize = 6;

/// The names that the architecture does not use, sorted. Empty if a tensor is missing, because that error says more.
pub(super) fn unused<'a>(
    decoder: &Decoder,
    names: impl Iterator<Item = &'a String> + Clone,
) -> Vec<String> {
    let mut missing: HashSet<String> = names_of(decoder).into_iter().collect();
    let mut unused: Vec<String> = names
        .filter(|name| !missing.remove(*name) && !is_harmless(name))
        .cloned()
        .collect();
    if !missing.is_empty() {
        return Vec::new();
    }
    unused.sort();
    unused
}

/// The first names, and the number of the others.
pub(super) fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Whether embeddings never depend on a tensor. That holds for the output layer of a language model and for rotary
/// frequencies, which transformers stored up to release 4.31 and now computes from config.json.
fn is_harmless(name: &str) -> bool {
    name.starts_with("lm_head.") || name.ends_with("rotary_emb.inv_freq")
}

/// The names of all tensors of an architecture.
fn names_of(d: &Decoder) -> Vec<String> {
    let mut names = vec!["embed_tokens.weight".to_owned(), "norm.weight".to_owned()];
    for layer in 0..d.layers {
        let mut add = |name: &str| names.push(format!("layers.{layer}.{name}"));
        add("input_layernorm.weight");
        add("post_attention_layernorm.weight");
        if d.qk_norm {
            add("self_attn.q_norm.weight");
            add("self_attn.k_norm.weight");
        }
        for (projection, bias) in [
            ("self_attn.q_proj", d.qkv_bias),
            ("self_attn.k_proj", d.qkv_bias),
            ("self_attn.v_proj", d.qkv_bias),
            ("self_attn.o_proj", d.output_bias),
            ("mlp.gate_proj", d.mlp_bias),
            ("mlp.up_proj", d.mlp_bias),
            ("mlp.down_proj", d.mlp_bias),
        ] {
            add(&format!("{projection}.weight"));
            if bias {
                add(&format!("{projection}.bias"));
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lexivec_models::Checkpoint;

    use super::*;

    fn decoder(family: &str) -> Decoder {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny");
        Checkpoint::open(&root.join(family)).unwrap().decoder
    }

    #[test]
    fn tensors_of_a_further_layer_and_denied_biases_are_unused() {
        let mut qwen2 = decoder("qwen2");
        let names = names_of(&qwen2);
        assert!(unused(&qwen2, names.iter()).is_empty());
        qwen2.layers -= 1;
        // A layer of Qwen2 has two norms, seven weights and three biases.
        assert_eq!(unused(&qwen2, names.iter()).len(), 12);
        let mut llama = decoder("llama");
        let names = names_of(&llama);
        llama.mlp_bias = false;
        let found = unused(&llama, names.iter());
        assert_eq!(found.len(), 3 * llama.layers);
        assert!(found.iter().all(|name| name.ends_with("_proj.bias")));
    }

    #[test]
    fn output_layers_and_rotary_frequencies_are_harmless_and_missing_tensors_take_precedence() {
        let qwen3 = decoder("qwen3");
        let mut names = names_of(&qwen3);
        names.push("lm_head.weight".to_owned());
        names.push("layers.0.self_attn.rotary_emb.inv_freq".to_owned());
        names.push("rotary_emb.inv_freq".to_owned());
        assert!(unused(&qwen3, names.iter()).is_empty());
        names.push("score.weight".to_owned());
        assert_eq!(unused(&qwen3, names.iter()), ["score.weight"]);
        names.remove(0);
        assert!(unused(&qwen3, names.iter()).is_empty());
    }

    #[test]
    fn long_lists_are_truncated() {
        let names: Vec<String> = (0..8).map(|i| format!("t{i}")).collect();
        assert_eq!(listed(&names[..2]), "`t0`, `t1`");
        assert!(listed(&names).ends_with("`t5` and 2 more"));
    }
}
