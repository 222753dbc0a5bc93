#!/usr/bin/env python3
"""Compares lexivec on a CPU with other systems, on the same cores and the same token ids: `make bench-cpu`.

All systems are processes that start once. For each load they take turns, round by round, and all but one are paused. README.md lists
the loads and systems. The first run installs the peers (6 GB) and makes the models (7 GB), both below the cache folder. Results are
written after every load: results.json, RESULTS.md, and plots.
"""

import argparse
import contextlib
import json
import shutil
from pathlib import Path

import plot
from measure import loads, machine, process, shares, systems, values
from measure.environments import Unavailable
from measure.models import Models
from measure.report import LABELS, Report
from measure.settings import Settings, suite
from measure.turns import Turns


def parse_arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, required=True, help="the lexivec program")
    parser.add_argument("--examples", type=Path, required=True, help="folder of the programs in_process and peaks")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results; replaced")
    parser.add_argument("--only", default="", help="systems to measure, separated by commas (default: all)")
    parser.add_argument("--loads", default="", help="loads to measure, separated by commas; also COUNTxLENGTH (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds; the tables have medians (default: 5)")
    parser.add_argument("--seconds", type=float, default=2, help="least time of a system's turn (default: 2)")
    parser.add_argument("--limit", type=float, default=300, help="a system whose request takes more seconds is left out of the load (default: 300)")
    parser.add_argument("--dry", action="store_true", help="measure nano with few systems, to show that everything runs")
    return parser.parse_args()


class Run:
    """One run: starts and checks the systems, measures the loads, and writes the results."""

    def __init__(self, settings: Settings, names: str) -> None:
        self.settings = settings
        self.models = Models(settings)
        self.config = json.loads((self.models.path("checkpoint") / "config.json").read_text())
        self.loads = loads.chosen(names, settings.dry)
        self.systems = systems.chosen(settings.only, settings.dry)
        self.short = max((max(load.lengths) for load in self.loads if not load.is_long), default=0)
        self.results: dict = {
            "dry": settings.dry,
            "machine": machine.description(),
            "rounds": settings.rounds,
            "peaks": machine.peaks(settings.examples / "peaks"),
            "loads": [{"name": load.name, "texts": len(load.lengths), "tokens": load.tokens} for load in self.loads],
            "rows": [],
        }

    def start(self, name: str, max_length: int) -> process.Process:
        """Starts a system for texts of at most `max_length`, or of the longest load that is not long."""
        system = next(system for system in systems.SYSTEMS if system.name == name)
        length = max(max_length, self.short, max(values.LENGTHS))
        return process.Process(system, self.models.path(system.model), self.settings, length)

    def prepare(self) -> None:
        """Makes all models and environments before any system takes memory. `start` reports what could not be made."""
        for system in self.systems:
            with contextlib.suppress(Unavailable):
                self.models.path(system.model)
                process.command(system, Path(), self.settings, 0)

    def check(self) -> dict[str, process.Process]:
        """Starts all systems and compares their vectors with the reference's. Returns those that passed, paused."""
        reference = systems.reference(self.settings.dry)
        self.prepare()
        started = self.start(reference.name, 0)
        end = self.config["eos_token_id"]
        expected = values.vectors(started, end)
        started.close()
        self.results["reference"] = reference.label
        self.results["systems"] = []
        passed: dict[str, process.Process] = {}
        for system in self.systems:
            result: dict = {"name": system.name, "ours": system.ours}
            try:
                started = self.start(system.name, 0)
                cosine = values.least_cosine(expected, values.vectors(started, end))
                if not cosine >= system.least_cosine:
                    started.close()
                    raise Unavailable(f"its least cosine to {reference.label} is {cosine:.5f}, below {system.least_cosine}")
                started.pause()
                passed[system.name] = started
                result |= {"least_cosine": cosine, "ready_s": started.ready_seconds, "note": started.note}
                print(f"{system.label}: least cosine {cosine:.5f}", flush=True)
            except Unavailable as reason:
                result["failed"] = str(reason)
                print(f"{system.label}: not run: {reason}", flush=True)
            self.results["systems"].append(result)
        return passed

    def measure(self) -> None:
        """Measures all loads."""
        running = self.check()
        if not running:
            raise SystemExit("no system passed the check")
        turns = Turns(self.settings, list(running), self.start, self.config["eos_token_id"])
        turns.running = running
        arithmetic = {system.name: system.arithmetic for system in self.systems}
        try:
            for load in self.loads:
                for row in turns.measure(load):
                    result = row.result()
                    result["shares"] = shares.shares(self.config, self.results["peaks"], load, result, arithmetic[row.system])
                    self.results["rows"].append(result)
                    figure = result.get("failed") or f"{result['tokens_per_s']:,.0f} tokens/s"
                    print(f"{load.name}: {LABELS[row.system]}: {figure}", flush=True)
                self.write()
        finally:
            turns.close()

    def write(self) -> None:
        """Writes the results so far."""
        out = self.settings.out
        (out / "results.json").write_text(json.dumps(self.results, indent=1) + "\n", encoding="utf-8")
        (out / "RESULTS.md").write_text("\n".join(Report(self.results).lines()) + "\n", encoding="utf-8")
        plot.write(self.results, out)


def main() -> int:
    arguments = parse_arguments()
    out = arguments.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    only = tuple(name for name in arguments.only.split(",") if name)
    program, examples = arguments.program.resolve(), arguments.examples.resolve()
    settings = Settings(program, examples, out, arguments.rounds, arguments.seconds, arguments.limit, only, arguments.dry)
    try:
        run = Run(settings, arguments.loads)
        run.measure()
    except Unavailable as reason:
        raise SystemExit(f"make bench-cpu cannot start: {reason}") from None
    print((out / "RESULTS.md").read_text(encoding="utf-8"))
    print(f"results, plots and logs: {out}")
    failed = [row for row in [*run.results["systems"], *run.results["rows"]] if row.get("failed")]
    # A real run may lack systems and loads. A dry run shows that all of it works.
    return 1 if settings.dry and failed else 0


if __name__ == "__main__":
    suite.main(main)
