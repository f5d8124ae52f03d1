"""From numbers to places on the paper: scales, ticks, the frame of a chart, its legend."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sv_toolkit.metrics.detection import probit
from sv_toolkit.reporting.svg import FONT, PAPER, Markup, Style, cut, fitted, joined, label, marker, polyline, rule, tag, text_width

WIDTH = 400  # of every chart, in pixels; a page scales it to the screen
LEFT, RIGHT, TOP, BOTTOM = 54, 20, 10, 46  # margins around the plot
SMALL = 12  # font size of ticks and legends
ROW = 20  # height of a line of the legend
DET_TICKS = tuple(
    percent / 100 for percent in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40, 60, 80, 90, 95, 98, 99)
)

Values = np.ndarray


@dataclass(frozen=True)
class Labels:
    """The words of a chart: a short `name` that its file is called by, a title, a sentence for readers who cannot see it, the axes."""

    name: str
    title: str
    description: str
    x: str = ""
    y: str = ""


def linear(values: Values) -> Values:
    """The transform of an ordinary axis."""
    return np.asarray(values, dtype=np.float64)


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` on pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    transform: Callable[[Values], Values] = linear

    def __call__(self, values: Values | Sequence[float]) -> Values:
        """Pixels of the values; a factor of two is taken out first, so that no span overflows."""
        low, high = (float(end) / 2 for end in self.transform(np.array([self.low, self.high])))
        shares = (self.transform(np.asarray(values, dtype=np.float64)) / 2 - low) / (high - low)
        return self.start + shares * (self.end - self.start)

    def at(self, value: float) -> float:
        """The pixel of one value."""
        return float(self(np.array([value]))[0])


def widened(low: float, high: float) -> tuple[float, float]:
    """A range that has a width, for values that may all be equal."""
    size = max(abs(low), abs(high))
    if high / 2 - low / 2 > max(1e-9 * size, 1e-280):
        return low, high
    pad = 0.1 * size if size > 1e-9 else 0.5
    return low - pad, high + pad


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers within a range: steps of 1, 2 or 5 times a power of ten.

    >>> ticks(0.0, 0.9)
    [0.0, 0.2, 0.4, 0.6, 0.8]
    """
    rough = (high / count - low / count) or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    decimals = max(0, 1 - math.floor(math.log10(step)))
    return [round(number * step, decimals) + 0.0 for number in range(first, last + 1)]


def tick_text(value: float) -> str:
    """A number under a tick.

    >>> [tick_text(value) for value in (0.25, 20000.0, 3e9)]
    ['0.25', '20 000', '3e+09']
    """
    if value and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.3g}"
    text = f"{value:,.6f}".rstrip("0").rstrip(".")
    return text.replace(",", " ")


@dataclass(frozen=True)
class Frame:
    """The plot of a chart: an axis each way, and where they have ticks (value, text)."""

    x: Scale
    y: Scale
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]

    def points(self, x: Values, y: Values) -> list[tuple[float, float]]:
        """Places of values."""
        return list(zip(self.x(x).tolist(), self.y(y).tolist()))

    def drawn(self, labels: Labels) -> Markup:
        """Grid, axes, ticks and the names of the axes."""
        left, right, bottom, top = self.x.start, self.x.end, self.y.start, self.y.end
        pieces: list[Markup] = []
        for value, text in self.x_ticks:
            at = self.x.at(value)
            pieces += [rule(at, top, at, bottom), label(at, bottom + 16, text, SMALL, "middle", soft=True)]
        for value, text in self.y_ticks:
            at = self.y.at(value)
            pieces += [rule(left, at, right, at), label(left - 6, at + 4, text, SMALL, "end", soft=True)]
        pieces += [rule(left, bottom, right, bottom, "axis"), rule(left, top, left, bottom, "axis")]
        middle = (top + bottom) / 2
        if labels.x:
            pieces.append(label((left + right) / 2, bottom + (36 if self.x_ticks else 18), labels.x, 13, "middle"))
        if labels.y:
            pieces.append(label(13, middle, labels.y, 13, "middle", transform=f"rotate(-90 13 {middle:g})"))
        return joined(*pieces)


def frame(x_range: tuple[float, float], y_range: tuple[float, float], height: float = 220, left: float = LEFT) -> Frame:
    """Two ordinary axes around a plot of `height` pixels."""
    x = Scale(*widened(*x_range), left, WIDTH - RIGHT)
    y = Scale(*widened(*y_range), TOP + height, TOP)
    return Frame(x, y, _texts(ticks(x.low, x.high)), _texts(ticks(y.low, y.high)))


def _texts(values: Sequence[float]) -> list[tuple[float, str]]:
    return [(value, tick_text(value)) for value in values]


def det_frame(lowest_x: float, lowest_y: float, highest: float, size: float = 300) -> Frame:
    """Two probit axes in percent, from the ticks at or under the lowest rates to the one over the highest."""
    high = min([tick for tick in DET_TICKS if tick >= highest] or [DET_TICKS[-1]])
    lows = [max([tick for tick in DET_TICKS[:12] if tick <= lowest] or [DET_TICKS[0]]) for lowest in (lowest_x, lowest_y)]
    x = Scale(lows[0], high, LEFT, LEFT + size, probit)
    y = Scale(lows[1], high, TOP + size, TOP, probit)
    return Frame(x, y, _percents(x, 8), _percents(y, 16))


def _percents(scale: Scale, gap: float) -> list[tuple[float, str]]:
    """Ticks of a probit axis, from its high end down, without those whose texts would touch."""
    chosen: list[tuple[float, str]] = []
    for tick in (tick for tick in reversed(DET_TICKS) if scale.low <= tick <= scale.high):
        text = f"{100 * tick:g}"
        room = gap if gap > SMALL else gap + text_width(text, SMALL)
        if not chosen or abs(scale.at(tick) - scale.at(chosen[-1][0])) >= room:
            chosen.append((tick, text))
    return chosen


def legend(entries: Sequence[tuple[str, Style, str]], top: float) -> tuple[Markup, float]:
    """Samples and names in rows from `top` down, and where they end; `kind` of an entry: line, area, or a form of marker."""
    pieces, x, y = [], float(LEFT) - 40, top
    for name, look, kind in entries:
        text = fitted(name, SMALL, WIDTH - 60)
        width = 34 + text_width(text, SMALL) + 14
        if x > LEFT - 40 and x + width > WIDTH:
            x, y = float(LEFT) - 40, y + ROW
        pieces += [_sample(x, y + ROW / 2, look, kind), label(x + 34, y + ROW / 2 + 4, text, SMALL, unicode_bidi="isolate")]
        x += width
    return joined(*pieces), y + ROW if entries else top


def _sample(x: float, y: float, look: Style, kind: str) -> Markup:
    if kind == "area":
        corners = [(x + 4, y - 5), (x + 28, y - 5), (x + 28, y + 5), (x + 4, y + 5)]
        return joined(polyline(corners, look, fill=True), polyline([(x + 4, y - 5), (x + 28, y - 5)], look))
    if kind == "line":
        return joined(polyline([(x, y), (x + 29, y)], look), marker(x + 14.5, y, look))
    return marker(x + 14.5, y, look, shape=kind if kind != "marker" else "")


def picture(labels: Labels, height: float, *pieces: object) -> Markup:
    """A whole SVG image that says what it shows; it stands alone or inside a page."""
    names = f"{labels.name}-title", f"{labels.name}-desc"
    return tag(
        "svg",
        tag("title", cut(labels.title), id=names[0]),
        tag("desc", cut(labels.description, 1000), id=names[1]),
        tag("rect", width=WIDTH, height=height, fill=PAPER, class_="paper"),
        *pieces,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {height:g}",
        width=WIDTH,
        height=height,
        role="img",
        aria_labelledby=" ".join(names),
        font_family=FONT,
        class_="chart",
    )


def clipped(plot: Frame, margin: float, *pieces: object) -> Markup:
    """What is drawn inside the plot (`margin` pixels beyond it at most); an inner `svg` clips without an id that could clash."""
    x, y = plot.x.start - margin, plot.y.end - margin
    width, height = plot.x.end + margin - x, plot.y.start + margin - y
    return tag("svg", *pieces, x=x, y=y, width=width, height=height, viewBox=f"{x:g} {y:g} {width:g} {height:g}", overflow="hidden")
