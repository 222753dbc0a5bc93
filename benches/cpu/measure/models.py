"""The models that systems load, made once from the checkpoint and below the cache folder."""

import filecmp
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

from .environments import Unavailable, python
from .settings import ROOT, WORKERS, Settings, cores

# Conversions: precision, target and layout. Random weights need no calibration, which changes no speed but may take an hour.
CONVERSIONS = {
    "int8-cpu": ("int8", "cpu", "packed"),
    "fp32-cpu": ("fp32", "cpu", "packed"),
    "int8-ort": ("int8", "ort", "packed"),
    "fp32-ort": ("fp32", "ort", "packed"),
    "int8-padded": ("int8", "ort", "padded"),
    "int8-standard": ("int8", "standard", "padded"),
    "fp32-standard": ("fp32", "standard", "padded"),
}
# Text of an error that is shown.
SHOWN = 400


def run(command: list[object]) -> None:
    """Runs a program. Raises Unavailable with the end of its errors."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"{Path(str(command[0])).name} exited with {done.returncode}: {done.stderr.strip()[-SHOWN:]}")


def once(path: Path, key: str, make: Callable[[Path], None]) -> Path:
    """Makes a file or folder unless it was completely made with the same `key`."""
    done = path.with_name(f"{path.name}.key")
    if not (path.exists() and done.exists() and done.read_text() == key):
        print(f"making {path} (once)", flush=True)
        done.unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path)
        done.write_text(key)
    return path


def digest(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_if_equal(file: Path, other: Path) -> None:
    """Replaces a file by a hard link to an equal one, because targets with the same weights would take gigabytes twice."""
    if other.exists() and not file.samefile(other) and filecmp.cmp(file, other, shallow=False):
        link = file.with_name("link")
        os.link(other, link)
        link.replace(file)


class Models:
    """Makes models when a system needs them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = settings.folder
        self.program = digest(settings.program)
        self.path = cache(self.path)

    def path(self, name: str) -> Path:
        """Returns the path of a model."""
        checkpoint = self.checkpoint()
        if name == "checkpoint":
            return checkpoint
        if name == "gguf":
            script = WORKERS / "to_gguf.py"
            command = [python("cpu"), script, checkpoint]
            return once(self.folder / "q8_0.gguf", digest(script), lambda path: run([*command, path]))
        if name == "nncf":
            source, script = self.path("fp32-standard"), WORKERS / "to_nncf.py"
            key = digest(source / "model.onnx") + digest(script)
            return once(self.folder / "nncf", key, lambda path: run([python("cpu"), script, source, path, cores()]))
        return once(self.folder / name, self.program, lambda path: self.convert(name, path))

    def checkpoint(self) -> Path:
        """Returns the checkpoint, after writing it if weights are random."""
        checkpoint = self.settings.checkpoint
        if self.settings.dry:
            return checkpoint
        script = ROOT / "tests" / "fixtures" / "random_checkpoint.py"
        command = [python("cpu"), script, "--shape", "0.6B", "--out"]
        return once(checkpoint, digest(script), lambda path: run([*command, path]))

    def convert(self, name: str, path: Path) -> None:
        """Converts the checkpoint with lexivec."""
        precision, target, layout = CONVERSIONS[name]
        options = ["--precision", precision, "--target", target, "--layout", layout, "--no-calibration", "--no-verify"]
        run([self.settings.program, "convert", self.checkpoint(), *options, "--output", path])
        for other in CONVERSIONS.keys() - {name}:
            link_if_equal(path / "model.onnx.data", self.folder / other / "model.onnx.data")
