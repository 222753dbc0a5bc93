"""Reads the stand-in device's log (its format: device/cudart/log.c) into batches, memory and errors."""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Event:
    """A line: its first word and its fields."""

    kind: str
    fields: dict[str, str]

    @classmethod
    def parse(cls, line: str) -> "Event":
        kind, *pairs = line.split(" ")
        return cls(kind, dict(pair.split("=", 1) for pair in pairs))

    def number(self, name: str) -> int:
        """A field's value; 0 if the line does not have it."""
        return int(self.fields.get(name, 0))

    @property
    def grid(self) -> tuple[int, ...]:
        """Blocks of a kernel in x, y and z."""
        return tuple(int(part) for part in self.fields["grid"].split(","))

    @property
    def shape(self) -> tuple[int, int, int]:
        """M, N and K of a product."""
        return self.number("m"), self.number("n"), self.number("k")


@dataclass
class Batch:
    """One run of a model's graph: from the copies of its inputs to the synchronisation after its outputs."""

    device: int
    events: list[Event] = field(default_factory=list)

    def _of(self, *kinds: str) -> list[Event]:
        # Captured work runs when its graph is launched.
        return [event for event in self.events if event.kind in kinds and not event.number("captured")]

    @property
    def kernels(self) -> Counter[str]:
        """Launches by mangled name; cuBLAS's routines by the name of the call."""
        return Counter(event.fields.get("name") or event.fields["call"] for event in self._of("kernel", "routine"))

    @property
    def products(self) -> list[Event]:
        """Matrix products of cuBLAS and cuBLASLt. CUTLASS's are kernels."""
        return self._of("product")

    @property
    def graphs(self) -> list[Event]:
        """Launches of captured graphs."""
        return self._of("graph_launch")

    def copied(self, direction: str) -> list[int]:
        """Bytes of each copy: direction h2d, d2h or d2d."""
        return [event.number("bytes") for event in self._of("copy") if event.fields["direction"] == direction]

    @property
    def synchronizations(self) -> int:
        """How often the host waited for the device."""
        return len(self._of("synchronize"))

    def launched(self, part: str) -> int:
        """Launches of kernels whose name has `part` in it."""
        return sum(count for name, count in self.kernels.items() if part in name)


class Trace:
    """A log, whole or from an offset on."""

    def __init__(self, lines: list[str]) -> None:
        self.events = [Event.parse(line) for line in lines]

    @classmethod
    def read(cls, path: Path, offset: int = 0) -> "Trace":
        """The file from a byte on. An unfinished last line is left out: the process may still be writing."""
        # Conversion opens no device, so there is no log.
        text = path.read_bytes()[offset:].decode() if path.exists() else ""
        return cls(text[: text.rfind("\n") + 1].splitlines())

    def of(self, kind: str, device: int | None = None) -> list[Event]:
        """Events of a kind, on one device or all."""
        on = (event for event in self.events if event.kind == kind)
        return [event for event in on if device is None or event.number("device") == device]

    def peak(self, device: int = 0) -> int:
        """Most bytes that were allocated at a time."""
        return max((event.number("used") for event in self.of("allocate", device)), default=0)

    @cached_property
    def tallest_grid(self) -> int:
        """The largest number of blocks in y or z. A card takes 65,535."""
        return max((max(event.grid[1:]) for event in self.of("kernel")), default=0)

    def batches(self, vector_bytes: int) -> list[Batch]:
        """The batches of all devices, in the order of their ends.

        A device works on one batch at a time, if it has one session. A batch ends with a copy of whole vectors to the
        host, `vector_bytes` each, and the synchronisations after it. Smaller copies to the host do not end it, so they
        show in its sum. If the trace includes loading, a device's first batch does, too.
        """
        finished: list[Batch] = []
        running: dict[int, Batch] = {}
        ended: dict[int, Batch] = {}
        for event in self.events:
            device = event.number("device")
            if event.kind == "synchronize" and device in ended:
                ended[device].events.append(event)
                continue
            ended.pop(device, None)
            batch = running.setdefault(device, Batch(device))
            batch.events.append(event)
            if event.fields.get("direction") == "d2h" and event.number("bytes") % vector_bytes == 0:
                finished.append(batch)
                ended[device] = running.pop(device)
        return finished
