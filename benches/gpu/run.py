#!/usr/bin/env python3
"""Measures lexivec on this machine's NVIDIA GPU with one resumable command, which writes a few small files.

    run.py [STAGE ...] [--work /tmp/lexivec-kit] [--results DIR] [--minutes 8]

The stages are nano, peaks, values, speed and server; by default all run, in this order. Each step writes its result at once,
and a step with a result does not run again. When the time is up, the command ends with exit code 3; run the same command to
continue. Exit code 1 means that a step failed or was skipped, exit code 0 that every step has a result.
"""

import argparse
import sys
from pathlib import Path

from measure import settings as sizes
from measure import stage_nano, stage_peaks, stage_server, stage_speed, stage_values, table
from measure.prepare import Preparation, prepare
from measure.program import Lexivec
from measure.results import Deadline, OutOfTime, Stage

UNFINISHED = 3


def parse_arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="nano, peaks, values, speed, server (default: all)")
    parser.add_argument("--work", type=Path, default=Path("/tmp/lexivec-kit"), help="default: /tmp/lexivec-kit; 40 GB")
    parser.add_argument("--results", type=Path, help="folder of the results; default: results in the work folder")
    parser.add_argument("--minutes", type=float, default=8, help="time limit of this call (default: 8)")
    parser.add_argument("--retry", action="store_true", help="run failed and skipped steps again")
    parser.add_argument("--full-library", action="store_true", help="use the whole CUDA provider instead of the pruned one")
    parser.add_argument("--dry", action="store_true", help="tiny shapes, for a device that computes nothing")
    parser.add_argument("--prepare", action="store_true", help="only write the checkpoint and convert it; run.py starts this")
    return parser.parse_args()


def settings_of(arguments: argparse.Namespace) -> sizes.Settings:
    """Returns the sizes and folders of this run."""
    work = arguments.work.resolve()
    folder = (arguments.results or work / "results").resolve()
    work.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.dry:
        return sizes.dry(work, folder, arguments.retry, arguments.full_library)
    return sizes.Settings(work=work, results=folder, full_library=arguments.full_library, retry=arguments.retry)


def main() -> int:
    arguments = parse_arguments()
    settings = settings_of(arguments)
    lexivec = Lexivec(settings)
    if arguments.prepare:
        prepare(settings, lexivec)
        return 0
    deadline = Deadline(arguments.minutes)
    command = [sys.executable, str(Path(__file__).resolve()), "--prepare", "--work", str(settings.work)]
    command += ["--results", str(settings.results)]
    command += ["--dry"] * settings.dry + ["--full-library"] * settings.full_library
    preparation = Preparation(settings, deadline, command)

    def stage(name: str) -> Stage:
        return Stage(name, settings.results, deadline, settings.retry)

    runs = {
        "nano": lambda: stage_nano.run(settings, lexivec, stage(stage_nano.NAME)),
        "peaks": lambda: stage_peaks.run(settings, stage(stage_peaks.NAME)),
        "values": lambda: stage_values.run(settings, lexivec, preparation, stage(stage_values.NAME)),
        "speed": lambda: stage_speed.run(settings, lexivec, preparation, stage(stage_speed.NAME)),
        "server": lambda: stage_server.run(settings, lexivec, preparation, stage(stage_server.NAME)),
    }
    chosen = arguments.stages or list(runs)
    if unknown := set(chosen) - set(runs):
        sys.exit(f"unknown stage {', '.join(unknown)}; the stages are {', '.join(runs)}")
    if not set(chosen) <= {"nano", "peaks"}:
        preparation.start()
    try:
        for name in chosen:
            runs[name]()
        code = 1 if any(table.unfinished(settings.results)) else 0
    except OutOfTime as reason:
        print(f"time is up: {reason}. Run the same command to continue.", flush=True)
        code = UNFINISHED
    finally:
        report = table.markdown(settings.results, settings.dry)
        (settings.results / "RESULTS.md").write_text(report, encoding="utf-8")
    print(report)
    return code


if __name__ == "__main__":
    sys.exit(main())
