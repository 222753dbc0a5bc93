"""Fixtures for conversions for GPUs."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import suite


@pytest.fixture
def convert() -> Iterator[Callable[..., Path]]:
    """A function that converts a checkpoint, given by its path in the repository, and returns the graph's path."""
    with tempfile.TemporaryDirectory(prefix="lexivec-values-") as folder:
        model = Path(folder) / "model"

        def run(checkpoint: str | Path, *options: str) -> Path:
            fast = ["--no-calibration", "--no-verify"]
            command = [suite.program(), "convert", suite.ROOT / checkpoint, *fast, *options, "--output", model]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            unlink(model)
            return model / "model.onnx"

        yield run


def unlink(folder: Path) -> None:
    """Replaces hard links by copies, because the onnx package rejects weights in files with several names."""
    for file in folder.glob("*.safetensors"):
        copy = Path(shutil.copy(file, file.with_suffix(".copy")))
        copy.replace(file)
