"""Finds CUDA's libraries, and describes the card and its memory."""

import ctypes.util
import os
import re
import statistics
import subprocess
import sys
import threading
from pathlib import Path

# Libraries that the CUDA provider links. It opens cuDNN only for operators that need it.
NEEDED = ["libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13", "libcurand.so.10", "libcuda.so.1"]
OPTIONAL = ["libcudnn.so.9"]


def candidate_folders() -> list[Path]:
    """Returns folders that may contain CUDA's libraries, in order of preference."""
    folders = [Path(name) for name in os.environ.get("LD_LIBRARY_PATH", "").split(":") if name]
    for site in sys.path:
        # CUDA 13's pip packages share nvidia/cu13/lib. Older packages have a folder each.
        folders += sorted(Path(site or ".").glob("nvidia/*/lib"))
    for pattern in ("cuda/lib64", "cuda-13*/lib64", "cuda*/targets/x86_64-linux/lib", "nvidia/lib64"):
        folders += sorted(Path("/usr/local").glob(pattern))
    folders += [Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib64")]
    return [folder for folder in folders if folder.is_dir()]


def libraries(dry: bool) -> dict[str, Path | None]:
    """Returns the path of each CUDA library, or None if it is not found.

    A dry run leaves out cuDNN, because a real cuDNN fails without a device.
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
    """Whether the dynamic loader finds a library without a path, as is usual for the driver's library."""
    return ctypes.util.find_library(name.removeprefix("lib").split(".")[0]) == name


def environment(found: dict[str, Path | None]) -> dict[str, str]:
    """Returns an environment in which lexivec finds these libraries."""
    folders = [str(file.parent) for file in found.values() if file and file.is_absolute()]
    inherited = [name for name in os.environ.get("LD_LIBRARY_PATH", "").split(":") if name]
    path = list(dict.fromkeys(folders + inherited))
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(path)}


def query(fields: str) -> list[str] | None:
    """Returns nvidia-smi's values for the first card, or None without nvidia-smi."""
    command = ["nvidia-smi", "--id=0", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return [value.strip() for value in output.strip().splitlines()[0].split(",")]


def card() -> dict[str, object]:
    """Returns the card's name, memory, memory in use, driver and limits."""
    answer = query("name,memory.total,memory.used,driver_version,power.limit,clocks.max.sm")
    names = ["name", "memory_mib", "used_mib", "driver", "power_limit_w", "max_clock_mhz"]
    return dict(zip(names, answer)) if answer else {"name": "no nvidia-smi"}


class MemoryWatch:
    """Samples the card's memory in use ten times a second, and keeps the highest value in MiB."""

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
        """The highest sample, or None without nvidia-smi."""
        return max(self.samples, default=None)


def used_mib() -> int | None:
    """Returns the memory in use now in MiB, the median of three readings."""
    readings = [query("memory.used") for _ in range(3)]
    return int(statistics.median(int(r[0]) for r in readings if r)) if all(readings) else None
