"""Builds the stand-in CUDA device, and the environment of a program that runs on it."""

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

# gnu2x, because functions leave out the names of parameters that they ignore.
FLAGS = "-std=gnu2x -O1 -Wall -Wextra -shared -fPIC -Wl,-z,defs".split()
# Each library's sources and its map of symbol versions. The first one is linked into the others.
LIBRARIES = {
    "libcudart.so.13": ("cudart/*.c", "cudart.map"),
    "libcublas.so.13": ("cublas.c", "cublas.map"),
    "libcublasLt.so.13": ("cublaslt.c", "cublaslt.map"),
    "libcurand.so.10": ("curand.c", None),
    "libcuda.so.1": ("cuda.c", None),
}


def onnxruntime() -> Path:
    """The folder that `make onnxruntime-gpu` fills."""
    pinned = (ROOT / "runtime" / "setup" / "gpu.txt").read_text()
    return CACHE / "onnxruntime-gpu" / re.search(r"==([0-9.]+)", pinned)[1]


def build(folder: Path) -> str:
    """Builds all libraries into `folder`; returns what the compiler printed, which is nothing."""
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
    """The environment of a program on the device. The caller's own settings of lexivec do not reach it."""
    ours = ("LEXIVEC_", "ORT_", "CUDA_", "STANDIN_CUDA_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    kept |= {"LEXIVEC_CACHE": str(CACHE), "LD_LIBRARY_PATH": str(libraries)}
    settings = {"LOG": log, "DEVICES": devices, "MEMORY": memory, "SKIP_COPIES": skip_copies}
    return kept | {f"STANDIN_CUDA_{name}": str(value) for name, value in settings.items() if value is not None}
