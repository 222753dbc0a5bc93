#!/usr/bin/env python3
"""Runs the recipes for Daft, Ray Data and Spark (server/recipes) against a real server: `make test-recipes`.

Installs Debian's Java for Spark if there is none, creates a virtual environment in the cache folder, builds `lexivec`, and runs the
tests in this folder. Arguments are passed to pytest. If LEXIVEC_PROGRAM is set, it names the program to test, and nothing is built.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
import suite  # noqa: E402  (needs the path)

HERE = Path(__file__).resolve().parent
JAVA = "openjdk-17-jre-headless"


def java() -> None:
    """Installs Java, which Spark needs."""
    if shutil.which("java"):
        return
    if not shutil.which("apt-get") or os.geteuid() != 0:
        sys.exit(f"java is missing; on Debian: sudo apt-get install {JAVA}")
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}}
    subprocess.run(["apt-get", "update", "--quiet"], **quiet)
    subprocess.run(["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", JAVA], **quiet)


def main() -> int:
    java()
    return suite.pytest(HERE, suite.environment("recipes/python", HERE / "requirements.txt"), *sys.argv[1:])


if __name__ == "__main__":
    suite.main(main)
