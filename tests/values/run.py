#!/usr/bin/env python3
"""Computes the graphs written for the CUDA provider on a CPU, against golden vectors: `make test-values`.

Makes a virtual environment below the cache folder, builds `lexivec`, and runs the tests beside this file. Arguments go
to pytest. LEXIVEC_PROGRAM names another program than the one built.
"""

import os
import subprocess
import sys
import venv
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
CACHE = Path(os.environ.get("LEXIVEC_CACHE") or HOME / "lexivec") / HERE.name


def environment() -> Path:
    """The Python of a virtual environment with requirements.txt; made once for each content of that file."""
    requirements = HERE / "requirements.txt"
    contents = f"{sys.version_info[:2]} {requirements.read_text()}"
    folder = CACHE / f"python-{sha256(contents.encode()).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        # pip installs from outside: Debian's Python has venv and pip, and not ensurepip.
        venv.create(folder, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--quiet"]
        locked = ["--no-deps", "--only-binary=:all:", "--require-hashes"]
        subprocess.run([*pip, *locked, "--requirement", requirements], check=True)
        (folder / "complete").touch()
    return python


def build() -> Path:
    """Builds the program as `make test` does, so that one build serves both."""
    subprocess.run(["cargo", "build", "--quiet", "--bin", "lexivec", "--locked"], cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "lexivec"


def main() -> int:
    program = Path(os.environ.get("LEXIVEC_PROGRAM") or build()).resolve()
    command = [environment(), "-B", "-m", "pytest", "-p", "no:cacheprovider", "--quiet", HERE, *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"LEXIVEC_PROGRAM": str(program)}).returncode


if __name__ == "__main__":
    sys.exit(main())
