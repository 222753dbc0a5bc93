"""Code that the Python suites share: finds the program under test, and creates virtual environments in the cache folder."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# The environment variable that names the program to test.
PROGRAM = "LEXIVEC_PROGRAM"


def cache() -> Path:
    """Returns lexivec's cache folder: LEXIVEC_CACHE, XDG_CACHE_HOME/lexivec or ~/.cache/lexivec."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("LEXIVEC_CACHE") or home / "lexivec")


def program(*features: str) -> Path:
    """Returns the program under test: the one that LEXIVEC_PROGRAM names, or a build with the settings of `make test` and `features`."""
    if named := os.environ.get(PROGRAM):
        return Path(named).resolve()
    command = ["cargo", "build", "--quiet", "--bin", "lexivec", "--locked"]
    for feature in features:
        command += ["--features", f"lexivec-server/{feature}"]
    subprocess.run(command, cwd=ROOT, check=True)
    return (ROOT / os.environ.get("CARGO_TARGET_DIR", "target")).resolve() / "debug" / "lexivec"


def environment(
    name: str,
    requirements: Path,
    *options: str,
    also: object = None,
    install: Callable[[Path], None] = lambda folder: None,
    fresh: bool = False,
) -> Path:
    """Returns the folder of a virtual environment in the cache folder: `name` and a digest of the contents.

    The environment is created once for each content of `requirements`, with these `options` of pip. `fresh` recreates it.
    `install` adds contents that pip cannot install, which `also` describes for the digest.
    """
    listed = requirements.read_text()
    contents = " ".join(map(str, [sys.version_info[:2], *([] if also is None else [also]), listed]))
    folder = cache() / f"{name}-{hashlib.sha256(contents.encode()).hexdigest()[:12]}"
    complete = folder / "complete"
    if complete.exists() and not fresh:
        return folder
    print(f"setting up {folder} (once)", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    # The pip of this Python installs the packages, because Debian's Python has no ensurepip.
    venv.create(folder, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", python(folder), "--disable-pip-version-check", "install", "--quiet"]
    hashed = ["--require-hashes", "--no-deps", "--only-binary=:all:"] if "--hash=" in listed else []
    subprocess.run([*pip, *hashed, *options, "--requirement", requirements], check=True)
    install(folder)
    complete.touch()
    return folder


def served_at(line: str) -> str | None:
    """Returns the address of `lexivec serve`, if a line of its banner has it."""
    match = re.search(r"serving .* at (http://\S+)/v1", line)
    return match and match[1]


def python(folder: Path) -> Path:
    """Returns an environment's Python."""
    return folder / "bin" / "python"


def remove_others(folder: Path) -> None:
    """Removes environments with the same name and other contents."""
    name = folder.name.rpartition("-")[0]
    for other in set(folder.parent.glob(f"{name}-{'?' * 12}")) - {folder}:
        shutil.rmtree(other)


def pytest(folder: Path, environment: Path, *arguments: object, features: tuple[str, ...] = (), **variables: str) -> int:
    """Runs the tests of a folder, which can import this module, and returns pytest's exit code. The program is built with `features`."""
    variables |= {PROGRAM: str(program(*features)), "PYTHONPATH": str(HERE)}
    command = [python(environment), "-B", "-m", "pytest", "-p", "no:cacheprovider", "--quiet", folder, *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ | variables).returncode


def main(run: Callable[[], int]) -> NoReturn:
    """Ends this process with the exit code that `run` returns, and without a traceback if a command failed."""
    try:
        sys.exit(run())
    except subprocess.CalledProcessError as error:
        sys.exit(f"{Path(error.cmd[0]).name} failed with exit code {error.returncode}; its own message is above")
