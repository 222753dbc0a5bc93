"""Tests that compare attention.py with ONNX Runtime's CPU kernels, an independent implementation."""

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from attention import group_query_attention
from graph import session

# The length exceeds the number of queries that attention.py computes at a time.
POSITIONS, BATCH, LENGTH = 320, 2, 300
NAMES = ["qkv", *[""] * 4, "seqlens_k", "total_sequence_length", "cos", "sin"]
NORMS = [*[""] * 5, "q_norm", "k_norm"]


def attention(heads: int, kv_heads: int, inputs: list[str], **attributes: float) -> NodeProto:
    """Returns a GroupQueryAttention with rotation."""
    attributes |= {"num_heads": heads, "kv_num_heads": kv_heads, "do_rotary": 1}
    return helper.make_node("GroupQueryAttention", inputs, ["y", "key", "value"], domain="com.microsoft", **attributes)


def values(heads: int, kv_heads: int, size: int) -> dict[str, np.ndarray]:
    """Returns random inputs. The cos and sin tables have random angles, so that a wrong position changes the result."""
    rng = np.random.default_rng(heads * 100 + size)
    angles = rng.uniform(0, 2 * np.pi, (POSITIONS, size // 2))
    return {
        "qkv": rng.standard_normal((BATCH, LENGTH, (heads + 2 * kv_heads) * size), np.float32),
        "seqlens_k": np.full(BATCH, LENGTH - 1, np.int32),
        "total_sequence_length": np.array(LENGTH, np.int32),
        "cos": np.cos(angles).astype(np.float32),
        "sin": np.sin(angles).astype(np.float32),
        "q_norm": rng.uniform(0.5, 2, size).astype(np.float32),
        "k_norm": rng.uniform(0.5, 2, size).astype(np.float32),
    }


def by_onnxruntime(node: NodeProto, fed: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Returns ONNX Runtime's outputs of a node."""
    types = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in fed.items()}
    inputs = [helper.make_tensor_value_info(name, types[name], value.shape) for name, value in fed.items()]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in node.output]
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([node], node.op_type, inputs, outputs)
    return session(helper.make_model(graph, opset_imports=opsets, ir_version=11)).run(None, fed)


def in_numpy(node: NodeProto, fed: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Returns attention.py's output, keys and values."""
    return group_query_attention(node, [fed.get(name) for name in node.input])


def without_norms(fed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the inputs for a kernel that does not normalise."""
    return {name: value for name, value in fed.items() if name not in NORMS}


@pytest.mark.parametrize(("heads", "kv_heads", "size"), [(4, 4, 16), (8, 4, 32), (32, 8, 128)])
def test_attention_equals_onnxruntime(heads: int, kv_heads: int, size: int) -> None:
    """Without normalisation, the CPU kernel gives the same result."""
    fed = without_norms(values(heads, kv_heads, size))
    node = attention(heads, kv_heads, NAMES)
    for ours, theirs in zip(in_numpy(node, fed), by_onnxruntime(node, fed), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("epsilon", [1e-6, 0.5])
def test_normalising_attention_equals_onnxruntime(epsilon: float) -> None:
    """With normalisation, the CPU kernels of norm and attention in sequence give the same result."""
    heads, kv_heads, size = 8, 4, 32
    fed = values(heads, kv_heads, size)
    by_head = fed["qkv"].reshape(BATCH, LENGTH, -1, size)
    q, k, v = np.split(by_head, [heads, heads + kv_heads], axis=2)
    norm = helper.make_node("SimplifiedLayerNormalization", ["x", "weight"], ["y"], axis=-1, epsilon=epsilon)
    (q,) = by_onnxruntime(norm, {"x": q, "weight": fed["q_norm"]})
    (k,) = by_onnxruntime(norm, {"x": k, "weight": fed["k_norm"]})
    normed = without_norms(fed) | {"qkv": np.concatenate([q, k, v], axis=2).reshape(fed["qkv"].shape)}

    found = in_numpy(attention(heads, kv_heads, NAMES + NORMS, qk_norm_epsilon=epsilon), fed)
    for ours, theirs in zip(found, by_onnxruntime(attention(heads, kv_heads, NAMES), normed), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_cpu_kernel_does_not_normalise() -> None:
    """The reason for attention.py. If this test fails, ONNX Runtime can evaluate the graphs alone."""
    fed = values(8, 4, 32)
    with pytest.raises(InvalidArgument, match="q_norm_weight / k_norm_weight inputs are not supported"):
        by_onnxruntime(attention(8, 4, NAMES + NORMS, qk_norm_epsilon=1e-6), fed)


@pytest.mark.parametrize("change", [{"softcap": 30.0}, {"rotary_interleaved": 1}, {"local_window_size": 4}])
def test_other_attributes_are_errors(change: dict) -> None:
    """attention.py never ignores an attribute that it does not implement."""
    with pytest.raises(ValueError, match="not implemented"):
        in_numpy(attention(8, 4, NAMES, **change), without_norms(values(8, 4, 32)))


def test_shorter_lengths_are_errors() -> None:
    """Lengths that mask padding are not implemented, because the graphs rely on causality instead."""
    fed = without_norms(values(8, 4, 32))
    short = fed | {"seqlens_k": np.array([LENGTH - 1, 4, LENGTH - 1], np.int32)}
    with pytest.raises(ValueError, match="not implemented"):
        in_numpy(attention(8, 4, NAMES), short)
