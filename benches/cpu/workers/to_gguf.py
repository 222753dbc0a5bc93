"""Writes a Qwen3 checkpoint as a GGUF file in q8_0 for llama.cpp: `to_gguf.py CHECKPOINT OUTPUT.gguf`.

The vocabulary has names only, because the benchmark sends token ids.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors import safe_open

Q8_0 = gguf.GGMLQuantizationType.Q8_0
NAMES = {
    "embed_tokens": "token_embd",
    "norm": "output_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def name_of(tensor: str) -> str:
    """Returns llama.cpp's name of a checkpoint's tensor."""
    stem = tensor.removesuffix(".weight")
    if not stem.startswith("layers."):
        return f"{NAMES[stem]}.weight"
    _, layer, part = stem.split(".", 2)
    return f"blk.{layer}.{NAMES[part]}.weight"


def write_settings(writer: gguf.GGUFWriter, config: dict) -> None:
    """Writes the model's dimensions and its vocabulary."""
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_pooling_type(gguf.PoolingType.LAST)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("none")


def main() -> None:
    source, output = map(Path, sys.argv[1:])
    config = json.loads((source / "config.json").read_text())
    writer = gguf.GGUFWriter(output, "qwen3")
    write_settings(writer, config)
    with safe_open(source / "model.safetensors", "pt") as file:
        for name in file.keys():
            numbers = file.get_tensor(name).to(torch.float32).numpy()
            if numbers.ndim == 1:
                writer.add_tensor(name_of(name), numbers)
            else:
                blocks: np.ndarray = gguf.quants.quantize(numbers, Q8_0)
                writer.add_tensor(name_of(name), blocks, raw_dtype=Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
