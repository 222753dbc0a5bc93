"""Fixtures for checkpoints and conversions."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import suite


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's folder and the sizes that tests need."""

    folder: Path
    layers: int
    hidden: int

    @classmethod
    def open(cls, folder: Path) -> "Checkpoint":
        """Reads config.json."""
        config = json.loads((folder / "config.json").read_text())
        return cls(folder, config["num_hidden_layers"], config["hidden_size"])


@pytest.fixture(scope="session")
def four_billion() -> Iterator[Path]:
    """Two random layers of Qwen3-Embedding-4B, with few tokens and positions to save time."""
    script = suite.ROOT / "tests" / "fixtures" / "random_checkpoint.py"
    sizes = ["--shape=4B", "--layers=2", "--vocabulary=16384", "--positions=4096"]
    with tempfile.TemporaryDirectory(prefix="lexivec-4B-") as folder:
        subprocess.run([sys.executable, script, *sizes, f"--out={folder}"], check=True, stdout=subprocess.DEVNULL)
        yield Path(folder)


@pytest.fixture(params=["nano", "4B"])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    """nano, and two layers of a 4B-sized model."""
    if request.param == "nano":
        return Checkpoint.open(suite.ROOT / "models" / "nano")
    return Checkpoint.open(request.getfixturevalue("four_billion"))


@pytest.fixture
def convert() -> Iterator[Callable[..., Path]]:
    """A function that converts a checkpoint and returns the graph's path. The graph, up to 1 GB, is removed after the test."""
    with tempfile.TemporaryDirectory(prefix="lexivec-tensorrt-") as folder:
        model = Path(folder) / "model"

        def run(checkpoint: Path, *options: str) -> Path:
            command = [suite.program(), "convert", checkpoint, "--no-verify", *options]
            subprocess.run([*command, "--output", model], check=True, stdout=subprocess.DEVNULL)
            return model / "model.onnx"

        yield run
