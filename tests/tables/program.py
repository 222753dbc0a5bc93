"""The program under test."""

import subprocess

import suite

MODEL = suite.ROOT / "models" / "nano"


def lexivec(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([suite.program(), *map(str, arguments)], capture_output=True, text=True)


def embed(*arguments: object) -> None:
    done = lexivec("embed", MODEL, "--column", "term", "--dimensions", 32, *arguments)
    assert done.returncode == 0, done.stderr
