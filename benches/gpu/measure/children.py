"""Child processes that end when this process ends for any reason, because a server would otherwise hold the card's memory."""

import ctypes
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .results import Skip

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def die_with_parent() -> None:
    """Makes this process end with its parent. Runs in the child before its program starts."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def has_modules(*names: str) -> bool:
    """Whether this Python can import the modules. A child process tries it, because torch takes memory."""
    code = "; ".join(f"import {name}" for name in names)
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def require_modules(*names: str) -> None:
    """Skips the step if a module is not installed."""
    missing = [name for name in names if not has_modules(name)]
    if missing:
        raise Skip(f"needs {', '.join(missing)}")


def require_files(*files: Path) -> None:
    """Skips the step if an earlier step did not write these files."""
    missing = [file.name for file in files if not file.exists()]
    if missing:
        raise Skip(f"needs {', '.join(missing)} of an earlier step")


def script(name: str) -> Path:
    """Returns the path of a program in this folder."""
    return Path(__file__).with_name(name)


def run_script(name: str, *arguments: object, timeout: float) -> dict:
    """Runs a torch program of this folder and returns the JSON object that it prints last."""
    command = [sys.executable, str(script(name)), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, preexec_fn=die_with_parent)
    if done.returncode:
        raise RuntimeError(f"{name} exited with {done.returncode}: {' '.join(done.stderr.strip().splitlines()[-4:])}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def wait_until(true: Callable[[], bool], process: subprocess.Popen, seconds: float, what: str) -> None:
    """Waits until a condition holds. Raises RuntimeError if the process ends first or the time runs out."""
    end = time.monotonic() + seconds
    while not true():
        if process.poll() is not None:
            raise RuntimeError(f"{what} exited with {process.returncode}")
        if time.monotonic() > end:
            raise RuntimeError(f"{what} was not ready after {seconds:.0f} s")
        time.sleep(0.1)
