"""What the suites in Python share: the program under test, and virtual environments below the cache folder."""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# Names another program than the one built.
PROGRAM = "LEXIVEC_PROGRAM"


def cache() -> Path:
    """The cache folder, as lexivec finds it: LEXIVEC_CACHE, XDG_CACHE_HOME/lexivec, ~/.cache/lexivec."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("LEXIVEC_CACHE") or home / "lexivec")


def program() -> Path:
    """The program under test: what LEXIVEC_PROGRAM names, or a build as `make test` does it, so that one serves both."""
    if named := os.environ.get(PROGRAM):
        return Path(named).resolve()
    subprocess.run(["cargo", "build", "--quiet", "--bin", "lexivec", "--locked"], cwd=ROOT, check=True)
    return (ROOT / os.environ.get("CARGO_TARGET_DIR", "target")).resolve() / "debug" / "lexivec"


def environment(
    name: str,
    requirements: Path,
    *options: str,
    also: object = None,
    install: Callable[[Path], None] = lambda folder: None,
    fresh: bool = False,
) -> Path:
    """The folder of a virtual environment: `name` and a digest of the contents, below the cache folder.

    It is made once for each content of `requirements`, with these `options` of pip; `fresh` makes it again. `install`
    installs what else belongs to the environment, which `also` describes.
    """
    listed = requirements.read_text()
    contents = " ".join(map(str, [sys.version_info[:2], *([] if also is None else [also]), listed]))
    folder = cache() / f"{name}-{hashlib.sha256(contents.encode()).hexdigest()[:12]}"
    complete = folder / "complete"
    if complete.exists() and not fresh:
        return folder
    print(f"setting up {folder} (once)", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    # pip installs from outside: Debian's Python has venv and pip, and not ensurepip.
    venv.create(folder, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", python(folder), "--disable-pip-version-check", "install", "--quiet"]
    hashed = ["--require-hashes", "--no-deps", "--only-binary=:all:"] if "--hash=" in listed else []
    subprocess.run([*pip, *hashed, *options, "--requirement", requirements], check=True)
    install(folder)
    complete.touch()
    return folder


def python(folder: Path) -> Path:
    """An environment's Python."""
    return folder / "bin" / "python"


def remove_others(folder: Path) -> None:
    """Removes environments of the same name with other contents."""
    name = folder.name.rpartition("-")[0]
    for other in set(folder.parent.glob(f"{name}-{'?' * 12}")) - {folder}:
        shutil.rmtree(other)


def pytest(folder: Path, environment: Path, *arguments: object, **variables: str) -> int:
    """Runs the tests of a folder, which can import this module, and returns the exit code."""
    variables |= {PROGRAM: str(program()), "PYTHONPATH": str(HERE)}
    command = [python(environment), "-B", "-m", "pytest", "-p", "no:cacheprovider", "--quiet", folder, *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ | variables).returncode


def main(run: Callable[[], int]) -> NoReturn:
    """Ends this process with the exit code that `run` returns, and without a traceback where a command failed."""
    try:
        sys.exit(run())
    except subprocess.CalledProcessError as error:
        sys.exit(f"{Path(error.cmd[0]).name} failed with exit code {error.returncode}; its own message is above")
