"""Markup that cannot be injected into, and the marks that charts are drawn with.

Elements are made by `tag` alone: every child and every attribute that is not `Markup` already is escaped, so that no
id, no file name and no title can become an element of a page, whatever it holds.
"""

from __future__ import annotations

import html
import unicodedata
from dataclasses import dataclass

FONT = "system-ui, Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif"
MAX_TEXT = 160  # longer foreign texts are cut in the middle


class Markup(str):
    """Text that is markup already and is written as it stands."""


def tag(_name: str, *children: object, **attributes: object) -> Markup:
    """One element with escaped attributes and children; attributes that are None are left out.

    An underscore in the name of an attribute stands for a hyphen, one at its end for nothing (`class_`).

    >>> tag("td", "<b>", class_="id")
    '<td class="id">&lt;b&gt;</td>'
    """
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"' for key, value in attributes.items() if value is not None)
    return Markup(f"<{_name}{written}>{joined(*children)}</{_name}>")


def joined(*pieces: object) -> Markup:
    """The pieces one after the other, escaped where they are no markup."""
    return Markup("".join(piece if isinstance(piece, Markup) else escaped(piece) for piece in pieces))


def escaped(value: object) -> str:
    """A text or a number as it may stand between tags and inside quotes."""
    return html.escape(decimal(value) if isinstance(value, float) else visible(value))


def visible(value: object) -> str:
    """The text with control, bidirectional and other unprintable characters written out.

    >>> visible("a\\u202eb\\x1b")
    'a\\\\u202eb\\\\x1b'
    """
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def cut(value: object, limit: int = MAX_TEXT) -> str:
    """The visible text, cut in the middle to `limit` characters.

    >>> cut("abcdefghij", 5)
    'ab…ij'
    """
    text = visible(value)
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 2
    return text[: limit - 1 - tail] + "…" + text[len(text) - tail :]


def decimal(value: float) -> str:
    """A coordinate with two decimals at most, in the shortest form.

    >>> decimal(3.10), decimal(-0.0001)
    ('3.1', '0')
    """
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def text_width(text: str, size: float) -> float:
    """About how wide a text is in pixels at a font size; wide characters count twice, combining ones not at all."""
    units = sum(0.0 if unicodedata.combining(c) else 2.0 if unicodedata.east_asian_width(c) in "WF" else 1.0 for c in text)
    return 0.57 * size * units


def fitted(text: object, size: float, width: float) -> str:
    """The visible text, cut so that it is about `width` pixels wide at most."""
    whole = cut(text)
    shorter = (cut(whole, limit) for limit in range(len(whole), 0, -1))
    return next((each for each in shorter if text_width(each, size) <= width), "")


@dataclass(frozen=True)
class Style:
    """How one of several things is distinguished from the others: by colour, and by dash and marker for readers who cannot see it.

    The colour is that on a light ground; a page overrides it through the class, for a dark one.
    """

    index: int
    light: str
    dash: str
    marker: str

    @property
    def css_class(self) -> str:
        """The class that a page's style sheet colours."""
        return f"s{self.index % len(LIGHT)}"


# The hues of Okabe and Ito (2008), moved until every two differ for any colour vision and each stands out 3:1 from its ground
# (WCAG 2.2, 1.4.11).
LIGHT = ("#2a55d8", "#a93600", "#089e72", "#a65fa0", "#222222", "#ce8100")
DARK = ("#64c5fe", "#d55f02", "#159567", "#c173a8", "#f0f0f0", "#ecd735")
DASHES = ("", "7 3", "2 3", "8 3 2 3", "12 4")
MARKERS = ("circle", "square", "triangle", "diamond", "cross", "plus", "down")
INK, SOFT, GRID, PAPER, DARK_INK, DARK_SOFT, DARK_GRID, DARK_PAPER = (
    "#1a1c1e", "#51575d", "#dcdfe3", "#ffffff", "#eceef0", "#b4bac0", "#3b4148", "#15181b",
)  # fmt: skip


def style(index: int) -> Style:
    """The style of the `index`-th thing; 210 of them differ."""
    return Style(index, LIGHT[index % len(LIGHT)], DASHES[index % len(DASHES)], MARKERS[index % len(MARKERS)])


_SHAPES = {
    "square": "M-1 -1H1V1H-1Z",
    "triangle": "M0 -1.3L1.2 0.9H-1.2Z",
    "down": "M0 1.3L1.2 -0.9H-1.2Z",
    "diamond": "M0 -1.4L1.3 0L0 1.4L-1.3 0Z",
    "cross": "M-1 -1L1 1M-1 1L1 -1",
    "plus": "M0 -1.3V1.3M-1.3 0H1.3",
    "circle": "M1.1 0A1.1 1.1 0 1 1 -1.1 0A1.1 1.1 0 1 1 1.1 0Z",
}
_OPEN = {"cross", "plus"}


def marker(x: float, y: float, look: Style, size: float = 3.5, shape: str = "", title: str = "", halo: bool = True) -> Markup:
    """The marker of a style at a point, with a `title` that shows on hovering; `shape` overrides its form."""
    shape = shape or look.marker
    content = tag("title", title) if title else ""
    place = f"translate({decimal(x)} {decimal(y)}) scale({decimal(size)})"
    if shape in _OPEN:
        return tag("path", content, d=_SHAPES[shape], transform=place, fill="none", stroke=look.light, stroke_width=0.55,
                   class_=f"line {look.css_class}")  # fmt: skip
    edge = {"stroke": PAPER, "stroke_width": 0.22} if halo else {}
    return tag("path", content, d=_SHAPES[shape], transform=place, fill=look.light, class_=f"ink {look.css_class}", **edge)


def polyline(points: list[tuple[float, float]], look: Style, width: float = 1.8, dash: str | None = None, fill: bool = False) -> Markup:
    """Points in pixels, joined; `fill` shades the area within instead."""
    coordinates = " ".join(f"{decimal(x)},{decimal(y)}" for x, y in points)
    if fill:
        return tag("polygon", points=coordinates, fill=look.light, fill_opacity=0.18, class_=f"ink {look.css_class}")
    return tag("polyline", points=coordinates, fill="none", stroke=look.light, stroke_width=width, stroke_linejoin="round",
               stroke_dasharray=(look.dash if dash is None else dash) or None, class_=f"line {look.css_class}")  # fmt: skip


def label(x: float, y: float, text: object, size: float = 13, anchor: str = "start", soft: bool = False, **more: object) -> Markup:
    """Text in a chart."""
    colour, css = (SOFT, "soft") if soft else (INK, "text")
    return tag("text", text, x=x, y=y, font_size=size, text_anchor=anchor if anchor != "start" else None, fill=colour, class_=css, **more)


def rule(x1: float, y1: float, x2: float, y2: float, css: str = "grid", dash: str | None = None) -> Markup:
    """A straight line of the frame."""
    colour = {"grid": GRID, "axis": SOFT, "mark": INK}[css]
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=colour, stroke_width=1, stroke_dasharray=dash, class_=css)
