"""The programs under test, and clusters of them on loopback."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import suite

NANO = suite.ROOT / "models" / "nano"
SQL = os.environ.get("LEXIVEC_SQL_PROGRAM", "")
# Seconds without a report after which the scheduler gives up an executor: the shortest that it accepts.
EXECUTOR_TIMEOUT = 11


def lexivec(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([suite.program(), *map(str, arguments)], capture_output=True, text=True)


def sql(model: Path, *arguments: object) -> subprocess.CompletedProcess:
    """Runs a query to its end."""
    return subprocess.run([SQL, "--model", model, *map(str, arguments)], capture_output=True, text=True)


def passes(done: subprocess.CompletedProcess) -> str:
    """Returns standard output of a command that must have succeeded."""
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails(done: subprocess.CompletedProcess) -> str:
    """Returns the message of a command that must have failed."""
    assert done.returncode == 1 and not done.stdout, (done.returncode, done.stdout)
    assert "panicked" not in done.stderr
    return done.stderr


def vectors(table: pa.Table, column: str = "v") -> np.ndarray:
    """Returns a column of vectors, as the bits of its numbers, which compare exactly."""
    lists = table[column].combine_chunks()
    return lists.flatten().to_numpy().reshape(len(lists), -1).view(np.uint32)


def read(path: Path, order: str = "id") -> pa.Table:
    """Reads a file or a folder of parts, in the order of a column."""
    files = sorted(path.glob("part-*.parquet")) if path.is_dir() else [path]
    return pa.concat_tables([pq.read_table(file) for file in files]).sort_by(order)


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Process:
    """A process of a cluster, with its messages in a file."""

    def __init__(self, log: Path, *arguments: object) -> None:
        self.log = log
        with log.open("wb") as out:
            environment = os.environ | {"RUST_LOG": "ballista_executor=info"}
            self.child = subprocess.Popen([SQL, *map(str, arguments)], stdout=out, stderr=out, env=environment)

    def messages(self) -> str:
        return self.log.read_text()

    def kill(self) -> None:
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()

    def is_running(self) -> bool:
        return self.child.poll() is None


class Cluster:
    """A scheduler and executors, which end with the block."""

    def __init__(self, folder: Path, model: Path, executors: int = 2, threads: int = 1) -> None:
        folder.mkdir(parents=True)
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self.scheduler = Process(folder / "scheduler.log", "scheduler", "--port", port, "--executor-timeout", EXECUTOR_TIMEOUT)
        self.processes = [self.scheduler]
        wait_for(self._is_listening, "the scheduler's start")
        self.work = [folder / f"work-{number}" for number in range(executors)]
        for number, work in enumerate(self.work):
            work.mkdir()
            flags = ["--model", model, "--threads", threads, "--scheduler", self.address, "--port", free_port(), "--work-dir", work]
            self.processes.append(Process(folder / f"executor-{number}.log", "executor", *flags))
        for executor in self.executors:
            started = lambda executor=executor: re.search("Starting poll work loop", executor.messages())  # noqa: E731
            wait_for(started, "an executor's start")

    @property
    def executors(self) -> list[Process]:
        return self.processes[1:]

    def _is_listening(self) -> bool:
        assert self.scheduler.is_running(), self.scheduler.messages()
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", int(self.address.rpartition(":")[2]))) == 0

    def results_of(self, number: int) -> list[Path]:
        """Returns the files of results that an executor has written."""
        return [path for path in self.work[number].rglob("*") if path.is_file()]

    def kill(self) -> None:
        for process in self.processes:
            if process.is_running():
                process.kill()

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
