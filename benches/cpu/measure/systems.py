"""The systems under comparison."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class System:
    """A system: a worker, the model that it loads, and its arithmetic."""

    name: str
    label: str
    # A script in workers/, or `in_process`.
    worker: str
    # The name of the model, as in `models.py`.
    model: str
    # The type of the factors in linear layers: int8, bf16 or fp32.
    arithmetic: str
    # The least cosine to float32 with random weights, which quantisation moves more than trained ones.
    least_cosine: float
    # Environment of the worker, `cpu` or `llama`; none for Rust. A dry run uses the environment `values` instead.
    environment: str | None = None
    ours: bool = False


FP32, BF16, INT8 = 0.9999, 0.99, 0.99
# NNCF's activations have one static scale per tensor, which costs far more than a scale per token.
STATIC_INT8 = 0.95

SYSTEMS: Sequence[System] = (
    System("lexivec-int8", "lexivec int8", "in_process", "int8-cpu", "int8", INT8, ours=True),
    System("lexivec-int8-http", "lexivec int8, HTTP", "http_worker.py", "int8-cpu", "int8", INT8, "cpu", ours=True),
    System("lexivec-fp32", "lexivec fp32", "in_process", "fp32-cpu", "fp32", FP32, ours=True),
    System("lexivec-fp32-http", "lexivec fp32, HTTP", "http_worker.py", "fp32-cpu", "fp32", FP32, "cpu", ours=True),
    System("ort-int8", "ONNX Runtime int8 (lexivec --target ort)", "in_process", "int8-ort", "int8", INT8),
    System("ort-fp32", "ONNX Runtime fp32 (lexivec --target ort)", "in_process", "fp32-ort", "fp32", FP32),
    System("onnxruntime-int8", "onnxruntime int8, Python, padded graph", "onnxruntime_worker.py", "int8-padded", "int8", INT8, "cpu"),
    System("transformers-bf16", "transformers bf16", "torch_worker.py", "checkpoint", "bf16", BF16, "cpu"),
    System("transformers-fp32", "transformers fp32", "torch_worker.py", "checkpoint", "fp32", FP32, "cpu"),
    System("openvino-bf16", "OpenVINO bf16, our fp32 graph", "openvino_worker.py", "fp32-standard", "bf16", BF16, "cpu"),
    System("openvino-int8", "OpenVINO, our int8 graph", "openvino_worker.py", "int8-standard", "int8", INT8, "cpu"),
    System("openvino-nncf", "OpenVINO, int8 by NNCF", "openvino_worker.py", "nncf", "int8", STATIC_INT8, "cpu"),
    System("llama-q8_0", "llama.cpp q8_0", "llama_worker.py", "gguf", "int8", INT8, "llama"),
)
# Systems that a dry run measures: those whose environments the tests need anyway.
DRY = ("lexivec-int8", "lexivec-int8-http", "lexivec-fp32", "ort-fp32", "onnxruntime-int8")


def chosen(only: Sequence[str], dry: bool) -> list[System]:
    """Returns the systems whose names `only` lists; all if it is empty."""
    available = [system for system in SYSTEMS if not dry or system.name in DRY]
    names = [system.name for system in available]
    if unknown := set(only) - set(names):
        raise SystemExit(f"unknown system {', '.join(sorted(unknown))}; the systems are {', '.join(names)}")
    return [system for system in available if not only or system.name in only]


def reference(dry: bool) -> System:
    """Returns the system that computes the reference's vectors."""
    name = "ort-fp32" if dry else "transformers-fp32"
    return next(system for system in SYSTEMS if system.name == name)
