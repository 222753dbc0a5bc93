"""Compares ways to quantise activations to int8, simulated in float32 on a real checkpoint.

Weights are always int8 per output channel, rounded to nearest. The schemes differ in how they quantise the input of each
linear layer. Prints the cosine of the last-token embedding to float32 on the probe texts of `lexivec convert`.
Needs numpy, safetensors, ml_dtypes and tokenizers.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import ml_dtypes  # noqa: F401  (bfloat16 for safetensors)
import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

PROBES = Path(__file__).parents[1] / "convert" / "data" / "probes.txt"
GROUPS = {
    "qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "o": ["self_attn.o_proj"],
    "gate_up": ["mlp.gate_proj", "mlp.up_proj"],
    "down": ["mlp.down_proj"],
}
Array = np.ndarray
Linear = Callable[[int, str, Array], list[Array]]


class Decoder:
    """A Llama-type decoder in float32."""

    def __init__(self, folder: Path) -> None:
        """Reads config.json, *.safetensors and tokenizer.json."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.weights: dict[str, Array] = {}
        for path in sorted(folder.glob("*.safetensors")):
            for name, tensor in load_file(path).items():
                self.weights[name.removeprefix("model.")] = tensor.astype(np.float32)
        self.layers = config["num_hidden_layers"]
        self.heads = config["num_attention_heads"]
        self.kv_heads = config["num_key_value_heads"]
        self.head_dim = config.get("head_dim") or config["hidden_size"] // self.heads
        self.epsilon = config["rms_norm_eps"]
        self.theta = config["rope_theta"]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def group(self, layer: int, name: str) -> list[Array]:
        """Returns the weights of the linear layers that share an input."""
        return [self.weights[f"layers.{layer}.{linear}.weight"] for linear in GROUPS[name]]

    def norm(self, x: Array, weight: Array) -> Array:
        """Applies root mean square normalisation."""
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.epsilon) * weight

    def rotate(self, x: Array) -> Array:
        """Applies the rotary position embedding to [tokens, heads, head_dim]."""
        half = self.head_dim // 2
        angles = np.arange(len(x))[:, None] * self.theta ** (-np.arange(half) / half)
        cos, sin = (f(angles)[:, None].astype(np.float32) for f in (np.cos, np.sin))
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    def attention(self, q: Array, k: Array, v: Array, layer: int) -> Array:
        """Computes causal attention of one sequence."""
        n = len(q)
        q, k, v = (
            x.reshape(n, heads, self.head_dim)
            for x, heads in ((q, self.heads), (k, self.kv_heads), (v, self.kv_heads))
        )
        prefix = f"layers.{layer}.self_attn."
        if prefix + "q_norm.weight" in self.weights:
            q = self.norm(q, self.weights[prefix + "q_norm.weight"])
            k = self.norm(k, self.weights[prefix + "k_norm.weight"])
        q, k = self.rotate(q), self.rotate(k)
        k, v = (np.repeat(x, self.heads // self.kv_heads, 1) for x in (k, v))
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(self.head_dim)
        scores = np.where(np.tril(np.ones((n, n), bool)), scores, -1e30)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        return np.einsum("hqk,khd->qhd", scores, v).reshape(n, -1)

    def embed(self, sequences: list[list[int]], linear: Linear) -> Array:
        """Returns the pooled hidden state (last token) of every sequence."""
        ends = np.cumsum([len(s) for s in sequences])
        x = self.weights["embed_tokens.weight"][np.concatenate(sequences)]
        for layer in range(self.layers):
            prefix = f"layers.{layer}."
            h = self.norm(x, self.weights[prefix + "input_layernorm.weight"])
            parts = (np.split(y, ends[:-1]) for y in linear(layer, "qkv", h))
            attended = [self.attention(*qkv, layer) for qkv in zip(*parts, strict=True)]
            x = x + linear(layer, "o", np.concatenate(attended))[0]
            h = self.norm(x, self.weights[prefix + "post_attention_layernorm.weight"])
            gate, up = linear(layer, "gate_up", h)
            x = x + linear(layer, "down", gate / (1 + np.exp(-gate)) * up)[0]
        return self.norm(x[ends - 1], self.weights["norm.weight"])


def weight_codes(weight: Array) -> Array:
    """Rounds weights to int8 per output channel, to nearest; returns the dequantised weights."""
    scale = np.abs(weight).max(1, keepdims=True) / 127
    scale[scale == 0] = 1
    return np.round(weight / scale) * scale


def per_tensor(x: Array) -> Array:
    """Quantises like DynamicQuantizeLinear: uint8 with a zero point, one scale for the whole batch."""
    low, high = min(x.min(), 0), max(x.max(), 0)
    scale = (high - low) / 255
    zero = np.round(-low / scale)
    return (np.clip(np.round(x / scale) + zero, 0, 255) - zero) * scale


def per_token(x: Array) -> Array:
    """Quantises each token to 127 steps of its largest magnitude."""
    largest = np.abs(x).max(-1, keepdims=True).clip(1e-30)
    return np.round(x / largest * 127) / 127 * largest


def clipped(share: float) -> Callable[[Array], Array]:
    """Quantises like per_token, but clips tokens of extreme magnitude to `share` of their largest magnitude."""

    def quantise(x: Array) -> Array:
        largest = np.abs(x).max(-1, keepdims=True).clip(1e-30)
        extreme = largest > 10 * np.median(largest)
        largest = np.where(extreme, largest * share, largest)
        return np.clip(np.round(x / largest * 127), -127, 127) / 127 * largest

    return quantise


def per_block(width: int) -> Callable[[Array], Array]:
    """Quantises every block of `width` channels like per_token."""
    return lambda x: per_token(x.reshape(len(x), -1, width)).reshape(x.shape)


def parts(count: int) -> Callable[[Array], Array]:
    """Quantises each of a token's `count` parts like per_token."""
    return lambda x: per_token(x.reshape(len(x), count, -1)).reshape(x.shape)


def two_step(x: Array) -> Array:
    """Quantises like per_token, then the remaining error in 127 finer steps. Needs two integer matrix multiplications."""
    largest = np.abs(x).max(-1, keepdims=True).clip(1e-30)
    unit = x / largest
    coarse = np.round(unit * 127) / 127
    return (coarse + np.round((unit - coarse) * 127 * 254) / (127 * 254)) * largest


SCHEMES: dict[str, Callable[[Array], Array]] = {
    "per tensor, dynamic": per_tensor,
    "per token": per_token,
    "per token, extreme ones clipped to 1/2": clipped(1 / 2),
    "per token, extreme ones clipped to 1/8": clipped(1 / 8),
    "per token, 2 parts": parts(2),
    "per token, 4 parts": parts(4),
    "per token, 8 parts": parts(8),
    "per token and block of 32": per_block(32),
    "per token, two steps (int8x2)": two_step,
    "float activations": lambda x: x,
}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("checkpoint", type=Path)
    folder = parser.parse_args().checkpoint
    decoder = Decoder(folder)
    lines = [line for line in PROBES.read_text(encoding="utf-8").splitlines() if line.strip()]
    sequences = [ids for ids in (decoder.tokenizer.encode(line).ids for line in lines) if ids]
    expected = decoder.embed(
        sequences, lambda layer, name, x: [x @ w.T for w in decoder.group(layer, name)]
    )
    codes = {
        (layer, name): [weight_codes(w) for w in decoder.group(layer, name)]
        for layer in range(decoder.layers)
        for name in GROUPS
    }
    print(f"{'activations':40} {'min':>8} {'mean':>8}")
    for title, quantise in SCHEMES.items():

        def linear(layer: int, name: str, x: Array, quantise: Callable = quantise) -> list[Array]:
            quantised = quantise(x)
            return [quantised @ w.T for w in codes[layer, name]]

        found = decoder.embed(sequences, linear)
        norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
        cosines = (expected * found).sum(1) / norms
        print(f"{title:40} {cosines.min():8.5f} {cosines.mean():8.5f}", flush=True)


if __name__ == "__main__":
    main()
