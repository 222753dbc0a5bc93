"""Results: one JSON file per stage, written after every step, so that a run can be cut off anywhere and goes on."""

import json
import os
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

Values = dict[str, object]


class Skip(Exception):
    """A step cannot run here; the message says why. Never counts as success."""


class OutOfTime(Exception):
    """The rest does not fit into this call's time. The same command goes on with it."""


class Overrun(Exception):
    """A step hangs, or takes far longer than it should."""


class Deadline:
    """The time that one call may take. A step that began in time may overrun it by a minute, then it has failed."""

    GRACE = 60

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes
        signal.signal(signal.SIGALRM, self.overrun)
        signal.alarm(int(60 * minutes) + self.GRACE)

    def overrun(self, *_: object) -> None:
        """Ends what runs."""
        raise Overrun(f"the step was not over {self.GRACE} s after the end of this call's time")

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()

    def require(self, seconds: float, what: str) -> None:
        """Raises OutOfTime if fewer seconds are left."""
        if self.left < seconds:
            raise OutOfTime(f"{what} takes about {seconds:.0f} s, {max(self.left, 0):.0f} s are left in this call")


def write_json(path: Path, content: object) -> None:
    """Replaces a file at once: a reader sees the old or the new content."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)


class Stage:
    """A stage's steps and what each gave."""

    def __init__(self, name: str, folder: Path, deadline: Deadline, retry: bool = False) -> None:
        self.name, self.deadline, self.retry = name, deadline, retry
        self.path = folder / f"{name}.json"
        self.steps: dict[str, Values] = {}
        if self.path.is_file():
            self.steps = json.loads(self.path.read_text(encoding="utf-8"))["steps"]

    def step(self, name: str, seconds: float, measure: Callable[[], Values]) -> Values | None:
        """Runs a step that has no result yet; `seconds` is about what it takes. Returns its values if it succeeded.

        A step that fails or is skipped is recorded and the stage goes on; `retry` runs such steps again.
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
        """What a step measured; None if it has not run, was skipped or failed."""
        record = self.steps.get(name)
        return record["values"] if record and record["status"] == "ok" else None


def load(folder: Path, name: str) -> dict[str, Values]:
    """The steps of a stage as far as they have run."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["steps"] if path.is_file() else {}


def values_of(folder: Path, name: str, step: str) -> Values | None:
    """What a step measured; None if it has not run, was skipped or failed."""
    record = load(folder, name).get(step)
    return record["values"] if record and record["status"] == "ok" else None
