"""Plans the inputs of packed graphs (ARCHITECTURE.md, "The packed graph") independently of lexivec."""

from collections.abc import Iterable

import numpy as np
from onnx import ValueInfoProto, helper


def plan(sequences: list[list[int]], inputs: Iterable[ValueInfoProto]) -> dict[str, np.ndarray]:
    """Returns the inputs of a packed graph, where equal prefixes share packed tokens and the prefix cache is empty."""
    planned = packed_inputs(sequences)
    return {i.name: planned[i.name] if i.name in planned else empty(i) for i in inputs}


def empty(prefixes: ValueInfoProto) -> np.ndarray:
    """Returns an empty input [0, width] for the keys or values of cached prefixes."""
    kind = prefixes.type.tensor_type
    return np.zeros((0, kind.shape.dim[1].dim_value), helper.tensor_dtype_to_np_dtype(kind.elem_type))


def packed_inputs(sequences: list[list[int]]) -> dict[str, np.ndarray]:
    """Returns all inputs except cached prefixes."""
    # The index of the packed token at the end of each prefix.
    packed: dict[tuple[int, ...], int] = {}
    for sequence in sequences:
        for end in range(1, len(sequence) + 1):
            packed.setdefault(tuple(sequence[:end]), len(packed))
    longest = max(map(len, sequences))
    # Padding is on the right, so no token of the sequence reads it.
    kv_index = np.zeros((len(sequences), longest), np.int64)
    token_index = np.zeros(len(packed), np.int64)
    for b, sequence in enumerate(sequences):
        for s in range(len(sequence)):
            kv_index[b, s] = packed[tuple(sequence[: s + 1])]
            token_index[kv_index[b, s]] = b * longest + s
    ends = np.array([len(sequence) - 1 for sequence in sequences])
    batch = np.arange(len(sequences))
    return {
        "input_ids": np.array([prefix[-1] for prefix in packed], np.int64),
        "position_ids": np.array([len(prefix) - 1 for prefix in packed], np.int64),
        "kv_index": kv_index,
        # Queries and keys have the same indices, because there are no cached prefixes before the packed tokens.
        "query_index": kv_index,
        "token_index": token_index,
        "last_row": kv_index[batch, ends],
        "last_slot": batch * longest + ends,
        # Attention computes padding as well.
        "seqlens_k": np.full(len(sequences), longest - 1, np.int32),
        "total_sequence_length": np.array(longest, np.int32),
    }
