//! The names of a checkpoint's files.

/// The architecture and its sizes.
pub(crate) const CONFIG: &str = "config.json";
/// The tokenizer.
pub(crate) const TOKENIZER: &str = "tokenizer.json";
/// The weights in a single file.
pub(crate) const WEIGHTS: &str = "model.safetensors";
/// The names of the files of sharded weights.
pub(crate) const WEIGHTS_INDEX: &str = "model.safetensors.index.json";

/// The files of the tokenizer. They are all taken from the same folder.
pub(crate) const TOKENIZER_FILES: &[&str] = &[
    TOKENIZER,
    "tokenizer_config.json",
    "special_tokens_map.json",
];

/// The small files that are copied into a converted model, besides the configs of its modules.
pub(crate) const SMALL_FILES: &[&str] = &[
    CONFIG,
    TOKENIZER,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
];
