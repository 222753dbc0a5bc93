"""Stores results in one JSON file per stage after every step, so that an interrupted run can continue."""

import json
import os
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

Values = dict[str, object]


class Skip(Exception):
    """A step cannot run here, for the reason in the message. It does not count as success."""


class OutOfTime(Exception):
    """The remaining steps do not fit into this call's time. Another call runs them."""


class Overrun(Exception):
    """A step hangs or takes far longer than expected."""


class Deadline:
    """The time limit of one call. A step that began in time may exceed it by a minute, then it fails."""

    GRACE = 60

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes
        signal.signal(signal.SIGALRM, self.overrun)
        signal.alarm(int(60 * minutes) + self.GRACE)

    def overrun(self, *_: object) -> None:
        """Ends the running step."""
        raise Overrun(f"the step still ran {self.GRACE} s after the time limit of this call")

    @property
    def left(self) -> float:
        """Seconds until the limit."""
        return self.end - time.monotonic()

    def require(self, seconds: float, what: str) -> None:
        """Raises OutOfTime if fewer seconds are left."""
        if self.left < seconds:
            raise OutOfTime(f"{what} takes about {seconds:.0f} s, but this call has only {max(self.left, 0):.0f} s left")


def write_json(path: Path, content: object) -> None:
    """Replaces a file atomically, so that a reader sees the old or the new content."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)


class Stage:
    """A stage's steps and their results."""

    def __init__(self, name: str, folder: Path, deadline: Deadline, retry: bool = False) -> None:
        self.name, self.deadline, self.retry = name, deadline, retry
        self.path = folder / f"{name}.json"
        self.steps: dict[str, Values] = {}
        if self.path.is_file():
            self.steps = json.loads(self.path.read_text(encoding="utf-8"))["steps"]

    def step(self, name: str, seconds: float, measure: Callable[[], Values]) -> Values | None:
        """Runs a step unless it has a result; `seconds` is its expected duration. Returns its values if it succeeded.

        A step that fails or is skipped is recorded, and the stage continues. `retry` runs such steps again.
        """
        known = self.steps.get(name)
        if known and (known["status"] == "ok" or not self.retry):
            return self.values(name)
        self.deadline.require(seconds, f"{self.name}, {name},")
        print(f"{self.name}: {name}", flush=True)
        started = time.monotonic()
        try:
            record: Values = {"status": "ok", "values": measure()}
        except Skip as reason:
            record = {"status": "skipped", "reason": str(reason)}
        except OutOfTime:
            raise
        except Exception as error:
            record = {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
            record["traceback"] = traceback.format_exc().splitlines()[-12:]
        record["seconds"] = round(time.monotonic() - started, 1)
        self.steps[name] = record
        write_json(self.path, {"stage": self.name, "steps": self.steps})
        detail = record.get("reason") or json.dumps(record["values"])[:300]
        print(f"  {record['status']} in {record['seconds']} s: {detail}", flush=True)
        return self.values(name)

    def values(self, name: str) -> Values | None:
        """Returns a step's values, or None if it has not run, was skipped or failed."""
        record = self.steps.get(name)
        return record["values"] if record and record["status"] == "ok" else None


def load(folder: Path, name: str) -> dict[str, Values]:
    """Returns a stage's recorded steps."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["steps"] if path.is_file() else {}


def values_of(folder: Path, name: str, step: str) -> Values | None:
    """Returns a step's values, or None if it has not run, was skipped or failed."""
    record = load(folder, name).get(step)
    return record["values"] if record and record["status"] == "ok" else None
