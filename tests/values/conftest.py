"""Conversions for GPUs."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import suite


@pytest.fixture
def convert() -> Iterator[Callable[..., Path]]:
    """A function that converts a checkpoint, a path from the root of the repository, and returns the graph."""
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
    """Replaces hard links by copies: the onnx package refuses to read weights from a file that has another name."""
    for file in folder.glob("*.safetensors"):
        copy = Path(shutil.copy(file, file.with_suffix(".copy")))
        copy.replace(file)
