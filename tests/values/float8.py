"""GemmFloat8 in NumPy.

ONNX Runtime has no CPU kernel for GemmFloat8. Its CUDA kernel passes both matrices to cuBLASLt as e4m3 (onnxruntime,
contrib_ops/cuda/math/gemm_float8.cu). cuBLASLt multiplies them with sums in float32, multiplies the result by both scales,
and rounds it to the output's type.
"""

import numpy as np
from onnx import NodeProto, TensorProto, helper

# Indices of the inputs.
A, B, C, A_SCALE, B_SCALE = range(5)
TYPES = {TensorProto.FLOAT16: np.float16, TensorProto.FLOAT: np.float32}
E4M3 = helper.tensor_dtype_to_np_dtype(TensorProto.FLOAT8E4M3FN)


def gemm_float8(node: NodeProto, inputs: list[np.ndarray | None]) -> list[np.ndarray]:
    """Evaluates a node: `[T, in]` times the transpose of `[out, in]`.

    Raises ValueError if a value is not representable in e4m3, or if the node uses another feature of the operator, such as
    a scale of the output. cuBLASLt rejects such a scale unless the output has 8 bits.
    """
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    shapes = [None if value is None else value.shape for value in inputs[C:]]
    dtype = attributes.pop("dtype", None)
    if attributes != {"transB": 1} or dtype not in TYPES or shapes != [None, (1,), (1,)]:
        raise ValueError(f"not implemented: type {dtype}, attributes {attributes}, shapes of bias and scales {shapes}")
    a, b = (exact(inputs[i]) for i in (A, B))
    return [(a @ b.T * (inputs[A_SCALE] * inputs[B_SCALE])).astype(TYPES[dtype])]


def exact(values: np.ndarray) -> np.ndarray:
    """Returns the values in float32. Raises ValueError if one of them is not representable in e4m3."""
    wide = values.astype(np.float32)
    if values.dtype != E4M3 and not np.array_equal(values.astype(E4M3).astype(np.float32), wide):
        raise ValueError("not implemented: values that are not 8-bit floats")
    return wide

