"""Parses the stand-in device's log into batches, memory and errors. device/cudart/log.c describes the format."""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Event:
    """A line of the log: its first word and its fields."""

    kind: str
    fields: dict[str, str]

    @classmethod
    def parse(cls, line: str) -> "Event":
        kind, *pairs = line.split(" ")
        return cls(kind, dict(pair.split("=", 1) for pair in pairs))

    def number(self, name: str) -> int:
        """Returns a field's value, or 0 if the line does not have the field."""
        return int(self.fields.get(name, 0))

    @property
    def grid(self) -> tuple[int, ...]:
        """The blocks of a kernel in x, y and z."""
        return tuple(int(part) for part in self.fields["grid"].split(","))

    @property
    def shape(self) -> tuple[int, int, int]:
        """M, N and K of a matrix multiplication."""
        return self.number("m"), self.number("n"), self.number("k")


@dataclass
class Batch:
    """One run of a model's graph, from the copies of its inputs to the synchronisation after its outputs."""

    device: int
    events: list[Event] = field(default_factory=list)

    def _of(self, *kinds: str) -> list[Event]:
        # Captured work does not run before its graph is launched.
        return [event for event in self.events if event.kind in kinds and not event.number("captured")]

    @property
    def kernels(self) -> Counter[str]:
        """Launches of kernels by mangled name, and of cuBLAS routines by the name of the call."""
        return Counter(event.fields.get("name") or event.fields["call"] for event in self._of("kernel", "routine"))

    @property
    def products(self) -> list[Event]:
        """Matrix multiplications of cuBLAS and cuBLASLt. Those of CUTLASS are kernels."""
        return self._of("product")

    @property
    def graphs(self) -> list[Event]:
        """Launches of captured graphs."""
        return self._of("graph_launch")

    def copied(self, direction: str) -> list[int]:
        """Returns the bytes of each copy in a direction: h2d, d2h or d2d."""
        return [event.number("bytes") for event in self._of("copy") if event.fields["direction"] == direction]

    @property
    def synchronizations(self) -> int:
        """The number of times that the host waited for the device."""
        return len(self._of("synchronize"))

    def launched(self, part: str) -> int:
        """Returns the launches of kernels whose names contain `part`."""
        return sum(count for name, count in self.kernels.items() if part in name)


class Trace:
    """The events of a log, or of its part after an offset."""

    def __init__(self, lines: list[str]) -> None:
        self.events = [Event.parse(line) for line in lines]

    @classmethod
    def read(cls, path: Path, offset: int = 0) -> "Trace":
        """Reads a file from a byte on, without an unfinished last line, which the process may still be writing."""
        # Without a use of the device, such as in a conversion, there is no log.
        text = path.read_bytes()[offset:].decode() if path.exists() else ""
        return cls(text[: text.rfind("\n") + 1].splitlines())

    def of(self, kind: str, device: int | None = None) -> list[Event]:
        """Returns the events of a kind on one device, or on all devices."""
        found = (event for event in self.events if event.kind == kind)
        return [event for event in found if device is None or event.number("device") == device]

    def peak(self, device: int = 0) -> int:
        """Returns the highest number of bytes that were allocated at the same time."""
        return max((event.number("used") for event in self.of("allocate", device)), default=0)

    @cached_property
    def tallest_grid(self) -> int:
        """The largest number of blocks in y or z. A card accepts up to 65,535."""
        return max((max(event.grid[1:]) for event in self.of("kernel")), default=0)

    def batches(self, vector_bytes: int) -> list[Batch]:
        """Returns the batches of all devices, in the order of their ends.

        A device with one session computes one batch at a time. A batch ends with a copy of complete vectors to the host,
        `vector_bytes` each, and the synchronisations after it. Other copies to the host do not end it, so they are part of
        its copies. If the trace includes loading, so does each device's first batch.
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
