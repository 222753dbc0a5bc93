#!/usr/bin/env python3
"""Installs the Python package into a fresh environment and serves nano from there: `make test-wheel`.

Builds a wheel of the unoptimised program, so that nothing is compiled twice; LEXIVEC_WHEEL names a finished wheel instead, such
as the one that `make wheel` builds. Prints one line per check; exit code 1 if any of them fails.
"""

import json
import operator
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
import suite  # noqa: E402  (needs the path)

HERE = Path(__file__).resolve().parent
SERVER = suite.ROOT / "server"
VERSION = re.compile(r"lexivec-([0-9.]+)-py3-none-[a-z0-9_.]+\.whl")
TEXTS = ["cardiac arrest", "myocardial infarction", "carburettor"]


def built(folder: Path) -> Path:
    """A wheel of the program as the other suites build it."""
    maturin = suite.environment("wheel/maturin", HERE / "requirements.txt") / "bin" / "maturin"
    command = [maturin, "build", "--quiet", "--profile", "dev", "--locked", "--out", folder]
    subprocess.run([*command, "--manifest-path", SERVER / "Cargo.toml"], cwd=suite.ROOT, check=True)
    return next(folder.glob("*.whl"))


class Installed:
    """The package in an environment of its own, with empty working and cache folders."""

    def __init__(self, wheel: Path, folder: Path):
        self.wheel = wheel
        self.environment = folder / "environment"
        self.working = folder / "working"
        self.working.mkdir()
        venv.create(self.environment, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", suite.python(self.environment), "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", "--only-binary=:all:", wheel], check=True)
        self.program = self.environment / "bin" / "lexivec"
        other = ("LEXIVEC_", "HF_", "ORT_", "LD_", "XDG_")
        variables = {name: value for name, value in os.environ.items() if not name.startswith(other)}
        # Nothing may come from the machine's caches, and nothing from a hub.
        offline = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
        self.variables = variables | offline | {"LEXIVEC_CACHE": str(folder / "cache")}

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        """Runs the program to its end."""
        command = [self.program, *arguments]
        return subprocess.run(command, cwd=self.working, env=self.variables, capture_output=True, text=True)


def version(installed: Installed) -> str:
    """`--version` is the wheel's."""
    said = installed.run("--version").stdout.strip()
    expected = f"lexivec {VERSION.fullmatch(installed.wheel.name)[1]}"
    assert said == expected, f"{said!r} is not {expected!r}"
    return said


def doctor(installed: Installed) -> str:
    """`doctor` finds the library of this environment, and says where."""
    result = installed.run("doctor", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    found = {finding["what"]: finding["value"] for finding in json.loads(result.stdout)}
    library = found["onnxruntime"]
    pinned = re.search(r'"onnxruntime==([0-9.]+)"', (SERVER / "pyproject.toml").read_text())[1]
    assert library.startswith(f"{pinned} at {installed.environment.resolve()}/lib/"), library
    assert "Python environment" in library, library
    return library.replace(str(installed.environment.resolve()), "ENV")


def serve(installed: Installed) -> str:
    """`serve nano` converts the model that came with the package, and answers."""
    started = time.monotonic()
    command = [installed.program, "serve", "nano", "--port", "0"]
    process = subprocess.Popen(
        command, cwd=installed.working, env=installed.variables, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            lines = []
            for line in process.stderr:
                lines.append(line)
                if match := re.search(r"serving nano .* at (http://\S+)/v1", line):
                    break
            else:
                raise AssertionError("".join(lines))
            seconds = time.monotonic() - started
            body = json.dumps({"model": "nano", "input": TEXTS}).encode()
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"{match[1]}/v1/embeddings", body, headers)
            with urllib.request.urlopen(request, timeout=60) as response:
                vectors = [item["embedding"] for item in json.load(response)["data"]]
        finally:
            process.terminate()
            rest = process.stderr.read()
    assert process.returncode == 0, f"exit code {process.returncode}\n{rest}"
    assert [len(vector) for vector in vectors] == [256] * 3
    near, far = (sum(map(operator.mul, vectors[0], vector)) for vector in vectors[1:])
    assert near > far, f"{near} is not above {far}"
    return f"ready after {seconds:.1f} s"


def folder_first(installed: Installed) -> str:
    """A folder `nano` of the working folder goes before the model that came with the package."""
    folder = installed.working / "nano"
    folder.mkdir()
    result = installed.run("convert", "nano")
    folder.rmdir()
    assert result.returncode == 1 and "nano/config.json is missing" in result.stderr, result.stderr
    return ""


def passes(check: Callable[[Installed], str], installed: Installed) -> bool:
    """Runs one check and prints its line."""
    try:
        print(f"pass  {check.__name__:14} {check(installed)}", flush=True)
        return True
    except AssertionError as failure:
        print(f"FAIL  {check.__name__:14} {check.__doc__}\n{failure}", flush=True)
        return False


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="lexivec-wheel-") as work:
        folder = Path(work)
        named = os.environ.get("LEXIVEC_WHEEL")
        wheel = Path(named).resolve() if named else built(folder)
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB", flush=True)
        installed = Installed(wheel, folder)
        passed = [passes(check, installed) for check in (version, doctor, serve, folder_first)]
    print(f"{sum(passed)} passed, {len(passed) - sum(passed)} failed")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    suite.main(main)
