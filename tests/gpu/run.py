#!/usr/bin/env python3
"""Runs `lexivec … --ep cuda` on a stand-in CUDA device, so that no GPU is needed: `make test-gpu`.

Builds the device (device/, C) and `lexivec`, makes a virtual environment below the cache folder, and runs the tests
beside this file. ONNX Runtime for GPUs must be in the cache folder (`make onnxruntime-gpu`). Arguments go to pytest.
LEXIVEC_PROGRAM names another program than the one built.

The stand-in device computes nothing. The tests show what the host side does with a card: operators and kernels, shapes
of products, copies, memory, errors. They show neither values nor speed.
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
