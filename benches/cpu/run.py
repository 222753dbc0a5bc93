#!/usr/bin/env python3
"""Compares lexivec on a CPU with other systems, on the same cores and the same token ids: `make bench-cpu`.

All systems are processes that start once. For each load they take turns, round by round, and all but one are paused. README.md lists
the loads and systems. The first run installs the peers (6 GB) and makes the models (9 GB), both below the cache folder. Results are
written after every load: results.json, RESULTS.md, and plots.
"""

import argparse
import json
import shutil
from pathlib import Path

import plot
from measure import loads, machine, shares, systems, values
from measure.environments import Unavailable
from measure.models import Models
from measure.process import Process
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

    def start(self, name: str, max_length: int) -> Process:
        """Starts a system for texts of at most `max_length`, or of the longest load that is not long."""
        system = next(system for system in systems.SYSTEMS if system.name == name)
        length = max(max_length, self.short, max(values.LENGTHS))
        return Process(system, self.models.path(system.model), self.settings, length)

    def check(self) -> dict[str, Process]:
        """Starts all systems and compares their vectors with the reference's. Returns those that passed, paused."""
        reference = systems.reference(self.settings.dry)
        process = self.start(reference.name, 0)
        end = self.config["eos_token_id"]
        expected = values.vectors(process, end)
        process.close()
        self.results["reference"] = reference.label
        self.results["systems"] = []
        passed: dict[str, Process] = {}
        for system in self.systems:
            result: dict = {"name": system.name, "ours": system.ours}
            try:
                process = self.start(system.name, 0)
                cosine = values.least_cosine(expected, values.vectors(process, end))
                if not cosine >= system.least_cosine:
                    process.close()
                    raise Unavailable(f"its least cosine to {reference.label} is {cosine:.5f}, below {system.least_cosine}")
                process.pause()
                passed[system.name] = process
                result |= {"least_cosine": cosine, "ready_s": process.ready_seconds, "note": process.note}
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
        Run(settings, arguments.loads).measure()
    except Unavailable as reason:
        raise SystemExit(f"make bench-cpu cannot start: {reason}") from None
    print((out / "RESULTS.md").read_text(encoding="utf-8"))
    print(f"results, plots and logs: {out}")
    return 0


if __name__ == "__main__":
    suite.main(main)
