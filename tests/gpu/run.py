#!/usr/bin/env python3
"""Runs `lexivec … --ep cuda` on a stand-in CUDA device, so that no GPU is needed: `make test-gpu`.

Builds the device (device/, C) and `lexivec`, makes a virtual environment below the cache folder, and runs the tests
beside this file. ONNX Runtime for GPUs must be in the cache folder (`make onnxruntime-gpu`). Arguments go to pytest.
LEXIVEC_PROGRAM names another program than the one built.

The stand-in device computes nothing. The tests show what the host side does with a card: operators and kernels, shapes
of products, copies, memory, errors. They show neither values nor speed.
"""

import os
import subprocess
import sys
import venv
from hashlib import sha256
from pathlib import Path

import standin

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def environment() -> Path:
    """The Python of a virtual environment with requirements.txt; made once for each content of that file."""
    requirements = HERE / "requirements.txt"
    folder = standin.CACHE / "gpu" / f"python-{sha256(requirements.read_bytes()).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        # This Python's pip installs into it, because Debian's Python has no ensurepip.
        venv.create(folder, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", "--requirement", requirements], check=True)
        (folder / "complete").touch()
    return python


def build() -> Path:
    """Builds the program as `make test` does, so that one build serves both."""
    subprocess.run(["cargo", "build", "--quiet", "--bin", "lexivec", "--locked"], cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "lexivec"


def main() -> int:
    if not standin.onnxruntime().is_dir():
        sys.exit(f"{standin.onnxruntime()} is missing: run `make onnxruntime-gpu` first")
    program = os.environ.get("LEXIVEC_PROGRAM") or build()
    variables = os.environ | {"LEXIVEC_PROGRAM": str(Path(program).resolve())}
    command = [environment(), "-B", "-m", "pytest", "-p", "no:cacheprovider", "--quiet", HERE, *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT, env=variables).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"{Path(error.cmd[0]).name} failed with exit code {error.returncode}; its own message is above")
