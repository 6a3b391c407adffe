"""Plots as SVG, written by hand: a frame with axes, and lines, bands, bars and points in it.

Colours, dashes and sizes come from the style sheet by class; here are only coordinates. Every text goes through
``escape`` after ``plain``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from kdbench.leaderboard.site.text import SHORT, plain, shorten

SERIES = 8
"""Colours and dash patterns that the style sheet has for lines: classes s0 ... s7."""


def text_of(value: str) -> Markup:
    """Untrusted text within SVG."""
    return escape(plain(shorten(value, SHORT)))


def short(value: float) -> str:
    """A coordinate: a tenth of a pixel is enough."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers in [low, high], ``about`` so many.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / about
    if not math.isfinite(raw) or raw <= 0:
        return [low]
    power: float = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclasses.dataclass
class Frame:
    """A drawing area with linear axes; what is drawn is collected in ``parts``."""

    x: tuple[float, float]
    y: tuple[float, float]
    x_title: str
    y_title: str
    width: int = 420
    height: int = 260
    percent: bool = True
    """Whether y is a fraction that is labelled in percent."""
    x_ticks: Sequence[float] | None = None
    x_percent: bool = False
    parts: list[str] = dataclasses.field(default_factory=list)

    left, right, top, bottom = 48, 12, 10, 40

    def at_x(self, value: float) -> float:
        """Pixel of a value on the x axis."""
        low, high = self.x
        return self.left + (value - low) / ((high - low) or 1) * (self.width - self.left - self.right)

    def at_y(self, value: float) -> float:
        """Pixel of a value on the y axis."""
        low, high = self.y
        return self.height - self.bottom - (value - low) / ((high - low) or 1) * (self.height - self.top - self.bottom)

    def line(self, xs: Iterable[float], ys: Iterable[float], kind: str) -> None:
        """A line of class ``kind``, interrupted where a value is NaN."""
        path, pen = [], "M"
        for x, y in zip(xs, ys, strict=True):
            if math.isfinite(x) and math.isfinite(y):
                path.append(f"{pen}{short(self.at_x(x))} {short(self.at_y(y))}")
                pen = "L"
            else:
                pen = "M"
        if path:
            self.parts.append(f'<path class="line {kind}" d="{"".join(path)}"/>')

    def band(self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], kind: str) -> None:
        """The area between two lines, where both are known."""
        known = [(x, a, b) for x, a, b in zip(xs, low, high, strict=True) if math.isfinite(a) and math.isfinite(b)]
        there = [f"{short(self.at_x(x))} {short(self.at_y(b))}" for x, _, b in known]
        back = [f"{short(self.at_x(x))} {short(self.at_y(a))}" for x, a, _ in reversed(known)]
        if known:
            self.parts.append(f'<path class="band {kind}" d="M{"L".join(there + back)}Z"/>')

    def bar(self, left: float, right: float, low: float, high: float, kind: str) -> None:
        """A rectangle between values."""
        x, y = self.at_x(left), self.at_y(max(low, high))
        width, height = self.at_x(right) - x, self.at_y(min(low, high)) - y
        self.parts.append(
            f'<rect class="{kind}" x="{short(x)}" y="{short(y)}" width="{short(width)}" height="{short(height)}"/>'
        )

    def point(self, x: float, y: float, kind: str, title: str = "") -> None:
        """A dot, with a title where the pointer rests on it."""
        inner = f"<title>{text_of(title)}</title>" if title else ""
        where = f'cx="{short(self.at_x(x))}" cy="{short(self.at_y(y))}"'
        self.parts.append(f'<circle class="{kind}" {where} r="3.5">{inner}</circle>')

    def label(self, x: float, y: float, text: str, anchor: str = "start", above: float = 6) -> None:
        """A word at a place of the plot."""
        where = f'x="{short(self.at_x(x))}" y="{short(self.at_y(y) - above)}"'
        self.parts.append(f'<text class="note" {where} text-anchor="{anchor}">{text_of(text)}</text>')

    def svg(self, description: str) -> Markup:
        """The whole plot; ``description`` is for readers who do not see it."""
        body = "".join(self._axes() + self.parts)
        return Markup(  # numbers of our own and text that went through text_of
            f'<svg class="chart" role="img" aria-label="{text_of(description)}" '
            f'width="{self.width}" height="{self.height}" viewBox="0 0 {self.width} {self.height}">{body}</svg>'
        )

    def _axes(self) -> list[str]:
        right, floor = self.width - self.right, self.height - self.bottom
        parts = []
        for tick in ticks(*self.y):
            y = short(self.at_y(tick))
            text = f"{100 * tick:.4g}" if self.percent else f"{tick:.4g}"
            parts.append(f'<path class="grid" d="M{self.left} {y}H{right}"/>')
            parts.append(f'<text class="tick" x="{self.left - 6}" y="{y}" dy=".32em" text-anchor="end">{text}</text>')
        for tick in self.x_ticks if self.x_ticks is not None else ticks(*self.x):
            x = short(self.at_x(tick))
            text = f"{100 * tick:.4g}" if self.x_percent else f"{tick:.4g}"
            parts.append(f'<path class="grid" d="M{x} {floor}v4"/>')
            parts.append(f'<text class="tick" x="{x}" y="{floor + 16}" text-anchor="middle">{text}</text>')
        middle = (self.left + right) / 2
        across = (self.top + floor) / 2
        parts.append(f'<path class="axis" d="M{self.left} {self.top}V{floor}H{right}"/>')
        parts.append(
            f'<text class="name" x="{short(middle)}" y="{self.height - 4}" text-anchor="middle">'
            f"{text_of(self.x_title)}</text>"
            f'<text class="name" transform="translate(12 {short(across)}) rotate(-90)" text-anchor="middle">'
            f"{text_of(self.y_title)}</text>"
        )
        return parts


def legend(labels: Sequence[str]) -> Markup:
    """Names of the lines s0, s1, ..., each after a sample of its line."""
    items = [
        f'<li><svg class="key" viewBox="0 0 28 8" aria-hidden="true"><path class="line s{number % SERIES}" '
        f'd="M0 4H28"/></svg> <bdi>{text_of(label)}</bdi></li>'
        for number, label in enumerate(labels)
    ]
    return Markup('<ul class="legend">' + "".join(items) + "</ul>")  # every label went through text_of
