"""Charts say the numbers that they were given: places are read back with the help of the ticks alone."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_toolkit.reporting.axes import BOTTOM, WIDTH, Labels, Scale, tick_text, ticks, widened
from sv_toolkit.reporting.charts import Bars, Cloud, DetCurve, Dot, Line, det_chart, dot_whisker, histogram, line_chart, scatter, thinned
from sv_toolkit.reporting.svg import LIGHT

SVG = "{http://www.w3.org/2000/svg}"
LABELS = Labels("name", "A title", "What it shows", "across", "up")
finite = st.floats(-1e300, 1e300)


def parsed(svg):
    """The image, whose texts and marks must lie on it."""
    root = ET.fromstring(svg)
    height = float(root.get("height"))
    for text in root.iter(f"{SVG}text"):
        assert -0.01 <= float(text.get("x")) <= WIDTH
        assert 0 <= float(text.get("y")) <= height
    assert [root[0].tag, root[1].tag] == [f"{SVG}title", f"{SVG}desc"]
    assert root.get("role") == "img"
    assert root.get("aria-labelledby").split() == [root[0].get("id"), root[1].get("id")]
    return root


def axis_values(root, transform=float):
    """Two functions from pixels to values, from the texts of the ticks (small soft text) and their places."""
    soft = [text for text in root.iter(f"{SVG}text") if text.get("class") == "soft"]
    found = []
    for is_mine, key, shift in ((lambda t: t.get("text-anchor") == "middle", "x", 0), (lambda t: t.get("text-anchor") == "end", "y", -4)):
        marks = [(float(t.get(key)) + shift, transform(t.text.replace(" ", ""))) for t in soft if is_mine(t)]
        places, values = zip(*marks) if marks else ((), ())
        found.append(np.polyfit(places, values, 1) if len(marks) > 1 else None)
    return [None if line is None else (lambda pixels, line=line: np.polyval(line, pixels)) for line in found]


def lines(root, colour):
    return [
        np.array([[float(number) for number in pair.split(",")] for pair in line.get("points").split()])
        for line in root.iter(f"{SVG}polyline")
        if line.get("stroke") == LIGHT[colour]
    ]


def places(root, colour):
    """Where the markers of a colour stand."""
    marks = [path for path in root.iter(f"{SVG}path") if LIGHT[colour] in (path.get("fill"), path.get("stroke"))]
    return np.array([[float(n) for n in re.match(r"translate\((\S+) (\S+)\)", mark.get("transform")).groups()] for mark in marks])


def test_a_line_is_its_numbers():
    x, y = np.linspace(0, 3000, 50), np.sin(np.linspace(0, 6, 50)) * 7 + 2
    root = parsed(line_chart(LABELS, [Line("a", x, y), Line("b", x, y + 1)]))
    to_x, to_y = axis_values(root)
    for colour, wanted in ((0, y), (1, y + 1)):
        drawn = lines(root, colour)[0]
        assert np.allclose(to_x(drawn[:, 0]), x, atol=3000 / 300 * 0.02)
        assert np.allclose(to_y(drawn[:, 1]), wanted, atol=16 / 200 * 0.02)


def test_a_line_is_broken_where_a_value_is_missing():
    y = np.array([1.0, 2.0, np.nan, 3.0, 4.0, np.inf, 5.0])
    root = parsed(line_chart(LABELS, [Line("a", np.arange(7.0), y)]))
    first, second, _sample_in_legend = lines(root, 0)
    to_x, to_y = axis_values(root)
    assert np.allclose([to_x(first[:, 0]), to_x(second[:, 0])], [[0, 1], [3, 4]], atol=0.01)
    assert np.allclose([to_y(first[:, 1]), to_y(second[:, 1])], [[1, 2], [3, 4]], atol=0.01)
    assert len(places(root, 0)) == 5 + 1, "a single value has its marker"


def test_a_det_curve_is_its_rates():
    miss, false_alarm = np.array([0.0, 0.02, 0.1, 0.3, 1.0]), np.array([1.0, 0.25, 0.1, 0.02, 0.0])
    root = parsed(det_chart(LABELS, [DetCurve("a", miss, false_alarm, 0.1)]))
    quantile = NormalDist().inv_cdf
    to_x, to_y = axis_values(root, lambda text: quantile(float(text) / 100))
    drawn = lines(root, 0)[0]
    assert np.allclose(to_x(drawn[:, 0]), [quantile(rate) for rate in false_alarm[1:-1]], atol=2e-3)
    assert np.allclose(to_y(drawn[:, 1]), [quantile(rate) for rate in miss[1:-1]], atol=2e-3)
    assert np.allclose(places(root, 0)[0], [drawn[1, 0], drawn[1, 1]], atol=0.02)
    assert "a: EER 10.00 %" in "".join(root.itertext())


def test_det_ticks_do_not_touch():
    for lowest in (1e-6, 1e-4, 0.01):
        rates = np.array([lowest, 0.5])
        root = parsed(det_chart(LABELS, [DetCurve("a", rates[::-1], rates, eer) for eer in (0.01, 0.6)]))
        soft = [text for text in root.iter(f"{SVG}text") if text.get("class") == "soft" and text.get("text-anchor") == "middle"]
        spans = sorted((float(t.get("x")) - 3.5 * len(t.text), float(t.get("x")) + 3.5 * len(t.text)) for t in soft)
        assert len(spans) >= 4
        assert all(left[1] < right[0] for left, right in zip(spans, spans[1:]))


def test_a_histogram_is_its_heights():
    edges, heights = np.linspace(-1, 1, 5), np.array([0.0, 2.0, 1.0, 0.5])
    root = parsed(histogram(LABELS, edges, [Bars("a", heights)], [(0.25, "here")]))
    to_x, to_y = axis_values(root)
    drawn = lines(root, 0)[0]
    assert np.allclose(to_x(drawn[:, 0]), np.repeat(edges, 2), atol=1e-3)
    assert np.allclose(to_y(drawn[:, 1]), [0, *np.repeat(heights, 2), 0], atol=1e-3)
    mark = next(line for line in root.iter(f"{SVG}line") if line.get("class") == "mark")
    assert np.isclose(to_x(float(mark.get("x1"))), 0.25, atol=1e-3)


def test_dots_and_whiskers_are_their_values():
    dots = [Dot("one", "a", 3.0, (2.0, 5.0)), Dot("one", "b", 4.0), Dot("two", "a", 8.0, (7.5, 9.0))]
    root = parsed(dot_whisker(LABELS, dots))
    to_x, _ = axis_values(root)
    whiskers = lines(root, 0)
    assert np.allclose([[to_x(w[:, 0].min()), to_x(w[:, 0].max())] for w in whiskers], [(2, 5), (7.5, 9)], atol=0.02)
    assert np.allclose(to_x(places(root, 0)[:2, 0]), [3, 8], atol=0.02)
    assert np.allclose(to_x(places(root, 1)[:1, 0]), [4], atol=0.02)
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts.index("one") < texts.index("two")


def test_a_map_keeps_distances():
    points = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 0.0]])
    root = parsed(scatter(LABELS, [Cloud("a", points, 0)]))
    drawn = places(root, 0)[:3]
    drawn_pairs = [np.linalg.norm(drawn[i] - drawn[j]) for i, j in ((0, 1), (1, 2), (0, 2))]
    assert np.allclose(np.array(drawn_pairs) / drawn_pairs[0], np.array([5, 5, 6]) / 5, atol=1e-3)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: line_chart(LABELS, []),
        lambda: line_chart(LABELS, [Line("a", np.zeros(1), np.array([np.nan]))]),
        lambda: det_chart(LABELS, []),
        lambda: histogram(LABELS, np.linspace(0, 1, 3), []),
        lambda: dot_whisker(LABELS, []),
        lambda: scatter(LABELS, []),
    ],
)
def test_nothing_to_draw_is_refused(draw):
    with pytest.raises(ValueError, match="needs"):
        draw()


@settings(max_examples=30)
@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=20), st.text(max_size=200))
def test_any_finite_numbers_and_any_name_make_an_image(points, name):
    x, y = np.array(sorted(points)).T
    root = parsed(line_chart(Labels("n", name, name, name, name), [Line(name, x, y)]))
    for line in lines(root, 0):
        assert np.all((line >= -0.01) & (line <= WIDTH + BOTTOM))


def test_equal_values_are_drawn():
    parsed(line_chart(LABELS, [Line("a", np.full(3, 5.0), np.full(3, 1e-300))]))
    parsed(scatter(LABELS, [Cloud("a", np.zeros((2, 2)), 0)]))
    parsed(dot_whisker(LABELS, [Dot("g", "a", 0.0, (0.0, 0.0))]))


def test_a_thinned_curve_looks_the_same(rng):
    x = np.sort(rng.uniform(0, 1, 100_000))
    y = rng.normal(size=100_000)
    y[777] = 50.0
    few_x, few_y = thinned(x, y, columns=100)
    assert len(few_x) <= 400
    of_all, of_few = (np.minimum((100 * (each - x[0]) / (x[-1] - x[0])).astype(int), 99) for each in (x, few_x))
    for column in range(100):
        assert y[of_all == column].min() == few_y[of_few == column].min()
        assert y[of_all == column].max() == few_y[of_few == column].max()


@given(finite, finite)
def test_ticks_are_few_round_and_within(one, other):
    low, high = widened(min(one, other), max(one, other))
    found = ticks(low, high)
    assert 2 <= len(found) <= 11
    slack = 1e-6 * (high / 2 - low / 2)
    assert all(low - slack <= tick <= high + slack for tick in found)
    assert found == sorted(set(found))
    assert all(len(tick_text(tick)) <= 12 for tick in found)


@given(st.floats(-1e6, 1e6), st.floats(0.001, 1e6), st.floats(0, 1))
def test_a_scale_puts_its_ends_on_the_ends(low, span, share):
    scale = Scale(low, low + span, 50.0, 350.0)
    assert np.isclose(scale.at(low + share * span), 50 + 300 * share, atol=1e-6 * 300 + 1e-4)
