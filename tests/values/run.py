#!/usr/bin/env python3
"""Computes the graphs written for the CUDA provider on a CPU, against golden vectors: `make test-values`.

Makes a virtual environment below the cache folder, builds `lexivec`, and runs the tests beside this file. Arguments go
to pytest. LEXIVEC_PROGRAM names another program than the one built.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
import suite  # noqa: E402  (needs the path)

HERE = Path(__file__).resolve().parent


def main() -> int:
    environment = suite.environment("values/python", HERE / "requirements.txt")
    # More threads only wait for each other: the matrices are small.
    return suite.pytest(HERE, environment, *sys.argv[1:], OPENBLAS_NUM_THREADS="1")


if __name__ == "__main__":
    suite.main(main)
