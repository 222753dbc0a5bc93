#!/usr/bin/env python3
"""Sets up the Python servers that lexivec is measured beside, once, below the cache folder; prints their interpreters.

environments/ has the complete locks: infinity.txt is `infinity-emb[server,torch]`, fastapi.txt what server.py imports.
Both find PyTorch, which comes with 5 GB of CUDA libraries, in an environment that they share. Needs Python 3.11 with pip.
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


def environment(name: str, shared: Path | None = None) -> Path:
    """The folder of an environment, made if it is not there or its lock has changed; it sees `shared`'s packages too."""
    requirements = HERE / "environments" / f"{name}.txt"
    contents = f"{sys.version_info[:2]} {requirements.read_text()}"
    folder = CACHE / f"{name}-{hashlib.sha256(contents.encode()).hexdigest()[:12]}"
    complete = folder / "complete"
    if not complete.exists():
        print(f"setting up {name} (once) in {folder}", file=sys.stderr)
        for old in CACHE.glob(f"{name}-{'?' * 12}"):
            shutil.rmtree(old)
        # pip installs from outside: Debian's Python has venv and pip, and not ensurepip.
        venv.create(folder, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "--disable-pip-version-check", "install"]
        locked = ["--quiet", "--only-binary=:all:", "--no-deps", "--requirement", requirements]
        subprocess.run([*pip, *locked], check=True)
        complete.touch()
    if shared:
        # Written again each time: the other environment may have been made anew.
        (packages(folder) / "shared.pth").write_text(f"{packages(shared)}\n")
    return folder


def packages(folder: Path) -> Path:
    """Where an environment's packages are."""
    return next(folder.glob("lib/python3*/site-packages"))


if __name__ == "__main__":
    try:
        torch = environment("torch")
        print(json.dumps({name: str(environment(name, torch) / "bin" / "python") for name in ["fastapi", "infinity"]}))
    except subprocess.CalledProcessError as error:
        sys.exit(f"pip failed with exit code {error.returncode}; its own message is above")
