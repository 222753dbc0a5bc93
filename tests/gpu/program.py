"""Runs the real `lexivec` program on the stand-in device."""

import contextlib
import json
import os
import re
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import standin
from device_trace import Trace
from standin import suite

PROGRAM = os.environ.get(suite.PROGRAM, "")

# The model's name in requests, whichever model is served.
NAME = "model"

# Without CUDA graphs, kernels are launched one by one, so the log shows those of a batch, and no batch runs before the first
# request.
NO_GRAPHS = ["--cuda-graphs", "off"]

# Copies of this size and larger are skipped, which concerns weights alone: the copies of a batch are smaller.
SKIP_COPIES = 1 << 20

# ONNX Runtime logs the placement of nodes at this level. lexivec's default log filter excludes ONNX Runtime's messages.
VERBOSE = {"ORT_LOG": "verbose"}
SHOW_VERBOSE = ["--log", "warn,ort::logging=trace"]

# Ignores proxies in the environment, because the server is on this machine.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Device:
    """A stand-in device, with its libraries and a folder for logs."""

    libraries: Path
    folder: Path

    def environment(self, log: Path, **settings: int | None) -> dict[str, str]:
        """Returns the environment of a program on the device. `settings` are those of `standin.variables`."""
        log.unlink(missing_ok=True)
        return standin.variables(self.libraries, log, skip_copies=SKIP_COPIES, **settings)

    def run(self, *arguments: object, **settings: int | None) -> Trace:
        """Runs `lexivec`, which must succeed, and returns the device's trace."""
        log = self.folder / "device.log"
        command = [PROGRAM, *map(str, arguments)]
        done = subprocess.run(command, env=self.environment(log, **settings), capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr[-4000:]}"
        return Trace.read(log)

    def fail(self, *arguments: object, **settings: int | None) -> str:
        """Runs `lexivec`, which must fail, and returns its message."""
        command = [PROGRAM, *map(str, arguments)]
        log = self.folder / "device.log"
        done = subprocess.run(command, env=self.environment(log, **settings), capture_output=True, text=True)
        assert done.returncode in (1, 2), f"{' '.join(command)}\n{done.stderr[-4000:]}"
        return done.stderr

    def convert(self, source: Path, output: Path, precision: str, attention: str) -> Path:
        """Converts a checkpoint for CUDA without calibration, which takes a minute and only changes values."""
        flags = ["--ep", "cuda", "-p", precision, "--attention", attention, "--no-verify", "--no-calibration"]
        self.run("convert", source, "-o", output, *flags)
        return output

    def embed(self, model: Path, texts: list[str], *flags: object, **settings: int | None) -> tuple[Trace, int]:
        """Runs `lexivec embed`; returns the device's trace and the number of vectors."""
        source, output = self.folder / "texts.txt", self.folder / "vectors.jsonl"
        source.write_text("".join(f"{text}\n" for text in texts))
        trace = self.run("embed", model, source, "-o", output, "--ep", "cuda", *NO_GRAPHS, *flags, **settings)
        with output.open() as lines:
            count = sum(1 for _ in lines)
        output.unlink()
        return trace, count

    @contextlib.contextmanager
    def serve(self, model: Path, *flags: object, **settings: int | None) -> Iterator["Server"]:
        """Runs `lexivec serve` for the duration of a `with` block."""
        log = self.folder / "device.log"
        command = [PROGRAM, "serve", model, "--ep", "cuda", "--port", "0", "--served-model-name", NAME, *SHOW_VERBOSE, *flags]
        environment = self.environment(log, **settings) | VERBOSE
        process = subprocess.Popen(list(map(str, command)), env=environment, stderr=subprocess.PIPE, text=True)
        server = Server(process, log)
        try:
            server.wait()
            yield server
            process.terminate()
            assert process.wait(timeout=60) == 0, server.said()
        finally:
            process.kill()
            process.wait()
            server.reader.join()
            process.stderr.close()


class Server:
    """A running `lexivec serve`."""

    def __init__(self, process: subprocess.Popen, log: Path) -> None:
        self._process, self._log, self._lines = process, log, []
        self._ready = threading.Event()
        self._address = ""
        self._opened = 0
        # A thread reads the log to its end, because a full pipe would block the server.
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        for line in self._process.stderr:
            self._lines.append(line)
            if address := suite.served_at(line):
                self._address = address
                self._opened = self._log.stat().st_size
                self._ready.set()
        self._ready.set()

    def wait(self) -> None:
        """Waits until the server is ready."""
        self._ready.wait(timeout=120)
        assert self._address, f"the server did not start:\n{self.said()}"

    def said(self) -> str:
        """Returns the end of the server's log."""
        return "".join(line for line in self._lines if "ort::logging" not in line)[-4000:]

    def embed(self, texts: list[str]) -> tuple[int, dict]:
        """Sends a request; returns the answer's status and body."""
        body = json.dumps({"model": NAME, "input": texts}).encode()
        request = urllib.request.Request(f"{self._address}/v1/embeddings", body, {"Content-Type": "application/json"})
        try:
            with OPENER.open(request, timeout=120) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def metric(self, name: str) -> float:
        """Returns the sum of a metric's series."""
        with OPENER.open(f"{self._address}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name}{{"))

    def trace(self) -> Trace:
        """Returns the device's trace since the server was ready, without loading and warm-up."""
        return Trace.read(self._log, self._opened)

    def placement(self) -> dict[str, int]:
        """Returns the number of the graph's nodes per execution provider, as ONNX Runtime reports it."""
        found = re.findall(r"placed on \[(\w+)\]\. Number of nodes: (\d+)", "".join(self._lines))
        return {provider: int(nodes) for provider, nodes in found}
