#!/usr/bin/env python3
"""Sets up the Python servers that lexivec is measured beside, once, below the cache folder; prints their interpreters.

environments/ has a complete lock for each: infinity.txt is `infinity-emb[server,torch]`, fastapi.txt what server.py
imports. PyTorch comes with its CUDA libraries: each environment takes about 5 GB. Needs Python 3.11 with pip.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
CACHE = Path(os.environ.get("LEXIVEC_CACHE") or HOME / "lexivec") / "benches"


def environment(requirements: Path) -> Path:
    """The interpreter of an environment, made if it is not there or its lock has changed."""
    contents = f"{sys.version_info[:2]} {requirements.read_text()}"
    folder = CACHE / f"{requirements.stem}-{hashlib.sha256(contents.encode()).hexdigest()[:12]}"
    python, complete = folder / "bin" / "python", folder / "complete"
    if not complete.exists():
        print(f"setting up {requirements.stem} (once) in {folder}", file=sys.stderr)
        for old in CACHE.glob(f"{requirements.stem}-{'?' * 12}"):
            shutil.rmtree(old)
        # pip installs from outside: Debian's Python has venv and pip, and not ensurepip.
        venv.create(folder, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, "--only-binary=:all:", "--no-deps", "--requirement", requirements], check=True)
        complete.touch()
    return python


if __name__ == "__main__":
    locks = sorted((HERE / "environments").glob("*.txt"))
    try:
        print(json.dumps({lock.stem: str(environment(lock)) for lock in locks}))
    except subprocess.CalledProcessError as error:
        sys.exit(f"pip failed with exit code {error.returncode}; its own message is above")
