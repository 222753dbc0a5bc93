"""Reads from /proc what processes and the machine use, and measures what the machine can do at most."""

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# The value that resets a process's peak of resident memory (proc_pid_clear_refs(5)).
RESET_PEAK = "5"
# A core's share that other processes may use before a load begins, and how long to wait for that.
NOISE = 0.1
PATIENCE_SECONDS = 20


def status(pid: int, field: str) -> int:
    """Returns a field of /proc/PID/status in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


def peak(pid: int) -> int:
    """Returns a process's highest resident memory since `reset_peak`, files that it maps included."""
    return status(pid, "VmHWM")


def reset_peak(pid: int) -> None:
    """Forgets a process's highest resident memory."""
    Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)


def available() -> int:
    """Returns the bytes of memory that programs can still take."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/meminfo has no MemAvailable")


def cpu_of(pid: int) -> float:
    """Returns a process's seconds of CPU."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


@dataclass(frozen=True)
class Busy:
    """The busy seconds of all cores at a moment."""

    at: float
    seconds: float

    @classmethod
    def now(cls) -> "Busy":
        """Reads the current value."""
        user, nice, system, _, _, irq, softirq, steal, *_ = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
        return cls(time.monotonic(), (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND)

    def others_since(self, earlier: "Busy", own: float) -> float:
        """Returns the cores in use since `earlier`, without `own` seconds of CPU."""
        return max(0.0, (self.seconds - earlier.seconds - own) / (self.at - earlier.at))


def wait_until_calm() -> None:
    """Waits until other processes use little CPU, for a limited time."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        before = Busy.now()
        time.sleep(1)
        if Busy.now().others_since(before, 0) < NOISE:
            return


def peaks(program: Path) -> dict:
    """Runs the program `peaks` and returns its figures."""
    return json.loads(subprocess.run([program], capture_output=True, text=True, check=True).stdout)


def description() -> dict[str, object]:
    """Returns the processor's name, and the size of the machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown processor")
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    sets = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm") if flag in flags]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"processor": name, "cores": len(os.sched_getaffinity(0)), "memory_gib": round(pages / 2**30, 1), "instruction_sets": sets}
