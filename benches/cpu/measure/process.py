"""A system's process: it starts, answers requests, is paused between its turns, and ends with this process."""

import ctypes
import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import IO

from . import machine
from .environments import Unavailable, python
from .settings import WORKERS, Settings, cores
from .systems import System

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)
START_SECONDS = 600
# A process is ended before the machine has less memory than this.
RESERVE = 2 << 30
POLL_SECONDS = 0.2


def die_with_parent() -> None:
    """Makes this process end with its parent. Runs in the child before its program starts."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def command(system: System, model: Path, settings: Settings, max_length: int) -> list[str]:
    """Returns the command line of a system's worker."""
    if system.worker == "in_process":
        return [str(settings.examples / "in_process"), str(model), str(max_length)]
    interpreter = python("values" if settings.dry else system.environment or "cpu")
    precision = {"bf16": "bfloat16", "fp32": "float32"}.get(system.arithmetic, "") if system.model == "checkpoint" else system.arithmetic
    options = ["--threads", str(cores()), "--max-length", str(max_length), "--precision", precision]
    return [str(interpreter), "-B", str(WORKERS / system.worker), "--model", str(model), *options]


class Process:
    """A running system. Its process group is paused and resumed as a whole, because HTTP needs two processes."""

    def __init__(self, system: System, model: Path, settings: Settings, max_length: int) -> None:
        self.system = system
        self.limit = settings.limit
        self.log = settings.out / f"{system.name}.log"
        environment = os.environ | {"OMP_NUM_THREADS": str(cores()), "HF_HUB_OFFLINE": "1", "LEXIVEC_PROGRAM": str(settings.program)}
        # OpenVINO's and NNCF's telemetry is off where CI is set.
        environment |= {"CI": "true"}
        started = time.monotonic()
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                command(system, model, settings, max_length), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                text=True, env=environment, start_new_session=True, preexec_fn=die_with_parent,
            )
        hello = self.answer(START_SECONDS)
        self.ready_seconds = time.monotonic() - started
        self.pid: int = hello["pid"]
        self.note: str = hello.get("note", "")

    def ask(self, texts: list[list[int]], vectors: bool = False) -> dict:
        """Sends a request and returns the answer. Raises Unavailable, and ends the process, if there is none."""
        line = json.dumps({"texts": texts, "vectors": vectors}) + "\n"
        try:
            pipe(self.child.stdin).write(line)
            pipe(self.child.stdin).flush()
        except BrokenPipeError:
            raise Unavailable(f"the process has ended: {self.last_words()}") from None
        answer = self.answer(self.limit)
        if "error" in answer:
            self.close()
            raise Unavailable(answer["error"])
        return answer

    def answer(self, seconds: float) -> dict:
        """Reads a line within some seconds, while memory lasts."""
        end = time.monotonic() + seconds
        output = pipe(self.child.stdout)
        while not select.select([output], [], [], POLL_SECONDS)[0]:
            if time.monotonic() > end:
                self.close()
                raise Unavailable(f"not finished within {seconds:.0f} s")
            if machine.available() < RESERVE:
                self.close()
                raise Unavailable(f"too little memory: less than {RESERVE >> 30} GiB was left")
        line = output.readline()
        if not line:
            code = self.child.wait()
            raise Unavailable(f"the process ended with exit code {code}: {self.last_words()}")
        return json.loads(line)

    def last_words(self) -> str:
        """Returns the end of the process's log."""
        return " ".join(self.log.read_text(errors="replace").strip().splitlines()[-3:])[-400:]

    def pause(self) -> None:
        """Stops the process group until `resume`, so that it takes no CPU."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continues the process group."""
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process group, unless it has ended."""
        if self.child.poll() is None:
            os.killpg(self.child.pid, number)

    def cpu(self) -> float:
        """Returns the seconds of CPU of the processes."""
        return sum(machine.cpu_of(pid) for pid in {self.pid, self.child.pid})

    def close(self) -> None:
        """Ends the process group."""
        self.signal(signal.SIGKILL)
        self.child.wait()


def pipe(stream: IO[str] | None) -> IO[str]:
    """Returns a pipe that the child was started with."""
    assert stream is not None
    return stream
