"""Uses TensorRT-RTX without a GPU: its importer parses a graph, and its builder compiles the graph ahead of time.

The builder accepts compute capabilities 7.5, 8.0, 8.6, 8.9, 12.0 and 12.1. It rejects 9.0, that of an H100. Loading and
running an engine needs a GPU.
"""

import ctypes
import importlib.util
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PROVIDER = "onnxruntime_ep_nv_tensorrt_rtx"
# Without 7.5 (T4, RTX 20), which has no bfloat16. fp32 and int8 graphs of a bfloat16 checkpoint keep its embedding table.
CAPABILITIES = ("SM80", "SM86", "SM89", "SM120")

Ranges = dict[str, tuple[int, int, int]]


def load_libraries() -> None:
    """Loads the libraries from the provider's wheel, so that the bindings find them without LD_LIBRARY_PATH."""
    (folder,) = importlib.util.find_spec(PROVIDER).submodule_search_locations
    for name in ("libtensorrt_rtx.so", "libtensorrt_onnxparser_rtx.so"):
        (library,) = Path(folder).glob(f"{name}.*")
        ctypes.CDLL(str(library))


load_libraries()
import tensorrt_rtx_bindings as trt  # noqa: E402  (needs the libraries)


class Log(trt.ILogger):
    """Collects warnings and errors. The library only uses the first logger that it gets, so all networks share it."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def log(self, severity: trt.ILogger.Severity, message: str) -> None:
        """Called by TensorRT."""
        if severity <= trt.ILogger.WARNING:
            self.messages.append(f"{severity.name}: {message}")

    def complaints(self) -> list[str]:
        """Returns warnings and errors, except the warning for every int64 input."""
        return [m for m in self.messages if not m.endswith("has Int64 binding.")]


LOG = Log()


class Network:
    """An ONNX graph that TensorRT has imported."""

    def __init__(self, model: Path) -> None:
        """Imports the graph. Raises ValueError with the nodes' names if the importer rejects it."""
        LOG.messages.clear()
        self._builder = trt.Builder(LOG)
        # Layers may only run in the precision of the graph.
        strongly_typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        self._network = self._builder.create_network(strongly_typed)
        self._parser = trt.OnnxParser(self._network, LOG)  # owns the weights that the network refers to
        if not self._parser.parse_from_file(str(model)):
            errors = [self._parser.get_error(i) for i in range(self._parser.num_errors)]
            raise ValueError("; ".join(f"{e.node_name()}: {e.desc()}" for e in errors))

    def inputs(self) -> dict[str, tuple[str, list[str]]]:
        """Returns the element type and the named dimensions of each input."""
        tensors = [self._network.get_input(i) for i in range(self._network.num_inputs)]
        return {x.name: (x.dtype.name, [x.get_dimension_name(i) for i in range(len(x.shape))]) for x in tensors}

    def outputs(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Returns the element type and the shape of each output; -1 is a dynamic dimension."""
        tensors = [self._network.get_output(i) for i in range(self._network.num_outputs)]
        return {x.name: (x.dtype.name, tuple(x.shape)) for x in tensors}

    def layers(self) -> Iterator[trt.ILayer]:
        """Yields TensorRT's layers. An ONNX node becomes one or several of them."""
        return (self._network.get_layer(i) for i in range(self._network.num_layers))

    def kinds(self) -> Counter[str]:
        """Returns the number of layers of each kind."""
        return Counter(layer.type.name for layer in self.layers())

    def input_types(self, kind: str) -> set[str]:
        """Returns the element types of the first input of all layers of a kind, which is the query for attention."""
        return {layer.get_input(0).dtype.name for layer in self.layers() if layer.type.name == kind}

    def build(self, *profiles: Ranges) -> int:
        """Compiles one engine for all of CAPABILITIES and returns its size in bytes.

        Each profile has the minimum, the optimum and the maximum of every dynamic dimension. Raises ValueError with
        TensorRT's message if one of the capabilities cannot run the graph.
        """
        config = self._builder.create_builder_config()
        config.num_compute_capabilities = len(CAPABILITIES)
        for index, name in enumerate(CAPABILITIES):
            if not config.set_compute_capability(getattr(trt.ComputeCapability, name), index):
                raise ValueError(f"TensorRT-RTX rejects {name}")
        for ranges in profiles:
            config.add_optimization_profile(self._profile(ranges))
        engine = self._builder.build_serialized_network(self._network, config)
        if engine is None:
            raise ValueError("; ".join(LOG.complaints()))
        return engine.nbytes

    def _profile(self, ranges: Ranges) -> trt.IOptimizationProfile:
        profile = self._builder.create_optimization_profile()
        for name, (_, dimensions) in self.inputs().items():
            profile.set_shape(name, *zip(*(ranges[dimension] for dimension in dimensions), strict=True))
        return profile
