#!/usr/bin/env python3
"""Checks server/deploy: its files with their own tools, its queries against a real server and a real Prometheus.

Makes a virtual environment below the cache folder, builds `lexivec`, and runs the tests beside this file. Arguments go
to pytest. LEXIVEC_PROGRAM names another program than the one built.
"""

import os
import subprocess
import sys
import venv
from hashlib import sha256
from pathlib import Path

from tools import CACHE

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def environment() -> Path:
    """The programs of a virtual environment with requirements.txt; made once for each content of that file."""
    requirements = HERE / "requirements.txt"
    folder = CACHE / f"python-{sha256(requirements.read_bytes()).hexdigest()[:12]}"
    if not (folder / "complete").exists():
        # pip installs from outside: Debian's Python has venv and pip, and not ensurepip.
        venv.create(folder, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", "--requirement", requirements], check=True)
        (folder / "complete").touch()
    return folder / "bin"


def build() -> Path:
    """Builds the program as `make test` does, so that one build serves both."""
    subprocess.run(["cargo", "build", "--quiet", "--bin", "lexivec", "--locked"], cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "lexivec"


def main() -> int:
    program = os.environ.get("LEXIVEC_PROGRAM") or build()
    tools = environment()
    variables = os.environ | {"LEXIVEC_PROGRAM": str(program), "PATH": f"{tools}:{os.environ['PATH']}"}
    command = [tools / "python", "-B", "-m", "pytest", "-p", "no:cacheprovider", "--quiet", HERE, *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT, env=variables).returncode


if __name__ == "__main__":
    sys.exit(main())
