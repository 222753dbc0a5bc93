#!/usr/bin/env python3
"""Checks server/deploy: its files with their own tools, its queries against a real server and a real Prometheus.

Makes a virtual environment below the cache folder, builds `lexivec`, and runs the tests beside this file. Prometheus
and Redis are taken from the machine, or unpacked from Debian's packages (tools.py). Arguments go to pytest.
"""

import os
import subprocess
import sys
import venv
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def environment() -> Path:
    """A virtual environment with requirements.txt; made once for each content of that file."""
    requirements = HERE / "requirements.txt"
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lexivec" / "deploy"
    folder = cache / sha256(requirements.read_bytes()).hexdigest()[:12]
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", "--requirement", requirements], check=True)
        (folder / "complete").touch()
    return folder / "bin"


def main() -> int:
    # Another program can be named, to check it without a build: LEXIVEC_PROGRAM=target/release/lexivec.
    program = os.environ.get("LEXIVEC_PROGRAM")
    if program is None:
        subprocess.run(["cargo", "build", "--bin", "lexivec", "--locked"], cwd=ROOT, check=True)
        program = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "lexivec"
    tools = environment()
    variables = os.environ | {"LEXIVEC_PROGRAM": str(program), "PATH": f"{tools}:{os.environ['PATH']}"}
    command = [tools / "python", "-m", "pytest", "-p", "no:cacheprovider", "--quiet", HERE, *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT, env=variables).returncode


if __name__ == "__main__":
    sys.exit(main())
