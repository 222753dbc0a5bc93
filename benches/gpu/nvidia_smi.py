#!/usr/bin/env python3
"""Replaces nvidia-smi in the dry run: answers the queries of the kit for a card that does not exist."""

import sys
import time

ANSWERS = {
    "name": "NVIDIA stand-in",
    "memory.total": "81559 MiB",
    "memory.used": "1024 MiB",
    "driver_version": "580.0",
    "power.limit": "700.00 W",
    "clocks.max.sm": "1980 MHz",
}


def main() -> None:
    fields = next(a.partition("=")[2] for a in sys.argv if a.startswith("--query-gpu=")).split(",")
    form = next(a.partition("=")[2] for a in sys.argv if a.startswith("--format="))
    answers = [ANSWERS[field] for field in fields]
    if "nounits" in form:
        answers = [a if f in ("name", "driver_version") else a.split()[0] for f, a in zip(fields, answers)]
    while True:
        print(", ".join(answers), flush=True)
        if "-lms" not in sys.argv:
            return
        time.sleep(int(sys.argv[sys.argv.index("-lms") + 1]) / 1e3)


if __name__ == "__main__":
    main()
