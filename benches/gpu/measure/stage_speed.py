"""Stage 3: measures the speed and memory of each model of 4B size."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import machine
from .load import Bodies, latency, load, median_rate, percentile
from .models import FORMS, LARGE_MODELS, Model, layer_weights, size_on_disk
from .prepare import Preparation
from .program import CommandFailed, Lexivec
from .results import Skip, Stage, Values
from .server import Server, body
from .settings import INPUT_TOKENS, Settings
from .texts import token_ids

NAME = "3-speed"
LATENCY_TOKENS = 16
# Three requests in flight: one is computed, one waits, and one is being answered.
IN_FLIGHT = 3
# lexivec accepts up to 2,048 inputs per request.
MOST_INPUTS = 1024


@dataclass(frozen=True)
class Variant:
    """A model and a way to serve it."""

    model: Model
    # None means the program's default.
    cuda_graphs: bool | None = None

    @property
    def name(self) -> str:
        """The variant's name in results."""
        graphs = {None: "", True: ", CUDA graphs", False: ", no CUDA graphs"}
        return self.model.name + graphs[self.cuda_graphs]

    def flags(self) -> list[str]:
        """Returns flags for `lexivec serve`."""
        if self.cuda_graphs is None:
            return []
        return ["--cuda-graphs", "on" if self.cuda_graphs else "off"]


def bodies(length: int, count: int, seed: int) -> Iterator[bytes]:
    """Yields requests without end. Every text is new, because the server could coalesce or cache repetitions."""
    while True:
        seed += 1
        yield body(token_ids(count, length, seed))


def tokens_per_second(server: Server, length: int, settings: Settings, seed: int) -> Values:
    """Measures the rate for texts of one length, in requests that fill a batch."""
    count = max(1, min(MOST_INPUTS, settings.batch_tokens // length))
    source = Bodies(bodies(length, count, seed))

    def one() -> object:
        return load(server, source, IN_FLIGHT, settings.round_seconds)

    median, rates = median_rate(one, settings.rounds, count * length)
    return {"inputs": count, "tokens_per_second": round(median), "rounds": [round(rate) for rate in rates]}


def predicted_mib(lexivec: Lexivec, model: Path, settings: Settings) -> int | None:
    """Returns the memory that `lexivec doctor` predicts, or None if it prints no prediction."""
    if "[MODEL]" not in lexivec.help("doctor"):
        return None
    try:
        flags = ["--ep", "cuda", "--json", "--max-batch-tokens", settings.batch_tokens]
        findings = json.loads(lexivec.run("doctor", model, *flags))
    except (CommandFailed, json.JSONDecodeError):
        return None
    said = " ".join(finding["value"] for finding in findings if finding["what"] == "model")
    parts = re.search(r"([\d.]+) GB of weights, up to ([\d.]+) GB", said)
    return round((float(parts[1]) + float(parts[2])) * 1e9 / (1 << 20)) if parts else None


def measure(settings: Settings, lexivec: Lexivec, directory: Path, variant: Variant, lengths: tuple[int, ...]) -> Values:
    """Measures a variant with one start of the server."""
    before = machine.used_mib()
    with machine.MemoryWatch() as watch, Server(lexivec, directory, settings, variant.flags()) as server:
        loaded = machine.used_mib()
        short = [body(token_ids(1, LATENCY_TOKENS, seed)) for seed in range(settings.latency_requests)]
        seconds = latency(server, short)
        # The memory goal is for batches of the published workload, so only shorter inputs come before them.
        at_budget = tokens_per_second(server, INPUT_TOKENS, settings, seed=10_000)
        peak = watch.peak_mib
        rates = {INPUT_TOKENS: at_budget}
        for length in lengths:
            if length not in rates:
                rates[length] = tokens_per_second(server, length, settings, seed=length * 100_000)
        highest = watch.peak_mib
    has_memory = before is not None and peak is not None
    return {
        "latency_ms": {
            "p50": round(1e3 * percentile(seconds, 0.5), 3),
            "p99": round(1e3 * percentile(seconds, 0.99), 3),
        },
        "by_length": {str(length): rates[length] for length in sorted(rates)},
        "tokens_per_second": at_budget["tokens_per_second"],
        "memory_mib": peak - before if has_memory else None,
        "memory_of_all_lengths_mib": highest - before if has_memory else None,
        "memory_loaded_mib": loaded - before if has_memory and loaded is not None else None,
        "predicted_mib": predicted_mib(lexivec, directory, settings),
        "directory_bytes": size_on_disk(directory),
    }


def variants() -> list[tuple[Variant, bool]]:
    """Returns the variants, and whether each is measured at all lengths. Variants that the goals need come first."""
    listed = [(Variant(model), model.precision == "bf16") for model in FORMS]
    listed += [(Variant(model), False) for model in LARGE_MODELS if model not in FORMS]
    listed += [
        (Variant(Model("bf16", attention), graphs), False)
        for attention in ("grouped", "standard")
        for graphs in (True, False)
    ]
    return listed


def run(settings: Settings, lexivec: Lexivec, preparation: Preparation, stage: Stage) -> None:
    """Runs all steps."""

    def one(variant: Variant, every_length: bool) -> Values:
        lengths = settings.speed_lengths if every_length else settings.few_speed_lengths
        directory = preparation.wait(variant.model)
        values = measure(settings, lexivec, directory, variant, lengths)
        values["layer_weights"] = layer_weights(preparation.wait_for("checkpoint"))
        return values

    for variant, every_length in variants():
        stage.step(variant.name, 80 if every_length else 45, lambda: one(variant, every_length))
