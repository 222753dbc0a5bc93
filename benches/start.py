#!/usr/bin/env python3
"""Measures the time from the start of `lexivec serve` to its first answer, with the model's files in the page cache.

    benches/start.py --program target/release/lexivec MODEL…
    benches/start.py --program OLD --program NEW MODEL       two programs in turns

Prints the median and the range of the rounds in seconds, and the resident memory after the answer. ORT_DYLIB_PATH names ONNX Runtime's
library where the program does not find it.
"""

import argparse
import http.client
import json
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

BODY = json.dumps({"model": "model", "input": "cardiac arrest"})
# Time between attempts to connect, which bounds the error.
INTERVAL = 0.002


def first_answer(program: Path, model: Path) -> tuple[float, float]:
    """Starts a server. Returns the seconds until it answers, and its resident memory in MB."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [program, "serve", model, "--served-model-name", "model", "--port", str(port), "--log", "error"]
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            try:
                connection.request("POST", "/v1/embeddings", BODY, {"content-type": "application/json"})
                if connection.getresponse().status == http.client.OK:
                    break
            except OSError:
                if server.poll() is not None:
                    sys.exit(f"{program} ended: {server.stderr.read()}")
            time.sleep(INTERVAL)
        seconds = time.perf_counter() - begun
        status = Path(f"/proc/{server.pid}/status").read_text()
        resident = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        server.terminate()
    return seconds, int(resident.split()[1]) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, help="model directories or checkpoints")
    parser.add_argument("--program", action="append", type=Path, required=True, help="a program to measure; may be repeated")
    parser.add_argument("--rounds", type=int, default=7, help="starts of each program (default: 7)")
    arguments = parser.parse_args()
    for model in arguments.models:
        # The first start reads the files and, for a checkpoint, converts it.
        for program in arguments.program:
            first_answer(program, model)
        rounds = [[first_answer(program, model) for program in arguments.program] for _ in range(arguments.rounds)]
        for program, starts in zip(arguments.program, zip(*rounds, strict=True), strict=True):
            seconds, resident = zip(*starts, strict=True)
            spread = f"{statistics.median(seconds):.3f} s ({min(seconds):.3f} to {max(seconds):.3f})"
            print(f"{program} {model}: {spread}, {statistics.median(resident):.0f} MB resident")


if __name__ == "__main__":
    main()
