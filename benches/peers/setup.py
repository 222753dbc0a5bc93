#!/usr/bin/env python3
"""Sets up the Python servers that lexivec is measured beside, once, below the cache folder; prints their interpreters.

environments/ has the complete locks: infinity.txt is `infinity-emb[server,torch]`, fastapi.txt what server.py imports.
Both find PyTorch, which comes with 5 GB of CUDA libraries, in an environment that they share. Needs Python 3.11 with pip.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "python"))
import suite  # noqa: E402  (needs the path)


def environment(name: str, shared: Path | None = None) -> Path:
    """The folder of an environment, made if it is not there or its lock has changed; it sees `shared`'s packages too."""
    locked = ["--only-binary=:all:", "--no-deps"]
    folder = suite.environment(f"benches/{name}", HERE / "environments" / f"{name}.txt", *locked)
    # They are large.
    suite.remove_others(folder)
    if shared:
        # Written again each time: the other environment may have been made anew.
        (packages(folder) / "shared.pth").write_text(f"{packages(shared)}\n")
    return folder


def packages(folder: Path) -> Path:
    """Where an environment's packages are."""
    return next(folder.glob("lib/python3*/site-packages"))


def main() -> int:
    torch = environment("torch")
    print(json.dumps({name: str(suite.python(environment(name, torch))) for name in ["fastapi", "infinity"]}))
    return 0


if __name__ == "__main__":
    suite.main(main)
