"""The Python environments of the workers, created once."""

import os
import subprocess
from functools import cache
from pathlib import Path

from .settings import ROOT, suite

import setup  # benches/peers/setup.py, which shares PyTorch between environments

# llama.cpp's library alone. ggml builds for this processor by default (GGML_NATIVE).
LLAMA = ["LLAVA_BUILD", "MTMD_BUILD", "LLAMA_CURL", "LLAMA_BUILD_TOOLS", "LLAMA_BUILD_EXAMPLES", "LLAMA_BUILD_TESTS", "LLAMA_BUILD_SERVER"]


class Unavailable(Exception):
    """A system cannot be measured here. The message says why."""


@cache
def python(environment: str) -> Path:
    """Returns the interpreter of an environment: `cpu`, `llama`, or `values`, which is that of `make test-values`."""
    if environment == "values":
        return suite.python(suite.environment("values/python", ROOT / "tests" / "values" / "requirements.txt"))
    try:
        torch = setup.environment("torch")
        if environment != "llama":
            return suite.python(setup.environment(environment, torch))
        os.environ["CMAKE_ARGS"] = " ".join(f"-D{option}=OFF" for option in LLAMA)
        return suite.python(setup.environment("llama", torch, built="llama-cpp-python"))
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"the environment {environment} could not be installed (exit code {error.returncode})") from None
