"""Builds the stand-in CUDA device, and creates environments for programs that run on it."""

import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
import suite  # noqa: E402  (needs the path)

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SOURCES = HERE / "device"
CACHE = suite.cache()

# gnu2x allows functions to omit the names of unused parameters.
FLAGS = "-std=gnu2x -O1 -Wall -Wextra -shared -fPIC -Wl,-z,defs".split()
# Each library's sources and its map of symbol versions. The others link to the first one.
LIBRARIES = {
    "libcudart.so.13": ("cudart/*.c", "cudart.map"),
    "libcublas.so.13": ("cublas.c", "cublas.map"),
    "libcublasLt.so.13": ("cublaslt.c", "cublaslt.map"),
    "libcurand.so.10": ("curand.c", None),
    "libcuda.so.1": ("cuda.c", None),
}


def onnxruntime() -> Path:
    """Returns the folder that `make onnxruntime-gpu` fills."""
    pinned = (ROOT / "runtime" / "setup" / "gpu.txt").read_text()
    return CACHE / "onnxruntime-gpu" / re.search(r"==([0-9.]+)", pinned)[1]


def build(folder: Path) -> str:
    """Builds all libraries in `folder`; returns the compiler's output, which should be empty."""
    printed = ""
    for name, (sources, version_map) in LIBRARIES.items():
        command = [os.environ.get("CC", "cc"), *FLAGS, f"-Wl,-soname,{name}", *sorted(SOURCES.glob(sources))]
        if version_map:
            command.append(f"-Wl,--version-script={SOURCES / version_map}")
        first = next(iter(LIBRARIES))
        command += ["-lpthread", "-ldl"] if name == first else [f"-L{folder}", f"-l:{first}"]
        done = subprocess.run([*command, "-o", folder / name], capture_output=True, text=True)
        printed += done.stdout + done.stderr
        if done.returncode != 0:
            raise RuntimeError(f"{name} cannot be built:\n{done.stderr}")
    return printed


def variables(
    libraries: Path, log: Path, devices: int = 1, memory: int | None = None, skip_copies: int | None = None
) -> dict[str, str]:
    """Returns the environment of a program on the device, without the caller's settings for lexivec."""
    ours = ("LEXIVEC_", "ORT_", "CUDA_", "STANDIN_CUDA_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    kept |= {"LEXIVEC_CACHE": str(CACHE), "LD_LIBRARY_PATH": str(libraries)}
    settings = {"LOG": log, "DEVICES": devices, "MEMORY": memory, "SKIP_COPIES": skip_copies}
    return kept | {f"STANDIN_CUDA_{name}": str(value) for name, value in settings.items() if value is not None}
