"""Writes the Markdown report of a run: the goals, then each stage's measurements."""

import json
from collections.abc import Iterator
from pathlib import Path

from . import results
from .goals import Measured, Goal, goals
from .stage_nano import NAME as NANO
from .stage_peaks import NAME as PEAKS
from .stage_server import NAME as SERVER
from .stage_speed import NAME as SPEED
from .stage_values import NAME as VALUES

STAGES = (NANO, VALUES, SPEED, SERVER, PEAKS)
DRY_WARNING = "**A dry run on a stand-in device: every number is meaningless.**"


def number(value: float | None) -> str:
    """Formats a number with its significant digits, and None as a dash."""
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.5f}" if value <= 1 and value != int(value) else f"{value:.5g}"


def row(*cells: object) -> str:
    """Returns a line of a table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def table(heads: list[str], rows: list[list[object]]) -> Iterator[str]:
    """Yields a table and an empty line, or nothing if there are no rows."""
    if rows:
        yield row(*heads)
        yield row(*["---"] * len(heads))
        yield from (row(*cells) for cells in rows)
        yield ""


def goal_row(goal: Goal, dry: bool) -> list[object]:
    """Returns a goal's cells. A dry run has no verdicts."""
    sign = "at most" if goal.at_most else "at least"
    limit = f"{sign} {number(goal.limit)} {goal.unit}".strip() if goal.limit is not None else "needs stage 5"
    return [goal.what, limit, number(goal.measured), "dry run" if dry else goal.verdict, goal.detail]


def cosine_rows(folder: Path, stage: str, keys: list[str]) -> list[list[object]]:
    """Returns the least and mean cosines of all steps that have some."""
    rows = []
    for step in results.load(folder, stage):
        values = results.values_of(folder, stage, step)
        if values and any(key in values for key in keys):
            both = [values.get(key) for key in keys]
            rows.append([step, *(f"{c['min']:.6f} / {c['mean']:.6f}" if isinstance(c, dict) else "-" for c in both)])
    return rows


def speed_rows(folder: Path) -> list[list[object]]:
    """Returns a row per variant. The share of torch's peak in the same type counts only the linear layers."""
    measured = Measured(folder)
    rows = []
    for step in results.load(folder, SPEED):
        values = results.values_of(folder, SPEED, step)
        if not values:
            continue
        kind = "fp8" if step.startswith("fp8") else "bf16" if step.startswith("bf16") else "fp16"
        peak = measured.get(PEAKS, "peaks", f"{kind}_square_tflops")
        share = "-"
        if peak:
            share = f"{values['tokens_per_second'] * 2 * values['layer_weights'] / peak / 1e12:.0%}"
        by_length = ", ".join(f"{n}: {v['tokens_per_second']:,}" for n, v in values["by_length"].items())
        memory = f"{number(values['memory_mib'])} / {number(values['predicted_mib'])}"
        latency = f"{values['latency_ms']['p50']} / {values['latency_ms']['p99']}"
        rows.append([step, by_length, share, latency, memory])
    return rows


def server_rows(folder: Path) -> list[list[object]]:
    """Returns a row per load."""
    rows = []
    for step in results.load(folder, SERVER):
        values = results.values_of(folder, SERVER, step)
        if values:
            peer = (values["peer"] or {}).get("inputs_per_second")
            seconds = values["request_seconds"]
            latency = f"{seconds['p50']} / {seconds['p90']}"
            rows.append([step, values["model"], number(values["inputs_per_second"]), number(peer), latency])
    return rows


def unfinished(folder: Path) -> Iterator[list[object]]:
    """Yields the steps without values, and the reasons."""
    for stage in STAGES:
        for step, record in results.load(folder, stage).items():
            if record["status"] != "ok":
                yield [stage, step, record["status"], str(record["reason"])[:200]]


def markdown(folder: Path, dry: bool) -> str:
    """Returns the report."""
    machine = results.values_of(folder, NANO, "machine") or {}
    lines = ["# lexivec on a GPU", "", *([DRY_WARNING, ""] if dry else [])]
    lines += [f"{json.dumps(machine.get('card', {}))}, {machine.get('cores')} cores, {machine.get('packages')}", ""]
    lines += table(["goal", "limit", "measured", "verdict", ""], [goal_row(goal, dry) for goal in goals(folder)])
    lines += table(["nano, cosine min / mean", "to golden", "to fp32 on the CPU"],
                   cosine_rows(folder, NANO, ["to_golden", "to_cpu_fp32"]))
    lines += table(["4B, cosine min / mean", "to transformers float32", "to transformers bfloat16", "alone to batch"],
                   cosine_rows(folder, VALUES, ["to_transformers_float32", "to_transformers_bfloat16", "batch_invariance"]))
    lines += table(["4B", "tokens/s by length", "share of peak", "16 tokens, ms, p50 / p99", "MiB, measured / predicted"],
                   speed_rows(folder))
    lines += table(["load", "form", "inputs/s", "sentence-transformers", "request s, p50 / p90"], server_rows(folder))
    peaks = results.values_of(folder, PEAKS, "peaks") or {}
    lines += table(["peak", "value"], [[name, value] for name, value in peaks.items()])
    lines += table(["stage", "step without result", "status", "reason"], list(unfinished(folder)))
    return "\n".join(lines)
