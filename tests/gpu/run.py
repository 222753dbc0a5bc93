#!/usr/bin/env python3
"""Tests `lexivec … --ep cuda` on a stand-in CUDA device, so that no GPU is needed: `make test-gpu`.

Builds the device (device/, C) and `lexivec`, creates a virtual environment in the cache folder, and runs the tests in this
folder. ONNX Runtime for GPUs must be in the cache folder (`make onnxruntime-gpu`). Arguments are passed to pytest. If
LEXIVEC_PROGRAM is set, it names the program to test, and nothing is built.

The stand-in device computes nothing. The tests check how the host uses a card: operators and kernels, shapes of matrix
multiplications, copies, memory and errors. They check neither values nor speed.
"""

import sys
from pathlib import Path

import standin
from standin import suite

HERE = Path(__file__).resolve().parent


def main() -> int:
    if not standin.onnxruntime().is_dir():
        sys.exit(f"{standin.onnxruntime()} is missing: run `make onnxruntime-gpu` first")
    environment = suite.environment("gpu/python", HERE / "requirements.txt")
    return suite.pytest(HERE, environment, *sys.argv[1:])


if __name__ == "__main__":
    suite.main(main)
