"""Runs schemathesis with what both of its scripts share."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from contract import DIRECT_URL

# The same requests every time, so that a failure is this change's. For others: LEXIVEC_SEED=2 make test-clients.
SEED = os.environ.get("LEXIVEC_SEED", "1")


def fuzz(schema: str, *flags: str) -> str:
    """What was run, in a few words; ends this process with what schemathesis said if it found something."""
    program = Path(sys.executable).with_name("schemathesis")
    command = [program, "run", schema, "--url", DIRECT_URL, "--seed", SEED, "--continue-on-failure", *flags]
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run(
            [*command, "--no-color", "--generation-database", "none", "--warnings", "off"],
            cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
    cases = re.search(r"(\d+) generated, (\d+) passed", result.stdout)
    if result.returncode != 0 or cases is None:
        sys.exit(f"{result.stdout}{result.stderr}")
    return cases[0]
