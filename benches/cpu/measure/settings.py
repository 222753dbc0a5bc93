"""The settings of a run, and its folders."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests" / "python"), str(ROOT / "benches" / "peers")]
import suite  # noqa: E402  (needs the path)

WORKERS = ROOT / "benches" / "cpu" / "workers"


@dataclass(frozen=True)
class Settings:
    """What is measured, how long, and where files are."""

    program: Path
    # Folder of the programs `in_process` and `peaks`.
    examples: Path
    out: Path
    rounds: int
    # Least time of a turn in seconds.
    seconds: float
    # Greatest time of one request in seconds.
    limit: float
    only: tuple[str, ...]
    dry: bool

    @property
    def folder(self) -> Path:
        """The folder of checkpoints and models, below the cache folder."""
        return suite.cache() / "bench-cpu" / ("dry" if self.dry else "0.6B")

    @property
    def checkpoint(self) -> Path:
        """The checkpoint: nano in a dry run, else one of random weights."""
        return ROOT / "models" / "nano" if self.dry else self.folder / "checkpoint"


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))
