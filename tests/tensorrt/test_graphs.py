"""Tests that TensorRT imports and compiles every graph that `lexivec convert --ep tensorrt` writes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import suite

from conftest import Checkpoint
from rtx import LOG, Network

# Minimum, optimum and maximum sizes: T packed tokens, B sequences, S the longest. The smallest batch is a text of one token.
RANGES = {
    "T": (1, 512, 4096),
    "B": (1, 8, 64),
    "S": (1, 64, 512),
    "batch": (1, 8, 64),
    "sequence": (1, 64, 512),
}
# Ranges that together cover a budget of 16,384 tokens.
BUCKETS = [
    {"T": (1, 64, 512), "B": (1, 4, 64), "S": (1, 16, 512)},
    {"T": (512, 2048, 4096), "B": (1, 16, 512), "S": (1, 128, 4096)},
    {"T": (4096, 16384, 16384), "B": (1, 64, 2048), "S": (1, 256, 16384)},
]
INPUTS = {
    "packed": {
        "input_ids": ["T"],
        "position_ids": ["T"],
        "kv_index": ["B", "S"],
        "token_index": ["T"],
        "last_row": ["B"],
        "last_slot": ["B"],
    },
    "padded": {"input_ids": ["batch", "sequence"], "attention_mask": ["batch", "sequence"]},
}
# Per decoder layer: query and key are rotated, and the matrix multiplications are q/k/v, output, gate/up and down.
LAYERS = {"ATTENTION_INPUT": 1, "ATTENTION_OUTPUT": 1, "ROTARY_EMBEDDING": 2, "MATRIX_MULTIPLY": 4}
# Each matrix multiplication quantises its activations, and dequantises activations and weights.
INTEGER_LAYERS = {"QUANTIZE": 4, "DEQUANTIZE": 8}
# TensorRT has no kernel for attention in float32.
ATTENTION_TYPE = {"fp32": "HALF", "fp16": "HALF", "bf16": "BF16", "int8": "HALF"}


def outputs(layout: str, hidden: int) -> dict:
    """Returns the names, types and shapes of a graph's outputs."""
    if layout == "packed":
        return {"embedding": ("FLOAT", (-1, hidden))}
    return {"last_hidden_state": ("FLOAT", (-1, -1, hidden)), "sentence_embedding": ("FLOAT", (-1, hidden))}


@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
def test_graph_compiles(checkpoint: Checkpoint, precision: str, layout: str, convert: Callable[..., Path]) -> None:
    """The graph has the expected interface and layers, and compiles to one engine for all compute capabilities."""
    options = ["--ep=tensorrt", f"--precision={precision}", f"--layout={layout}", "--no-calibration"]
    network = Network(convert(checkpoint.folder, *options))

    assert network.inputs() == {name: ("INT64", dimensions) for name, dimensions in INPUTS[layout].items()}
    assert network.outputs() == outputs(layout, checkpoint.hidden)

    integer = INTEGER_LAYERS if precision == "int8" else dict.fromkeys(INTEGER_LAYERS, 0)
    expected = {kind: count * checkpoint.layers for kind, count in (LAYERS | integer).items()}
    kinds = network.kinds()
    assert {kind: kinds[kind] for kind in expected} == expected
    assert network.input_types("ATTENTION_INPUT") == {ATTENTION_TYPE[precision]}
    if precision == "int8":
        assert network.input_types("DEQUANTIZE") == {"INT8"}

    assert network.build(RANGES) > 0
    assert LOG.complaints() == []


def test_calibrated_graph_compiles(convert: Callable[..., Path]) -> None:
    """With an accuracy target that int8 misses, some linear groups are int8x2 and some float32."""
    network = Network(convert(suite.ROOT / "models" / "nano", "--ep=tensorrt", "--precision=int8", "--min-cosine=0.99999"))
    kinds = network.kinds()
    assert kinds["QUANTIZE"] > 0
    # There are 24 linear groups. An int8x2 group has two matrix multiplications.
    assert kinds["MATRIX_MULTIPLY"] > 24
    assert network.build(RANGES) > 0
    assert LOG.complaints() == []


def test_buckets_share_an_engine(convert: Callable[..., Path]) -> None:
    """One engine supports several profiles, one for each range of batch sizes."""
    network = Network(convert(suite.ROOT / "models" / "nano", "--ep=tensorrt", "--precision=fp16"))
    assert network.build(*BUCKETS) > 0
    assert LOG.complaints() == []


def test_float32_attention_does_not_compile(convert: Callable[..., Path]) -> None:
    """The reason for attention in 16 bits with --ep tensorrt. If this test fails, TensorRT supports float32."""
    network = Network(convert(suite.ROOT / "models" / "nano", "--target=standard", "--precision=fp32"))
    assert network.input_types("ATTENTION_INPUT") == {"FLOAT"}
    with pytest.raises(ValueError, match="not supported by a dedicated kernel"):
        network.build(RANGES)
