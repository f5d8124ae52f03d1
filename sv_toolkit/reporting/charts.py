"""Charts as SVG text, drawn from arrays alone: lines, DET curves, histograms, dots with whiskers, maps.

Every chart is `WIDTH` pixels wide, legible when a telephone shows it smaller, and says in words what it shows.
What it is drawn with (colour, dash, marker) tells its parts from each other without colour, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sv_toolkit.reporting.axes import (
    BOTTOM,
    LEFT,
    RIGHT,
    SMALL,
    TOP,
    WIDTH,
    Frame,
    Labels,
    Scale,
    clipped,
    det_frame,
    frame,
    legend,
    picture,
    tick_text,
    ticks,
    widened,
)
from sv_toolkit.reporting.svg import Markup, Style, fitted, joined, label, marker, polyline, rule, style

COLUMNS = 340  # pixels across a plot: no more can be seen of a curve
MAX_MARKERS = 8  # on one curve


@dataclass(frozen=True)
class Line:
    """A named curve: `x` rising, `y`, each `(num_points,)`; where `y` is not finite the curve is broken.

    A curve drawn `beside` another one, by the index of that, shares its colour: thin, unmarked and not in the legend.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    beside: int | None = None


@dataclass(frozen=True)
class Bars:
    """A named histogram: `heights` `(num_bins,)`."""

    name: str
    heights: np.ndarray


@dataclass(frozen=True)
class DetCurve:
    """A named error curve: rates in (0, 1), each `(num_points,)`, and the equal error rate that is marked on it."""

    name: str
    miss: np.ndarray
    false_alarm: np.ndarray
    eer: float


@dataclass(frozen=True)
class Dot:
    """A value with its interval (None where there is none), of a `series` (a name in the legend) in a `group` (a row)."""

    group: str
    series: str
    value: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Cloud:
    """Points of one colour on a map, `(num_points, 2)`; `shape` is a marker's name, empty for that of the colour."""

    name: str
    points: np.ndarray
    colour: int
    shape: str = ""
    size: float = 2.6


def line_chart(labels: Labels, lines: Sequence[Line], y_from_zero: bool = False) -> Markup:
    """Curves over a common axis, thinned to what can be seen.

    Raises:
        ValueError: no curve has a point.
    """
    x, y = _finite([line.x[np.isfinite(line.y)] for line in lines]), _finite([line.y for line in lines])
    low = min(0.0, float(y.min())) if y_from_zero else float(y.min())
    plot = frame((float(x.min()), float(x.max())), (low, float(y.max())))
    drawn = [_curve(plot, line, index) for index, line in enumerate(lines)]
    entries = [(line.name, style(index), "line") for index, line in enumerate(lines) if line.beside is None]
    return _with_legend(labels, plot, joined(*drawn), entries)


def det_chart(labels: Labels, curves: Sequence[DetCurve]) -> Markup:
    """Detection error trade-off on probit axes (Martin et al. 1997); a marker stands at each equal error rate.

    Raises:
        ValueError: there is no curve.
    """
    if not curves:
        raise ValueError("a DET chart needs a curve")
    lowest = [min(_lowest(getattr(curve, side)) for curve in curves) for side in ("false_alarm", "miss")]
    highest = max(0.4, min(0.99, 1.6 * max(curve.eer for curve in curves)))
    plot = det_frame(lowest[0], lowest[1], highest)
    diagonal = [max(plot.x.low, plot.y.low), plot.x.high]
    pieces = [polyline(plot.points(np.array(diagonal), np.array(diagonal)), style(4), 0.7, "1 4")]
    for index, curve in enumerate(curves):
        inside = (curve.false_alarm > 0) & (curve.false_alarm < 1) & (curve.miss > 0) & (curve.miss < 1)
        points = plot.points(curve.false_alarm[inside], curve.miss[inside])
        pieces.append(polyline(points, style(index)))
        if plot.y.low <= curve.eer <= plot.y.high and plot.x.low <= curve.eer:
            pieces.append(marker(plot.x.at(curve.eer), plot.y.at(curve.eer), style(index), 4.5))
    entries = [(f"{curve.name}: EER {100 * curve.eer:.2f} %", style(index), "line") for index, curve in enumerate(curves)]
    return _with_legend(labels, plot, joined(*pieces), entries, margin=0)


def histogram(labels: Labels, edges: np.ndarray, bars: Sequence[Bars], marks: Sequence[tuple[float, str]] = ()) -> Markup:
    """Outlines of histograms over common bins; a dashed upright line with a text at each of `marks`.

    Args:
        edges: `(num_bins + 1,)`, rising.

    Raises:
        ValueError: there are no bars.
    """
    top = float(_finite([each.heights for each in bars]).max()) or 1.0
    plot = frame((float(edges[0]), float(edges[-1])), (0.0, (1.14 if marks else 1.04) * top))  # room for the text of a mark
    pieces = []
    for index, each in enumerate(bars):
        points = plot.points(np.repeat(edges, 2), np.concatenate([[0.0], np.repeat(each.heights, 2), [0.0]]))
        pieces += [polyline(points, style(index), fill=True), polyline(points, style(index), 1.6)]
    for value, text in marks:
        at = plot.x.at(value)
        anchor, shift = ("end", -5) if at > (LEFT + WIDTH) / 2 else ("start", 5)
        pieces += [rule(at, plot.y.start, at, plot.y.end, "mark", "5 3"), label(at + shift, TOP + 12, text, SMALL, anchor)]
    return _with_legend(labels, plot, joined(*pieces), [(each.name, style(index), "area") for index, each in enumerate(bars)])


def dot_whisker(labels: Labels, dots: Sequence[Dot]) -> Markup:
    """A row for each group with a dot for each series, and a whisker over its interval.

    Raises:
        ValueError: there is no dot.
    """
    series, groups = list(dict.fromkeys(dot.series for dot in dots)), list(dict.fromkeys(dot.group for dot in dots))
    ends = _finite([np.array([dot.value, *(dot.interval or ())]) for dot in dots])
    step = 13
    row = 22 + step * len(series)
    height = float(row * len(groups) + 6)
    x = Scale(*widened(min(0.0, float(ends.min())), float(ends.max()) * 1.04), LEFT - 40, WIDTH - RIGHT)
    plot = Frame(x, Scale(0.0, height, TOP + height, TOP), [(tick, tick_text(tick)) for tick in ticks(x.low, x.high, 6)], ())
    pieces = [label(x.start + 6, TOP + 16 + row * place, fitted(group, SMALL, WIDTH - 30), SMALL) for place, group in enumerate(groups)]
    for dot in dots:
        index = series.index(dot.series)
        y = TOP + 27 + row * groups.index(dot.group) + step * index
        if dot.interval is not None:
            low, high = (x.at(end) for end in dot.interval)
            whisker = [(low, y - 3.5), (low, y + 3.5), (low, y), (high, y), (high, y - 3.5), (high, y + 3.5)]
            pieces.append(polyline(whisker, style(index), 1.6, ""))
        pieces.append(marker(x.at(dot.value), y, style(index), 4))
    entries = [(name, style(index), "marker") for index, name in enumerate(series)]
    return _with_legend(labels, plot, joined(*pieces), entries if len(series) > 1 else [])


def scatter(labels: Labels, clouds: Sequence[Cloud], legend_of: Sequence[Cloud] | None = None) -> Markup:
    """Points on a map whose axes have one scale and no numbers.

    Raises:
        ValueError: there is no point.
    """
    both = np.concatenate([cloud.points for cloud in clouds]) if clouds else np.zeros((0, 2))
    middle, half = _middle(both), _half_span(both)
    size = WIDTH - LEFT - RIGHT
    x = Scale(middle[0] - half, middle[0] + half, LEFT, WIDTH - RIGHT)
    plot = Frame(x, Scale(middle[1] - half, middle[1] + half, TOP + size, TOP), (), ())
    pieces = [
        marker(*place, style(cloud.colour), cloud.size, cloud.shape or "", halo=cloud.size > 3)
        for cloud in clouds
        for place in plot.points(cloud.points[:, 0], cloud.points[:, 1])
    ]
    entries = [(cloud.name, style(cloud.colour), cloud.shape or "marker") for cloud in (clouds if legend_of is None else legend_of)]
    return _with_legend(labels, plot, joined(*pieces), entries)


def thinned(x: np.ndarray, y: np.ndarray, columns: int = COLUMNS) -> tuple[np.ndarray, np.ndarray]:
    """The points that can be seen of a curve: of each column of pixels the first, the last, the lowest and the highest.

    Args:
        x: `(num_points,)`, rising.
        y: `(num_points,)`; what is not finite breaks the curve and is kept.
    """
    if len(x) <= 4 * columns:
        return x, y
    span = float(x[-1] - x[0]) or 1.0
    column = np.minimum((columns * (x - x[0]) / span).astype(np.int64), columns - 1)
    edges = np.flatnonzero(np.diff(column)) + 1
    starts = np.concatenate([[0], edges])
    ends = np.concatenate([edges, [len(x)]])
    keep = [
        (start, end - 1, start + int(np.argmin(y[start:end])), start + int(np.argmax(y[start:end]))) for start, end in zip(starts, ends)
    ]
    chosen = np.union1d(np.array(keep), np.flatnonzero(~np.isfinite(y)))
    return x[chosen], y[chosen]


def _curve(plot: Frame, line: Line, index: int) -> Markup:
    """A curve in its unbroken parts, with a few markers."""
    x, y = thinned(line.x, line.y)
    good = np.isfinite(y)
    cuts = np.flatnonzero(np.diff(good.astype(np.int8))) + 1
    parts = [part for part in np.split(np.arange(len(y)), cuts) if len(part) and good[part[0]]]
    if line.beside is not None:
        return joined(*(polyline(plot.points(x[part], y[part]), style(line.beside), 0.7) for part in parts if len(part) > 1))
    lines = [polyline(plot.points(x[part], y[part]), style(index)) for part in parts if len(part) > 1]
    places = np.flatnonzero(good)
    if len(places) > MAX_MARKERS:
        places = places[np.unique(np.linspace(0, len(places) - 1, MAX_MARKERS).round().astype(np.int64))]
    return joined(*lines, *(marker(*point, style(index)) for point in plot.points(x[places], y[places])))


def _with_legend(labels: Labels, plot: Frame, inside: Markup, entries: Sequence[tuple[str, Style, str]], margin: float = 5) -> Markup:
    named, bottom = legend(entries, plot.y.start + (BOTTOM if plot.x_ticks else BOTTOM - 16))
    return picture(labels, bottom + 4, plot.drawn(labels), clipped(plot, margin, inside), named)


def _finite(arrays: Sequence[np.ndarray]) -> np.ndarray:
    values = np.concatenate([np.asarray(each, dtype=np.float64) for each in arrays]) if arrays else np.zeros(0)
    values = values[np.isfinite(values)]
    if len(values) == 0:
        raise ValueError("a chart needs a finite value")
    return values


def _lowest(rates: np.ndarray) -> float:
    inside = rates[(rates > 0) & (rates < 1)]
    return float(inside.min()) if len(inside) else 0.01


def _middle(points: np.ndarray) -> np.ndarray:
    if len(points) == 0:
        raise ValueError("a map needs a point")
    return np.asarray((points.min(axis=0) + points.max(axis=0)) / 2)


def _half_span(points: np.ndarray) -> float:
    return 0.54 * float(np.ptp(points, axis=0).max()) or 1.0
