"""Fixtures for the stand-in device, checkpoints, and models that are converted for it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import checkpoints
import standin
from checkpoints import Checkpoint
from program import Device
from recorded import Form


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the stand-in libraries, without compiler warnings."""
    folder = tmp_path_factory.mktemp("libraries")
    assert standin.build(folder) == ""
    return folder


@pytest.fixture(scope="session")
def device(libraries: Path, tmp_path_factory: pytest.TempPathFactory) -> Device:
    """A runner of `lexivec` on a stand-in device."""
    return Device(libraries, tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="session")
def models(device: Device, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Models"]:
    """Checkpoints and their conversions, which are removed after the last test."""
    folder = tmp_path_factory.mktemp("models")
    yield Models(device, folder)
    # pytest would keep these large folders for three runs.
    shutil.rmtree(folder)


class Models:
    """Converts each model once, when a test first needs it."""

    def __init__(self, device: Device, folder: Path) -> None:
        self._device, self._folder = device, folder
        self._checkpoints: dict[str, Checkpoint] = {"nano": checkpoints.nano()}

    def checkpoint(self, name: str) -> Checkpoint:
        """Returns `nano`, `4B` (sparse), or the first layers of `4B` (with nano's vocabulary)."""
        if name not in self._checkpoints:
            layers, vocabulary = {"4B": (36, None), "4B, two layers": (2, 16_384), "4B, four layers": (4, 16_384)}[name]
            folder = self._folder / f"checkpoint-{layers}"
            self._checkpoints[name] = checkpoints.sparse_4b(folder, layers, vocabulary)
        return self._checkpoints[name]

    def converted(self, name: str, form: Form) -> Path:
        """Returns the model directory of a checkpoint in a form."""
        checkpoint = self.checkpoint(name)
        output = self._folder / f"{checkpoint.folder.name}-{form}"
        if not output.exists():
            self._device.convert(checkpoint.folder, output, form.precision, form.attention)
        return output

    def discard(self, name: str, form: Form) -> None:
        """Removes a model directory that no other test needs."""
        shutil.rmtree(self._folder / f"{self.checkpoint(name).folder.name}-{form}", ignore_errors=True)
