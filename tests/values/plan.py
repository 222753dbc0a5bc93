"""The inputs of packed graphs (ARCHITECTURE.md, "The packed graph"), planned independently of lexivec."""

from collections.abc import Iterable

import numpy as np
from onnx import ValueInfoProto, helper


def plan(sequences: list[list[int]], inputs: Iterable[ValueInfoProto]) -> dict[str, np.ndarray]:
    """The inputs of a packed graph; equal prefixes share their rows, and no prefixes are kept from earlier batches."""
    planned = rows_and_slots(sequences)
    return {i.name: planned[i.name] if i.name in planned else empty(i) for i in inputs}


def empty(prefixes: ValueInfoProto) -> np.ndarray:
    """No rows, for an input [P, width]."""
    kind = prefixes.type.tensor_type
    return np.zeros((0, kind.shape.dim[1].dim_value), helper.tensor_dtype_to_np_dtype(kind.elem_type))


def rows_and_slots(sequences: list[list[int]]) -> dict[str, np.ndarray]:
    """Every input but kept prefixes."""
    rows: dict[tuple[int, ...], int] = {}
    for sequence in sequences:
        for end in range(1, len(sequence) + 1):
            rows.setdefault(tuple(sequence[:end]), len(rows))
    longest = max(map(len, sequences))
    # Padding is on the right, where no token of the sequence reads it.
    kv_index = np.zeros((len(sequences), longest), np.int64)
    token_index = np.zeros(len(rows), np.int64)
    for b, sequence in enumerate(sequences):
        for s in range(len(sequence)):
            kv_index[b, s] = rows[tuple(sequence[: s + 1])]
            token_index[kv_index[b, s]] = b * longest + s
    ends = np.array([len(sequence) - 1 for sequence in sequences])
    batch = np.arange(len(sequences))
    return {
        "input_ids": np.array([prefix[-1] for prefix in rows], np.int64),
        "position_ids": np.array([len(prefix) - 1 for prefix in rows], np.int64),
        "kv_index": kv_index,
        # A position asks with the row that it reads, because no rows are kept ones.
        "query_index": kv_index,
        "token_index": token_index,
        "last_row": kv_index[batch, ends],
        "last_slot": batch * longest + ends,
        # Attention runs over whole rectangles.
        "seqlens_k": np.full(len(sequences), longest - 1, np.int32),
        "total_sequence_length": np.array(longest, np.int32),
    }
