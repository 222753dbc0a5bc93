"""Checkpoints: nano, and the shape of Qwen3-Embedding-4B with zero weights that take no disk space."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from standin import ROOT

# Several shards, because lexivec hashes the files of a checkpoint in parallel.
SHARD_SIZE = 1_000_000_000

SCRIPT = ROOT / "tests" / "fixtures" / "random_checkpoint.py"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's folder, and the sizes that tests need."""

    folder: Path
    hidden: int
    layers: int

    @property
    def vector_bytes(self) -> int:
        """The bytes of an embedding in float32, which is the graph's output type."""
        return 4 * self.hidden


def nano() -> Checkpoint:
    """Returns the demonstration checkpoint."""
    return Checkpoint(ROOT / "models" / "nano", hidden=256, layers=6)


def sparse_4b(folder: Path, layers: int, vocabulary: int | None = None) -> Checkpoint:
    """Writes a sparse checkpoint of 4B size. `vocabulary` replaces the released number of tokens."""
    command = [sys.executable, "-B", SCRIPT, "--sparse", "--shape", "4B", "--layers", str(layers), "--out", folder]
    command += ["--vocabulary", str(vocabulary)] if vocabulary else []
    command += ["--shard-size", str(SHARD_SIZE)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return Checkpoint(folder, hidden=2560, layers=layers)
