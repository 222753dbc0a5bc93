"""Evaluates graphs for GPUs on a CPU: chosen operators in NumPy, all others in ONNX Runtime.

The graph is split at the chosen nodes. The parts between them run as separate models with the original operators and types.
Only bfloat16, for which the CPU has no kernels, and 8-bit floats between the models are widened to float32.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import NodeProto, TensorProto, helper, numpy_helper

Kernel = Callable[[NodeProto, list[np.ndarray | None]], list[np.ndarray]]


class Graph:
    """A model and the operators that NumPy evaluates.

    Without `float16`, float32 replaces the graph's float16.
    """

    def __init__(self, path: Path, kernels: dict[str, Kernel] | None = None, float16: bool = True) -> None:
        self.model = onnx.load(path)
        widen(self.model, {TensorProto.BFLOAT16} if float16 else {TensorProto.BFLOAT16, TensorProto.FLOAT16})
        self._kernels = kernels or {}
        self._constants = {t.name: t for t in self.model.graph.initializer}
        self._outputs = [output.name for output in self.model.graph.output]
        self._sessions: dict[int, onnxruntime.InferenceSession] = {}
        self._steps = self._cut()

    def take_constants(self, other: "Graph", *names: str) -> None:
        """Replaces weights by those with the same names in another graph."""
        for name in names:
            self._constants[name].CopyFrom(other._constants[name])

    def _cut(self) -> list[list[NodeProto]]:
        """Groups nodes into steps in the order of evaluation, by turns for ONNX Runtime and NumPy."""
        depth: dict[str, int] = {}
        steps: list[list[NodeProto]] = []
        for node in self.model.graph.node:
            # ONNX Runtime evaluates even steps, NumPy odd ones.
            step = max((depth.get(name, 0) for name in node.input), default=0)
            step += (step % 2 == 0) == (node.op_type in self._kernels)
            depth.update(dict.fromkeys(node.output, step))
            steps += [[] for _ in range(step + 1 - len(steps))]
            steps[step].append(node)
        return steps

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs by name. Raises ValueError if the inputs are not those of the graph."""
        if inputs.keys() != {i.name for i in self.model.graph.input}:
            raise ValueError(f"the graph takes {[i.name for i in self.model.graph.input]}")
        values = dict(inputs)
        for step, nodes in enumerate(self._steps):
            if step % 2 == 0:
                values |= self._run_between(step, values) if nodes else {}
                continue
            for node in nodes:
                arguments = [self._value(name, values) if name else None for name in node.input]
                values |= zip(node.output, self._kernels[node.op_type](node, arguments), strict=True)
        return {name: values[name] for name in self._outputs}

    def _value(self, name: str, values: dict[str, np.ndarray]) -> np.ndarray:
        return values[name] if name in values else numpy_helper.to_array(self._constants[name])

    def _run_between(self, step: int, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a step in ONNX Runtime; returns the values that later steps read."""
        nodes = self._steps[step]
        made = {name for node in nodes for name in node.output}
        read = {name for node in nodes for name in node.input}
        later = {name for nodes in self._steps[step + 1 :] for node in nodes for name in node.input}
        # An omitted output or input has an empty name.
        wanted = sorted(made & (later | set(self._outputs)) - {""})
        fed = {name: values[name] for name in sorted(read & values.keys())}
        if step not in self._sessions:
            types = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in fed.items()}
            graph = helper.make_graph(
                nodes,
                f"step {step}",
                [helper.make_tensor_value_info(n, types[n], [None] * fed[n].ndim) for n in fed],
                [onnx.ValueInfoProto(name=name) for name in wanted],
                [self._constants[name] for name in sorted(read & self._constants.keys())],
            )
            model = helper.make_model(
                graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version
            )
            self._sessions[step] = session(model)
        return dict(zip(wanted, self._sessions[step].run(wanted, fed), strict=True))


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Creates a session on the CPU."""
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def widen(model: onnx.ModelProto, narrow: set[int]) -> None:
    """Replaces the types in `narrow` by float32, and 8-bit floats as well, which NumPy does not have.

    Arithmetic becomes more precise. Activations are still rounded to 8-bit floats and then widened.
    """
    for tensor in model.graph.initializer:
        if tensor.data_type in narrow:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        for attribute in node.attribute:
            if (node.op_type, attribute.name) not in {("Cast", "to"), ("GemmFloat8", "dtype")}:
                continue
            if attribute.i in narrow:
                attribute.i = TensorProto.FLOAT
            if attribute.i == TensorProto.FLOAT8E4M3FN:
                (name,) = node.output
                node.output[0] = f"{name}, rounded"
                nodes.append(helper.make_node("Cast", [node.output[0]], [name], to=TensorProto.FLOAT))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
