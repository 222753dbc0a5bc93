"""GroupQueryAttention in NumPy, in float32.

ONNX Runtime's CUDA kernel normalises queries and keys; its CPU kernel does not support this. The semantics are those of the
operator's documentation (com.microsoft, ContribOperators.md): `query` contains queries, keys and values side by side,
[B, S, (heads + 2 * kv_heads) * D]. Queries and keys are normalised by head, then rotated. Query head h reads key/value
head h // (heads / kv_heads).
"""

import numpy as np
from onnx import NodeProto, helper

# Indices of the implemented inputs.
QUERY, SEQLENS_K, TOTAL_LENGTH, COS, SIN, Q_NORM, K_NORM = 0, 5, 6, 7, 8, 14, 15
REQUIRED = {QUERY, SEQLENS_K, TOTAL_LENGTH, COS, SIN}
# Queries whose attention is computed at a time.
CHUNK = 128
ATTRIBUTES = {"num_heads", "kv_num_heads", "do_rotary", "qk_norm_epsilon"}


def rms_norm(x: np.ndarray, weight: np.ndarray, epsilon: float) -> np.ndarray:
    """Applies root mean square normalisation over the last axis."""
    return x / np.sqrt(np.mean(np.square(x), axis=-1, keepdims=True) + np.float32(epsilon)) * weight


def rotate(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """Rotates pairs (i, i + D/2) of [B, S, heads, D] by position, with row s of the tables, [positions, D/2]."""
    first, second = np.split(x, 2, axis=-1)
    cos, sin = (table[: x.shape[1], None, :] for table in (cos, sin))
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def causal_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Computes softmax(q kᵀ / sqrt(D)) v over [B, heads, S, D], where each position reads itself and earlier ones."""
    group = q.shape[1] // k.shape[1]
    k, v = (np.repeat(x, group, axis=1) for x in (k, v))
    q = q / np.sqrt(np.float32(q.shape[-1]))
    y = np.empty_like(q)
    # In chunks, because the longest text would need 90 MB for each step, half of it masked.
    for start in range(0, q.shape[2], CHUNK):
        end = min(start + CHUNK, q.shape[2])
        scores = q[:, :, start:end] @ k[:, :, :end].swapaxes(-1, -2)
        scores += np.triu(np.full((end - start, end), -np.inf, np.float32), start + 1)
        scores -= scores.max(axis=-1, keepdims=True)
        weights = np.exp(scores, out=scores)
        y[:, :, start:end] = weights @ v[:, :, :end] / weights.sum(axis=-1, keepdims=True)
    return y


def group_query_attention(node: NodeProto, inputs: list[np.ndarray | None]) -> list[np.ndarray]:
    """Evaluates a node; returns the output, [B, S, heads * D], and the keys and values, [B, kv_heads, S, D].

    Raises ValueError if the node uses another feature of the operator.
    """
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    given = {position for position, value in enumerate(inputs) if value is not None}
    if attributes.keys() - ATTRIBUTES or attributes.get("do_rotary") != 1 or given - {Q_NORM, K_NORM} != REQUIRED:
        raise ValueError(f"not implemented: attributes {attributes}, inputs {sorted(given)}")

    batch, length, width = inputs[QUERY].shape
    if not (inputs[SEQLENS_K] == length - 1).all() or inputs[TOTAL_LENGTH] != length:
        raise ValueError("not implemented: lengths other than the sequences'")
    heads, kv_heads = attributes["num_heads"], attributes["kv_num_heads"]
    size = width // (heads + 2 * kv_heads)
    qkv = inputs[QUERY].astype(np.float32).reshape(batch, length, -1, size)
    q, k, v = np.split(qkv, [heads, heads + kv_heads], axis=2)

    if Q_NORM in given or K_NORM in given:
        epsilon = attributes.get("qk_norm_epsilon", 1e-6)
        q = rms_norm(q, inputs[Q_NORM].astype(np.float32), epsilon)
        k = rms_norm(k, inputs[K_NORM].astype(np.float32), epsilon)
    cos, sin = (inputs[i].astype(np.float32) for i in (COS, SIN))
    q, k, v = (x.swapaxes(1, 2) for x in (rotate(q, cos, sin), rotate(k, cos, sin), v))
    y = causal_attention(q, k, v).swapaxes(1, 2).reshape(batch, length, heads * size)
    return [x.astype(inputs[QUERY].dtype) for x in (y, k, v)]
