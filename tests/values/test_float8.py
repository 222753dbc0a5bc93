"""Tests that compare float8.py with ONNX Runtime's CPU kernels and ml_dtypes, independent implementations."""

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

from float8 import E4M3, gemm_float8
from graph import session

NAMES = ["a", "b", "", "a_scale", "b_scale"]
FLOAT16, FLOAT, FLOAT8 = TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.FLOAT8E4M3FN
GREATEST = 448


def gemm(names: list[str] = NAMES, **changes: float) -> NodeProto:
    """Returns a GemmFloat8 like lexivec's, with other input `names` and attribute `changes` if given."""
    attributes = {"transB": 1, "dtype": FLOAT16} | changes
    return helper.make_node("GemmFloat8", names, ["y"], domain="com.microsoft", **attributes)


def values(rows: int, inputs: int, outputs: int) -> dict[str, np.ndarray]:
    """Returns random matrices of e4m3 and distinct scales."""
    rng = np.random.default_rng(rows + inputs)
    scales = {"a_scale": 0.25, "b_scale": 0.003}
    return {
        "a": (rng.standard_normal((rows, inputs)) * 30).astype(E4M3),
        "b": (rng.standard_normal((outputs, inputs)) * 90).astype(E4M3),
    } | {name: np.array([scale], np.float32) for name, scale in scales.items()}


def in_numpy(node: NodeProto, fed: dict[str, np.ndarray]) -> np.ndarray:
    """Returns float8.py's result."""
    (y,) = gemm_float8(node, [fed.get(name) for name in node.input])
    return y


def by_onnxruntime(nodes: list[NodeProto], fed: dict[str, np.ndarray], output: int) -> np.ndarray:
    """Returns the nodes' output `y`, which has the type `output`, by ONNX Runtime."""
    types = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in fed.items()}
    inputs = [helper.make_tensor_value_info(name, types[name], value.shape) for name, value in fed.items()]
    graph = helper.make_graph(nodes, "test", inputs, [helper.make_tensor_value_info("y", output, None)])
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
    (y,) = session(helper.make_model(graph, opset_imports=opsets, ir_version=11)).run(None, fed)
    return y


@pytest.mark.parametrize("shape", [(1, 16, 16), (7, 256, 768), (33, 768, 256)])
def test_the_result_equals_onnxruntime(shape: tuple[int, int, int]) -> None:
    """The reference is a Gemm of the same values in float32, times both scales."""
    fed = values(*shape)
    wide = {name: fed[name].astype(np.float32) for name in ("a", "b")}
    scale = float(fed["a_scale"][0] * fed["b_scale"][0])
    expected = by_onnxruntime([helper.make_node("Gemm", ["a", "b"], ["y"], transB=1, alpha=scale)], wide, FLOAT)
    np.testing.assert_allclose(in_numpy(gemm(dtype=FLOAT), fed), expected, rtol=1e-5, atol=1e-4)
    # float16 keeps 11 bits.
    found = in_numpy(gemm(), fed)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, expected, rtol=2**-11, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_cast_before_matrix_multiplications_rounds_to_e4m3(dtype: type) -> None:
    """graph.py lets ONNX Runtime cast. It must round every float16 to nearest, ties to even, and saturate."""
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    x = x[np.isfinite(x)].astype(dtype)
    casts = [helper.make_node("Cast", ["x"], ["c"], to=FLOAT8), helper.make_node("Cast", ["c"], ["y"], to=FLOAT)]
    expected = np.clip(x.astype(np.float32), -GREATEST, GREATEST).astype(E4M3).astype(np.float32)
    np.testing.assert_array_equal(by_onnxruntime(casts, {"x": x}, FLOAT), expected)


def test_cpu_has_no_kernel() -> None:
    """The reason for float8.py. If this test fails, ONNX Runtime can evaluate the graphs alone."""
    fed = values(4, 16, 16)
    with pytest.raises(NoKernel, match="GemmFloat8"):
        by_onnxruntime([gemm()], fed, FLOAT16)


@pytest.mark.parametrize("change", [{"transA": 1}, {"transB": 0}, {"alpha": 2.0}, {"beta": 1.0}, {"dtype": FLOAT8}])
def test_other_attributes_are_errors(change: dict) -> None:
    """float8.py never ignores an attribute that it does not implement."""
    with pytest.raises(ValueError, match="not implemented"):
        in_numpy(gemm(**change), values(4, 16, 16))


@pytest.mark.parametrize(
    "change",
    [{"a_scale": np.ones(4, np.float32)}, {"a": np.full((4, 16), 1.05, np.float32)}],
    ids=["a scale per token", "values that e4m3 does not have"],
)
def test_other_inputs_are_errors(change: dict) -> None:
    """float8.py rejects inputs that the kernel would interpret differently."""
    with pytest.raises(ValueError, match="not implemented"):
        in_numpy(gemm(), values(4, 16, 16) | change)


def test_a_scale_of_the_output_is_an_error() -> None:
    """cuBLASLt rejects a scale of the output, even if it is 1."""
    fed = values(4, 16, 16) | {"y_scale": np.ones(1, np.float32)}
    with pytest.raises(ValueError, match="not implemented"):
        in_numpy(gemm([*NAMES, "y_scale"]), fed)
