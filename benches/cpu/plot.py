#!/usr/bin/env python3
"""Draws throughput against a text's length and against the number of texts: `plot.py results.json FOLDER`.

`run.py` calls it after every load. The command draws the plots of an older run again.
"""

import json
import sys
from pathlib import Path

from measure.svg import Chart, Series
from measure.systems import SYSTEMS

# Tokens per text of the plot against the number of texts.
TOKENS = 64


def points(rows: list[dict], name: str, by_length: bool) -> list[tuple[float, float]]:
    """Returns a system's tokens per second by the length of one text, or by the number of texts."""
    found = []
    for row in rows:
        count, _, length = row["load"].partition("x")
        if row["system"] == name and "tokens_per_s" in row and count.isdecimal() and length.isdecimal():
            if by_length and count == "1":
                found.append((float(length), row["tokens_per_s"]))
            elif not by_length and int(length) == TOKENS:
                found.append((float(count), row["tokens_per_s"]))
    return sorted(found)


def write(results: dict, folder: Path) -> None:
    """Writes length.svg and batch.svg, each if there is something to draw."""
    for file, by_length, title, axis in (
        ("length.svg", True, "One text", "tokens of the text"),
        ("batch.svg", False, f"Texts of {TOKENS} tokens", "texts per request"),
    ):
        series = [Series(system.label, points(results["rows"], system.name, by_length), system.ours) for system in SYSTEMS]
        if drawn := [one for one in series if one.points]:
            (folder / file).write_text(Chart(title, axis, "tokens/s", drawn).svg(), encoding="utf-8")


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: plot.py results.json FOLDER")
    write(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
