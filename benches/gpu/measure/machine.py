"""The machine: CUDA's libraries, the card, its memory."""

import ctypes.util
import os
import re
import statistics
import subprocess
import sys
import threading
from pathlib import Path

# What the CUDA provider links. cuDNN is opened only by operators that need it.
NEEDED = ["libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13", "libcurand.so.10", "libcuda.so.1"]
OPTIONAL = ["libcudnn.so.9"]


def candidate_folders() -> list[Path]:
    """Folders that may hold CUDA's libraries, in order of preference."""
    folders = [Path(name) for name in os.environ.get("LD_LIBRARY_PATH", "").split(":") if name]
    for site in sys.path:
        # CUDA 13's pip packages share nvidia/cu13/lib; older ones have a folder each.
        folders += sorted(Path(site or ".").glob("nvidia/*/lib"))
    for pattern in ("cuda/lib64", "cuda-13*/lib64", "cuda*/targets/x86_64-linux/lib", "nvidia/lib64"):
        folders += sorted(Path("/usr/local").glob(pattern))
    folders += [Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib64")]
    return [folder for folder in folders if folder.is_dir()]


def libraries(dry: bool) -> dict[str, Path | None]:
    """Where each library of CUDA is; None for one that is not found.

    A dry run takes the stand-in's libraries alone: a real cuDNN fails on a device that is not there.
    """
    folders = candidate_folders()
    found: dict[str, Path | None] = {}
    for name in NEEDED if dry else NEEDED + OPTIONAL:
        files = [folder / name for folder in folders if (folder / name).exists()]
        found[name] = files[0] if files else None
        if not files and loader_finds(name):
            found[name] = Path(name)
    return found


def loader_finds(name: str) -> bool:
    """Whether the dynamic loader finds a library by itself, as is usual for the driver's."""
    return ctypes.util.find_library(name.removeprefix("lib").split(".")[0]) == name


def environment(found: dict[str, Path | None]) -> dict[str, str]:
    """The environment in which lexivec finds these libraries."""
    folders = [str(file.parent) for file in found.values() if file and file.is_absolute()]
    inherited = [name for name in os.environ.get("LD_LIBRARY_PATH", "").split(":") if name]
    path = list(dict.fromkeys(folders + inherited))
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(path)}


def query(fields: str) -> list[str] | None:
    """What nvidia-smi says of the first card; None where there is no nvidia-smi."""
    command = ["nvidia-smi", "--id=0", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return [value.strip() for value in output.strip().splitlines()[0].split(",")]


def card() -> dict[str, object]:
    """Name, memory and driver of the card, and who else is on the machine."""
    answer = query("name,memory.total,memory.used,driver_version,power.limit,clocks.max.sm")
    names = ["name", "memory_mib", "used_mib", "driver", "power_limit_w", "max_clock_mhz"]
    return dict(zip(names, answer)) if answer else {"name": "no nvidia-smi"}


class MemoryWatch:
    """The most memory that the card has in use while the watch runs, in MiB, sampled ten times a second."""

    def __init__(self) -> None:
        self.samples: list[int] = []
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "MemoryWatch":
        command = ["nvidia-smi", "--id=0", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-lms", "100"]
        try:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        except OSError:
            return self
        threading.Thread(target=self.read, daemon=True).start()
        return self

    def read(self) -> None:
        """Collects lines until the process ends."""
        assert self.process and self.process.stdout
        for line in self.process.stdout:
            if number := re.search(r"\d+", line):
                self.samples.append(int(number[0]))

    def __exit__(self, *_: object) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait()

    @property
    def peak_mib(self) -> int | None:
        """None where there is no nvidia-smi."""
        return max(self.samples, default=None)


def used_mib() -> int | None:
    """Memory in use now: the median of three readings."""
    readings = [query("memory.used") for _ in range(3)]
    return int(statistics.median(int(r[0]) for r in readings if r)) if all(readings) else None
