"""A line chart with logarithmic axes as SVG, whose colours follow the reader's light or dark theme."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 920, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 330, 40, 48
# Colours that are told apart on white and on black.
COLOURS = ["#d62828", "#e8702a", "#1f77b4", "#2a9d8f", "#8e5bd0", "#b08900", "#d6499a", "#5b8c2a", "#3aa7d8", "#8c6d5a", "#7a86b6", "#c26d9a", "#6d8f8f"]
STYLE = """
text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-size:15px;font-weight:600}.grid{stroke:#d0d7de;stroke-width:1}
path{fill:none;stroke-width:1.6}.ours{stroke-width:3}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#30363d}}
"""
LINE_HEIGHT = 18
STEPS = (1, 2, 5)


@dataclass(frozen=True)
class Series:
    """A line: its name, its points, and whether it is drawn bold."""

    name: str
    points: list[tuple[float, float]]
    bold: bool


def ticks(low: float, high: float) -> list[float]:
    """Returns 1, 2 and 5 times the powers of ten within a range."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [value for power in powers for step in STEPS if low <= (value := step * 10.0**power) <= high]


@dataclass(frozen=True)
class Chart:
    """A chart of some series with positive values."""

    title: str
    x_label: str
    y_label: str
    series: list[Series]

    def limits(self, axis: int) -> tuple[float, float]:
        """Returns the range of an axis, with a margin."""
        values = [point[axis] for series in self.series for point in series.points]
        return min(values) / 1.15, max(values) * 1.15

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Returns the coordinates of a point."""
        across, up = (
            math.log(value / low) / math.log(high / low) for value, (low, high) in ((x, self.limits(0)), (y, self.limits(1)))
        )
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def axes(self) -> Iterator[str]:
        """Yields the grid and its labels."""
        (x_low, x_high), (y_low, y_high) = self.limits(0), self.limits(1)
        for value in sorted({point[0] for series in self.series for point in series.points}):
            x, _ = self.place(value, y_low)
            yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
            yield f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value:,.0f}</text>'
        for value in ticks(y_low, y_high):
            _, y = self.place(x_low, value)
            yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,.0f}</text>'
        middle = (LEFT + WIDTH - RIGHT) / 2
        yield f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">{escape(self.x_label)}</text>'
        yield f'<text x="{LEFT}" y="20" class="title">{escape(self.title)}: {escape(self.y_label)}</text>'

    def lines(self) -> Iterator[str]:
        """Yields each series and its entry in the legend, which is ordered by the last values."""
        ordered = sorted(enumerate(self.series), key=lambda pair: -pair[1].points[-1][1])
        for row, (number, series) in enumerate(ordered):
            colour = COLOURS[number % len(COLOURS)]
            places = [self.place(*point) for point in series.points]
            path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
            bold = ' class="ours"' if series.bold else ""
            yield f'<path d="{path}" stroke="{colour}"{bold}/>'
            yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places)
            y = TOP + 12 + row * LINE_HEIGHT
            yield f'<path d="M{WIDTH - RIGHT + 12} {y - 4}h16" stroke="{colour}"{bold}/>'
            yield f'<text x="{WIDTH - RIGHT + 34}" y="{y}">{escape(series.name)}</text>'

    def svg(self) -> str:
        """Returns the image."""
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{escape(self.title)}</title>'
        return "\n".join([head, f"<style>{STYLE}</style>", *self.axes(), *self.lines(), "</svg>", ""])
