"""The lines by which `run.py` and a worker talk. A worker is a process that embeds with one system.

The first line that a worker writes is `{"pid": PID, "note": NOTE}`, when its model is loaded. PID is the process whose memory is
measured, and NOTE describes settings that depend on the machine. Then it answers each line `{"texts": [[ID, …], …],
"vectors": BOOL}` with `{"seconds": SECONDS, "vectors": [[NUMBER, …], …]}`, or with `{"error": MESSAGE}`. SECONDS is the time
from the token ids to normalised vectors. Every text ends with the end-of-sequence token.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Texts = list[list[int]]
Embed = Callable[[Texts], np.ndarray]


def arguments() -> argparse.Namespace:
    """Parses the command line, which is the same for all workers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--precision", default="")
    parser.add_argument("--max-length", type=int, required=True, help="length of the longest text that follows")
    return parser.parse_args()


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Scales rows to unit length."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def say(line: dict) -> None:
    """Writes a line."""
    print(json.dumps(line), file=ANSWERS, flush=True)


def serve(embed: Embed, note: str = "", pid: int | None = None) -> None:
    """Answers lines until the input ends."""
    say({"pid": pid or os.getpid(), "note": note})
    for line in sys.stdin:
        job = json.loads(line)
        try:
            started = time.perf_counter()
            vectors = embed(job["texts"])
            answer: dict = {"seconds": time.perf_counter() - started}
            if job["vectors"]:
                answer["vectors"] = vectors.tolist()
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        say(answer)


# Libraries print to standard output. Only answers may go there.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
