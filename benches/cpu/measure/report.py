"""Writes results as Markdown tables."""

from collections.abc import Callable, Iterator

from .loads import DESCRIPTIONS
from .systems import SYSTEMS

LABELS = {system.name: system.label for system in SYSTEMS}
# The lexivec systems that the ratios are for.
COMPARED = ("lexivec-int8", "lexivec-int8-http", "lexivec-fp32", "lexivec-fp32-http")


def line(*cells: object) -> str:
    """Returns a line of a table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def table(heads: list[str], rows: list[list[object]]) -> Iterator[str]:
    """Yields a table and an empty line."""
    yield line(*heads)
    yield line(*["---"] * len(heads))
    yield from (line(*row) for row in rows)
    yield ""


def number(value: float) -> str:
    """Formats a number with three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


class Report:
    """The tables of one run."""

    def __init__(self, results: dict) -> None:
        self.results = results
        self.cells = {(row["system"], row["load"]): row for row in results["rows"]}
        self.loads = [load["name"] for load in results["loads"]]
        self.names = [system["name"] for system in results["systems"] if "least_cosine" in system]
        self.peers = [system["name"] for system in results["systems"] if not system["ours"] and system["name"] in self.names]

    def cell(self, name: str, load: str, key: str, scale: float = 1.0) -> str:
        """Returns a figure, `-` if it was not measured, or `failed`."""
        row = self.cells.get((name, load), {})
        return "failed" if row.get("failed") else number(row[key] * scale) if row.get(key) is not None else "-"

    def rate(self, name: str, load: str) -> float | None:
        """Returns tokens per second."""
        return self.cells.get((name, load), {}).get("tokens_per_s")

    def ratio(self, name: str, load: str) -> str:
        """Returns the ratio to the fastest peer, and that peer's name."""
        peers = [(rate, peer) for peer in self.peers if (rate := self.rate(peer, load))]
        own = self.rate(name, load)
        return f"{own / max(peers)[0]:.2f} ({max(peers)[1]})" if own and peers else "-"

    def share(self, name: str, load: str) -> str:
        """Returns the shares of the arithmetic peak and of the memory bandwidth."""
        shares = self.cells.get((name, load), {}).get("shares")
        return f"{shares['arithmetic']:.0%} / {shares['bandwidth']:.0%}" if shares else "-"

    def latency(self, name: str, load: str) -> str:
        """Returns the median and the 95th percentile in milliseconds."""
        median = self.cell(name, load, "median_s", 1e3)
        return median if median in ("-", "failed") else f"{median} / {self.cell(name, load, 'p95_s', 1e3)}"

    def by_load(self, head: str, names: list[str], cell: Callable[[str, str], str]) -> Iterator[str]:
        """Yields a table with a row per system and a column per load."""
        yield from table([head, *self.loads], [[LABELS[name], *(cell(name, load) for load in self.loads)] for name in names])

    def lines(self) -> Iterator[str]:
        """Yields the whole report."""
        results, machine = self.results, self.results["machine"]
        yield "# CPU benchmark"
        yield ""
        if results["dry"]:
            yield "**A dry run: nano, debug builds, one round. Its figures mean nothing.**\n"
        yield f"{machine['cores']} cores of {machine['processor']} ({', '.join(machine['instruction_sets'])}), {machine['memory_gib']} GiB. "
        yield f"{results['rounds']} rounds. Peaks of the machine: {self.peaks()}."
        yield ""
        yield from self.by_load("tokens/s", self.names, lambda name, load: self.cell(name, load, "tokens_per_s"))
        compared = [name for name in COMPARED if name in self.names]
        yield from self.by_load("divided by the fastest peer", compared, self.ratio)
        yield from self.by_load("ms, median / p95", self.names, self.latency)
        yield from self.by_load("peak resident MB", self.names, lambda name, load: self.cell(name, load, "peak_bytes", 1e-6))
        yield from self.by_load("share of peak: arithmetic / bandwidth", self.names, self.share)
        yield from self.systems()
        yield from (f"* {name}: {text}." for name, text in DESCRIPTIONS.items() if name in self.loads)
        for row in results["rows"]:
            if row.get("failed"):
                yield f"* {LABELS[row['system']]}, {row['load']}: {row['failed']}"
        noise = max((row.get("others_cores", 0) for row in results["rows"]), default=0)
        yield f"* Other processes used at most {noise:.2f} cores in a round."

    def peaks(self) -> str:
        """Returns the peaks in words."""
        peaks = self.results["peaks"]
        found = [f"{kind} {peaks[kind]['operations_per_s'] / 1e12:.2f} T/s ({peaks[kind]['by']})" for kind in ("int8", "bf16", "fp32") if peaks[kind]]
        return ", ".join([*found, f"reading {peaks['read_bytes_per_s'] / 1e9:.1f} GB/s"])

    def systems(self) -> Iterator[str]:
        """Yields a table of the systems, those that were not run included."""
        rows: list[list[object]] = []
        for system in self.results["systems"]:
            cosine = f"{system['least_cosine']:.5f}" if "least_cosine" in system else "-"
            ready = f"{system['ready_s']:.1f}" if "ready_s" in system else "-"
            note = f"not run: {system['failed']}" if "failed" in system else system["note"]
            rows.append([LABELS[system["name"]], cosine, ready, note])
        yield from table(["system", "least cosine to " + self.results["reference"], "ready after s", ""], rows)
