#!/usr/bin/env python3
"""Installs the Python servers that lexivec is compared with, once, into the cache folder; prints their interpreters.

environments/ has complete lock files: infinity.txt for `infinity-emb[server,torch]`, fastapi.txt for the imports of
server.py; benches/cpu has cpu.txt and llama.txt. All share an environment with PyTorch, which includes 5 GB of CUDA
libraries. Needs Python 3.11 with pip.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "python"))
import suite  # noqa: E402  (needs the path)


def environment(name: str, shared: Path | None = None, built: str | None = None) -> Path:
    """Returns an environment's folder, which sees the packages of `shared` as well.

    Creates the environment if it does not exist or its lock file has changed. The package `built` is built from its source.
    """
    locked = ["--only-binary=:all:", *([f"--no-binary={built}"] if built else []), "--no-deps"]
    folder = suite.environment(f"benches/{name}", HERE / "environments" / f"{name}.txt", *locked)
    # Old environments are removed, because they are large.
    suite.remove_others(folder)
    if shared:
        # Written every time, because the shared environment may have been recreated elsewhere.
        (packages(folder) / "shared.pth").write_text(f"{packages(shared)}\n")
    return folder


def packages(folder: Path) -> Path:
    """Returns the folder of an environment's packages."""
    return next(folder.glob("lib/python3*/site-packages"))


def main() -> int:
    torch = environment("torch")
    print(json.dumps({name: str(suite.python(environment(name, torch))) for name in ["fastapi", "infinity"]}))
    return 0


if __name__ == "__main__":
    suite.main(main)
