#!/usr/bin/env python3
"""Checks server/deploy: its files with their own tools, its queries against a real server and a real Prometheus.

Makes a virtual environment below the cache folder, builds `lexivec`, and runs the tests beside this file. Arguments go
to pytest. LEXIVEC_PROGRAM names another program than the one built.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
import suite  # noqa: E402  (needs the path)

HERE = Path(__file__).resolve().parent


def main() -> int:
    environment = suite.environment("deploy/python", HERE / "requirements.txt")
    # The tools of the environment are programs, too.
    return suite.pytest(HERE, environment, *sys.argv[1:], PATH=f"{environment / 'bin'}:{os.environ['PATH']}")


if __name__ == "__main__":
    suite.main(main)
