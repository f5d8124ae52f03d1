"""Elements cannot be injected into; colours can be seen and told apart."""

from __future__ import annotations

import html
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_toolkit.reporting.svg import (
    DARK,
    DARK_INK,
    DARK_PAPER,
    DARK_SOFT,
    INK,
    LIGHT,
    PAPER,
    SOFT,
    Markup,
    cut,
    decimal,
    fitted,
    joined,
    style,
    tag,
    text_width,
    visible,
)

EVIL = ["<script>alert(1)</script>", "\"'&<>", "]]>", "--><b>", "a\u202eb", "\x00\x1b[31m\x7f", "\ud800", "مكبر", "x" * 100_000, "é̶̢̛"]


@settings(max_examples=200)
@given(st.text(max_size=60) | st.sampled_from(EVIL))
def test_an_element_says_what_was_put_in_and_is_one_element(text):
    made = tag("b", text, title=text)
    element = ET.fromstring(made)
    assert list(element) == []
    assert (element.text or "") == visible(text)
    assert element.attrib == {"title": visible(text)}


@given(st.text(max_size=60) | st.sampled_from(EVIL))
def test_visible_text_is_printable_and_encodes(text):
    shown = visible(text)
    assert shown.isprintable()
    shown.encode("utf-8")
    assert visible(shown) == shown


@given(st.text(max_size=300), st.integers(3, 200))
def test_a_cut_text_keeps_both_ends_and_the_limit(text, limit):
    shown, whole = cut(text, limit), visible(text)
    assert len(shown) <= limit
    if len(whole) <= limit:
        assert shown == whole
    else:
        head, _, tail = shown.partition("…")
        assert whole.startswith(head)
        assert whole.endswith(tail)


@pytest.mark.parametrize("text", [*EVIL, "话者" * 300, "i" * 50])
def test_a_fitted_text_is_no_wider_than_it_may_be(text):
    assert text_width(fitted(text, 12, 200), 12) <= 200


def test_markup_is_written_as_it_stands_and_nothing_else():
    assert joined(Markup("<i>"), "<i>", 1.50) == "<i>&lt;i&gt;1.5"
    assert tag("td", None, x=None) == "<td>None</td>"
    assert html.unescape(tag("p", "a&amp;b")) == "<p>a&amp;b</p>"


@given(st.floats(-1e6, 1e6))
def test_a_coordinate_is_within_half_a_hundredth(value):
    assert abs(float(decimal(value)) - value) <= 0.005 + 1e-9
    assert "e" not in decimal(value)


def linear(colour):
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def luminance(colour):
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    ("colours", "ground", "least"),
    [(LIGHT, PAPER, 3.0), (DARK, DARK_PAPER, 3.0), ((INK, SOFT), PAPER, 7.0), ((DARK_INK, DARK_SOFT), DARK_PAPER, 7.0)],
)
def test_colours_stand_out_from_their_ground(colours, ground, least):
    """WCAG 2.2: 3 for lines and markers, 7 (level AAA) for text."""
    assert min(contrast(colour, ground) for colour in colours) >= least


# Machado, Oliveira and Fernandes 2009, table 1, severity 1: what those see who lack one kind of cones (linear RGB)
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(linear_rgb):
    """CIE L*a*b* under D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratios = to_xyz @ np.clip(linear_rgb, 0, 1) / [0.9505, 1, 1.089]
    x, y, z = np.where(ratios > 0.008856, np.cbrt(ratios), 7.787 * ratios + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("colours", [LIGHT, DARK])
@pytest.mark.parametrize("vision", VISION)
def test_every_two_colours_differ_for_any_colour_vision(colours, vision):
    seen = [lab(np.array(VISION[vision]) @ linear(colour)) for colour in colours]
    apart = [np.linalg.norm(one - other) for i, one in enumerate(seen) for other in seen[:i]]
    assert min(apart) > 20, "about ten just noticeable differences"


def test_styles_differ_in_colour_and_in_dash_or_marker():
    looks = [style(index) for index in range(30)]
    assert len({(look.light, look.dash, look.marker) for look in looks}) == 30
    for first, second in zip(looks, looks[1:]):
        assert first.light != second.light
        assert first.dash != second.dash
        assert first.marker != second.marker
