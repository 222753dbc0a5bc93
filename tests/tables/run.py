#!/usr/bin/env python3
"""Has other programs and vector databases read the Parquet files of `lexivec embed`, and has it read theirs and objects: `make test-tables`.

Creates a virtual environment in the cache folder, builds `lexivec` with its feature `object-store`, and runs the tests in this folder. Arguments are passed
to pytest. If LEXIVEC_PROGRAM is set, it names the program to test, and nothing is built.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
import suite  # noqa: E402  (needs the path)

HERE = Path(__file__).resolve().parent


def main() -> int:
    environment = suite.environment("tables/python", HERE / "requirements.txt")
    return suite.pytest(HERE, environment, *sys.argv[1:], features=("object-store",))


if __name__ == "__main__":
    suite.main(main)
