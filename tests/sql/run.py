#!/usr/bin/env python3
"""Runs SQL with `embed(…)` on this machine and on clusters of processes on loopback: `make test-sql`.

Creates a virtual environment in the cache folder, builds `lexivec` and `lexivec-sql` (server/sql), runs the unit tests of the latter, and runs the tests in this folder. Arguments are
passed to pytest. LEXIVEC_PROGRAM and LEXIVEC_SQL_PROGRAM name programs to test; what they name is not built.
"""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
import suite  # noqa: E402  (needs the path)

HERE = Path(__file__).resolve().parent
PROGRAM = "LEXIVEC_SQL_PROGRAM"


def program() -> Path:
    """Returns `lexivec-sql`: the one that LEXIVEC_SQL_PROGRAM names, or a build for tests, which cannot download models."""
    if named := os.environ.get(PROGRAM):
        return Path(named).resolve()
    # clippy compiles as rustc does, so the crate is linted without a second build of its 400 dependencies.
    clippy = {"RUSTC_WORKSPACE_WRAPPER": "clippy-driver", "RUSTFLAGS": "-D warnings"}
    target = (suite.ROOT / os.environ.get("CARGO_TARGET_DIR", "target")).resolve() / "sql"
    for command in ("build", "test"):
        flags = ["--quiet", "--locked", "--no-default-features", "--target-dir", target]
        subprocess.run(["cargo", command, *flags], cwd=suite.ROOT / "server" / "sql", env=os.environ | clippy, check=True)
    return target / "debug" / "lexivec-sql"


def main() -> int:
    environment = suite.environment("sql/python", HERE / "requirements.txt")
    return suite.pytest(HERE, environment, *sys.argv[1:], **{PROGRAM: str(program())})


if __name__ == "__main__":
    suite.main(main)
