"""Measures: systems take turns per load and round, and all but one are paused."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from . import machine
from .environments import Unavailable
from .loads import Load
from .process import Process
from .settings import Settings

Start = Callable[[str, int], Process]
# Rounds of loads for which each system is started for its turn and ended after it.
LONG_ROUNDS = 2


@dataclass
class Row:
    """What was measured of one system and load."""

    system: str
    load: str
    tokens: int
    # Tokens per second of each round.
    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    # Cores that other processes used on average, in the worst round.
    others_cores: float = 0.0
    # Why there is no result, if so.
    failed: str | None = None

    def result(self) -> dict:
        """Returns the figures as JSON."""
        if self.failed or not self.rates:
            return {"system": self.system, "load": self.load, "failed": self.failed or "no round was finished"}
        ordered = sorted(self.latencies)
        return {
            "system": self.system,
            "load": self.load,
            "tokens": self.tokens,
            "tokens_per_s": statistics.median(self.rates),
            "rounds": self.rates,
            "median_s": statistics.median(ordered),
            "p95_s": ordered[math.ceil(0.95 * len(ordered)) - 1],
            "requests": len(ordered),
            "peak_bytes": self.peak_bytes,
            "others_cores": self.others_cores,
        }


def turn(process: Process, load: Load, row: Row, seed: object, end: int, seconds: float) -> None:
    """Sends requests for some seconds, at least one, and adds the results to the row."""
    before, own = machine.Busy.now(), process.cpu()
    times: list[float] = []
    while not times or sum(times) < seconds:
        times.append(process.ask(load.texts(f"{seed} {len(times)}", end))["seconds"])
    row.rates.append(load.tokens * len(times) / sum(times))
    row.latencies += times
    others = machine.Busy.now().others_since(before, process.cpu() - own)
    row.others_cores = max(row.others_cores, others)


class Turns:
    """The processes of all systems, and the measurements with them."""

    def __init__(self, settings: Settings, names: Sequence[str], start: Start, end: int) -> None:
        self.settings = settings
        self.names = list(names)
        self.start = start
        self.end = end
        self.running: dict[str, Process] = {}

    def measure(self, load: Load) -> list[Row]:
        """Measures a load with all systems."""
        rows = {name: Row(name, load.name, load.tokens) for name in self.names}
        if not self.settings.dry:
            machine.wait_until_calm()
        rounds = min(self.settings.rounds, LONG_ROUNDS) if load.is_long else self.settings.rounds
        if load.is_long:
            self.close()
        else:
            for name in self.names:
                self.attempt(rows[name], lambda name=name: self.warm_up(name, load))
        for number in range(rounds):
            # Another system begins each round, so that none always follows the same one.
            first = number % len(self.names)
            for name in self.names[first:] + self.names[:first]:
                self.attempt(rows[name], lambda name=name: self.take_turn(load, rows[name], number))
        for name, process in self.running.items():
            if not rows[name].failed:
                rows[name].peak_bytes = machine.peak(process.pid)
        return list(rows.values())

    def attempt(self, row: Row, action: Callable[[], None]) -> None:
        """Does something with a system unless it has failed with this load before. A failure ends its process."""
        if row.failed:
            return
        try:
            action()
        except Unavailable as reason:
            row.failed = str(reason)
            if process := self.running.pop(row.system, None):
                process.close()

    def warm_up(self, name: str, load: Load) -> None:
        """Sends the first request of a load, which does not count."""
        if name not in self.running:
            self.running[name] = self.start(name, 0)
        process = self.running[name]
        process.resume()
        machine.reset_peak(process.pid)
        process.ask(load.texts("warm-up", self.end))
        process.pause()

    def take_turn(self, load: Load, row: Row, number: int) -> None:
        """Measures one system in one round. For long texts only this system is in memory."""
        process = self.start(row.system, max(load.lengths)) if load.is_long else self.running[row.system]
        try:
            process.resume()
            if load.is_long:
                machine.reset_peak(process.pid)
                process.ask([load.texts("warm-up", self.end)[0][-64:]])
            turn(process, load, row, number, self.end, 0 if load.is_long else self.settings.seconds)
            if load.is_long:
                row.peak_bytes = max(row.peak_bytes, machine.peak(process.pid))
            process.pause()
        finally:
            if load.is_long:
                process.close()

    def close(self) -> None:
        """Ends all processes."""
        for process in self.running.values():
            process.close()
        self.running.clear()
