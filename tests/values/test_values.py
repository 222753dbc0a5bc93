"""Tests that compare graphs for GPUs with vectors of sentence-transformers and transformers.

These tests do not run CUDA's kernels. They check that the graphs use the operators correctly.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import suite
from onnx import TensorProto

from attention import group_query_attention
from float8 import gemm_float8
from graph import Graph
from plan import plan

TINY = suite.ROOT / "tests" / "fixtures" / "tiny"
IN_NUMPY = {"GroupQueryAttention": group_query_attention, "GemmFloat8": gemm_float8}
# Limits sequences times the longest length, so that short texts are not padded to the one with 1,706 tokens.
MOST_SLOTS = 2048
INT64, INT32, FLOAT = TensorProto.INT64, TensorProto.INT32, TensorProto.FLOAT
INDICES = {
    "input_ids": (INT64, ["T"]),
    "kv_index": (INT64, ["B", "S"]),
    "token_index": (INT64, ["T"]),
    "last_row": (INT64, ["B"]),
    "last_slot": (INT64, ["B"]),
}
INPUTS = {
    "standard": INDICES | {"position_ids": (INT64, ["T"])},
    "grouped": INDICES | {"seqlens_k": (INT32, ["B"]), "total_sequence_length": (INT32, [])},
}
# The least cosine and, if given, the largest difference of two numbers.
TOLERANCES = {
    "fp32": (0.99999, 2e-5),
    "fp16": (0.9999,),
    # The arithmetic is in float32 here, and the cos and sin tables are rounded to bfloat16.
    "bf16": (0.9999,),
    # Weights are rounded to nearest, without calibration.
    "int8": (0.999,),
    "int4-weight": (0.97,),
    # The measured value is 0.9958. The simulation in float32 has 0.9966.
    "fp8": (0.995,),
}
# lexivec does not write this combination, because GroupQueryAttention has no float32 kernel on CUDA.
NO_KERNEL = ("fp32", "grouped")


def nano() -> list[dict]:
    """Returns texts and their vectors by sentence-transformers."""
    return json.loads((suite.ROOT / "tests" / "golden" / "nano.json").read_text())["cases"]


def tiny(family: str) -> list[dict]:
    """Returns texts and their vectors by transformers, for a tiny random checkpoint."""
    return json.loads((TINY / "golden.json").read_text())["families"][family]


def for_cuda(precision: str, form: str) -> list[str]:
    """Returns options for `lexivec convert`."""
    return ["--ep=cuda", f"--precision={precision}", f"--attention={form}"]


def batches(cases: list[dict]) -> Iterator[list[dict]]:
    """Yields batches of cases with similar lengths."""
    batch: list[dict] = []
    for case in sorted(cases, key=lambda case: len(case["token_ids"])):
        if batch and len(case["token_ids"]) * (len(batch) + 1) > MOST_SLOTS:
            yield batch
            batch = []
        batch.append(case)
    yield batch


def embed(graph: Graph, sequences: list[list[int]]) -> np.ndarray:
    """Returns the sequences' normalised vectors."""
    pooled = graph.run(plan(sequences, graph.model.graph.input))["embedding"]
    return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


def check(graph: Graph, cases: list[dict], least_cosine: float, most_difference: float = np.inf) -> None:
    """Compares the vectors of all cases with the golden ones."""
    for batch in batches(cases):
        found = embed(graph, [case["token_ids"] for case in batch])
        expected = np.array([case["embedding"] for case in batch])
        cosines = np.sum(found * expected, axis=1)
        worst = int(cosines.argmin())
        difference = np.abs(found - expected).max()
        print(f"batch of {len(batch)}: least cosine {cosines[worst]:.6f}, difference {difference:.1e}")
        assert cosines[worst] >= least_cosine, batch[worst]["text"][:80]
        assert difference <= most_difference


def interface(values: list) -> dict:
    """Returns the element types and dimensions of inputs or outputs by name."""
    types = {value.name: value.type.tensor_type for value in values}
    return {n: (t.elem_type, [d.dim_param or d.dim_value for d in t.shape.dim]) for n, t in types.items()}


@pytest.mark.parametrize(("precision", "form"), [(p, f) for p in TOLERANCES for f in INPUTS if (p, f) != NO_KERNEL])
def test_nano(convert: Callable[..., Path], precision: str, form: str) -> None:
    """Both forms of attention at every precision give the vectors of sentence-transformers."""
    graph = Graph(convert("models/nano", *for_cuda(precision, form)), IN_NUMPY)
    assert interface(graph.model.graph.input) == INPUTS[form]
    assert interface(graph.model.graph.output) == {"embedding": (FLOAT, ["B", 256])}
    check(graph, nano(), *TOLERANCES[precision])


@pytest.mark.parametrize("form", INPUTS)
def test_the_float8_graph_agrees_with_its_simulation(convert: Callable[..., Path], form: str) -> None:
    """`lexivec compare` measures fp8 on a CPU with a graph that widens each 8-bit float and multiplies in float32.

    Halfway between two e4m3 values, a difference of one bit in float32 becomes a relative difference of 1/8, which grows in
    later layers. So the graphs agree closely, except for the few, mostly long texts with an activation near such a midpoint.
    """
    simulated = Graph(convert("models/nano", "--ep=cpu", "--target=ort", "--precision=fp8"))
    cuda = Graph(convert("models/nano", *for_cuda("fp8", form), "--force"), IN_NUMPY, float16=False)
    # On CUDA, the cos and sin tables are in float16, which would change every activation.
    simulated.take_constants(cuda, "rotary.cos", "rotary.sin")
    cosines = []
    for batch in batches(nano()):
        sequences = [case["token_ids"] for case in batch]
        cosines.extend(np.sum(embed(cuda, sequences) * embed(simulated, sequences), axis=1))
    print(f"least cosine {min(cosines):.6f}, mean {np.mean(cosines):.6f}, median {np.median(cosines):.8f}")
    assert np.median(cosines) >= 0.999999
    assert min(cosines) >= 0.999


def test_nano_in_bfloat16_for_tensorrt(convert: Callable[..., Path]) -> None:
    """The only precision of TensorRT's graphs that tests/integration/golden.rs does not evaluate with ONNX Runtime."""
    graph = Graph(convert("models/nano", "--ep=tensorrt", "--precision=bf16"))
    check(graph, nano(), 0.9999)


@pytest.mark.parametrize("form", ["standard", "grouped"])
@pytest.mark.parametrize("family", ["qwen3", "qwen2", "llama", "mistral"])
def test_family(convert: Callable[..., Path], family: str, form: str) -> None:
    """The other families have biases, other head sizes, and attention without normalisation."""
    graph = Graph(convert(TINY / family, *for_cuda("fp16", form)), IN_NUMPY)
    check(graph, tiny(family), 0.9999)


def test_epsilon_reaches_attention(convert: Callable[..., Path], tmp_path: Path) -> None:
    """Both forms agree with an epsilon that is large enough to change the vectors."""
    cases = tiny("qwen3")
    checkpoint = shutil.copytree(TINY / "qwen3", tmp_path / "qwen3")
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    vectors = []
    for form in ("standard", "grouped"):
        graph = Graph(convert(checkpoint, *for_cuda("fp16", form), "--force"), IN_NUMPY)
        vectors.append(embed(graph, [case["token_ids"] for case in cases]))
    assert np.sum(vectors[0] * vectors[1], axis=1).min() >= 0.9999
    # The golden vectors have a small epsilon, so they must differ.
    assert np.sum(vectors[0] * [case["embedding"] for case in cases], axis=1).max() < 0.99


@pytest.mark.parametrize("family", ["qwen2", "llama", "mistral"])
def test_attention_in_numpy_changes_nothing(convert: Callable[..., Path], family: str) -> None:
    """Without normalisation, ONNX Runtime can evaluate the whole graph, and the split graph gives the same vectors."""
    model = convert(TINY / family, *for_cuda("fp16", "grouped"))
    sequences = [case["token_ids"] for case in tiny(family)]
    split, whole = embed(Graph(model, IN_NUMPY), sequences), embed(Graph(model), sequences)
    np.testing.assert_allclose(split, whole, rtol=0, atol=2e-3)
