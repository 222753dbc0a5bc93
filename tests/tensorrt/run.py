#!/usr/bin/env python3
"""Compiles the graphs written for TensorRT with TensorRT-RTX, which needs no GPU for that: `make test-tensorrt`.

Makes a virtual environment below the cache folder, builds `lexivec`, and runs the tests beside this file. Arguments go
to pytest. LEXIVEC_PROGRAM names another program than the one built.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
import suite  # noqa: E402  (needs the path)

HERE = Path(__file__).resolve().parent


def main() -> int:
    environment = suite.environment("tensorrt/python", HERE / "requirements.txt")
    return suite.pytest(HERE, environment, *sys.argv[1:])


if __name__ == "__main__":
    suite.main(main)
