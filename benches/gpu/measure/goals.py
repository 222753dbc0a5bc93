"""The performance and accuracy goals, with the measured values."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import results
from .models import FORMS
from .stage_nano import NAME as NANO
from .stage_peaks import NAME as PEAKS
from .stage_server import NAME as SERVER
from .stage_speed import NAME as SPEED
from .stage_values import NAME as VALUES

Number = float | None


@dataclass(frozen=True)
class Goal:
    """A goal and its measured value."""

    what: str
    stage: str
    # None if unknown: the limit for latency depends on the measured bandwidth.
    limit: Number
    measured: Number
    unit: str
    at_most: bool = False
    detail: str = ""

    @property
    def verdict(self) -> str:
        """`met`, `missed` or `not measured`."""
        if self.measured is None or self.limit is None:
            return "not measured"
        reached = self.measured <= self.limit if self.at_most else self.measured >= self.limit
        return "met" if reached else "missed"


class Measured:
    """Access to the values of a results folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, stage: str, step: str, *keys: str) -> Number:
        """Returns a nested value, or None if it was not measured."""
        found: object = results.values_of(self.folder, stage, step)
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, (int, float)) else None

    def best(self, pick: Callable[[list[float]], float], stage: str, *keys: str) -> tuple[Number, str]:
        """Returns the best value of the fp16 and bf16 models, and that model's name."""
        found = {model.name: self.get(stage, model.name, *keys) for model in FORMS}
        present = {name: value for name, value in found.items() if value is not None}
        if not present:
            return None, ""
        chosen = pick(list(present.values()))
        return chosen, next(name for name, value in present.items() if value == chosen)

    @property
    def bandwidth(self) -> Number:
        """The card's memory bandwidth in GB/s, the higher one of reading and copying."""
        both = [self.get(PEAKS, "peaks", f"{kind}_gb_per_second") for kind in ("read", "copy")]
        return max((value for value in both if value), default=None)


def latency_goal(measured: Measured) -> Goal:
    """Returns the goal for latency: 1.5 times the time to read the weights, for the fastest 16-bit variant."""
    names = [m.name + suffix for m in FORMS for suffix in ("", ", CUDA graphs", ", no CUDA graphs")]
    found = {name: measured.get(SPEED, name, "latency_ms", "p50") for name in names}
    present = {name: value for name, value in found.items() if value is not None}
    name = min(present, key=present.__getitem__) if present else ""
    weights = measured.get(SPEED, name, "layer_weights") if name else None
    limit = None
    if weights and measured.bandwidth:
        limit = round(1.5 * 2 * weights / measured.bandwidth / 1e6, 2)
    detail = f"{name}; through HTTP" if name else ""
    return Goal("latency of 16 tokens", SPEED, limit, present.get(name), "ms", at_most=True, detail=detail)


def goals(folder: Path) -> Iterator[Goal]:
    """Yields all goals. A cosine is the least one of all texts unless named mean."""
    measured = Measured(folder)
    for model in FORMS:
        cosine = measured.get(NANO, model.name, "to_golden", "min")
        yield Goal(f"nano {model.name}: cosine to sentence-transformers", NANO, 0.9995, cosine, "")
    for model in FORMS:
        cosine = measured.get(VALUES, model.name, "to_transformers_float32", "min")
        yield Goal(f"4B {model.name}: cosine to transformers in float32", VALUES, 0.9995, cosine, "")
    cosine = measured.get(VALUES, "fp8", "to_transformers_float32", "mean")
    yield Goal("4B fp8: mean cosine to transformers in float32", VALUES, 0.995, cosine, "", detail="random weights")
    speed, name = measured.best(max, SPEED, "tokens_per_second")
    yield Goal("tokens per second, nothing shared", SPEED, 60_000, speed, "tokens/s", detail=name)
    memory, name = measured.best(min, SPEED, "memory_mib")
    memory_gb = memory * (1 << 20) / 1e9 if memory is not None else None
    yield Goal("memory at 16,384 tokens", SPEED, 11, memory_gb, "GB", at_most=True, detail=name)
    yield latency_goal(measured)
    fp8 = measured.get(SPEED, "fp8", "tokens_per_second")
    fp16 = max((measured.get(SPEED, m.name, "tokens_per_second") or 0 for m in FORMS if m.precision == "fp16"))
    yield Goal("fp8 / fp16", SPEED, 1.4, fp8 / fp16 if fp8 and fp16 else None, "times the tokens/s")
    for step in ("beside sentence-transformers", "alone"):
        rate = measured.get(SERVER, step, "inputs_per_second")
        yield Goal(f"published workload, {step}", SERVER, 900, rate, "inputs/s")
