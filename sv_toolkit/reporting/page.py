"""One self-contained page: no network, no script; light and dark, telephone, desk and paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sv_toolkit.reporting.axes import Labels
from sv_toolkit.reporting.svg import (
    DARK,
    DARK_GRID,
    DARK_INK,
    DARK_PAPER,
    DARK_SOFT,
    GRID,
    INK,
    LIGHT,
    PAPER,
    SOFT,
    Markup,
    cut,
    joined,
    tag,
)

POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # should markup ever slip through: nothing runs, nothing is fetched


@dataclass(frozen=True)
class Grid:
    """A table: what it is of, the heads of its columns, its rows; `numeric` columns are set to the right."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Chart:
    """A picture, the numbers in it as a table, and what to know when reading it."""

    labels: Labels
    svg: Markup
    numbers: Grid
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page: a short name for links, a heading, text and tables, charts, and more tables."""

    name: str
    heading: str
    before: Markup = Markup("")
    charts: Sequence[Chart] = field(default_factory=tuple)
    after: Markup = Markup("")


def page(title: str, lead: Sequence[object], sections: Sequence[Section], footer: str) -> str:
    """The page as text; every foreign text in it is escaped."""
    links = [tag("li", tag("a", section.heading, href=f"#{section.name}")) for section in sections]
    body = joined(
        tag("header", tag("h1", cut(title)), *(tag("p", line) for line in lead), tag("nav", tag("ul", *links), aria_label="Sections")),
        tag("main", *(_section(section) for section in sections)),
        tag("footer", tag("p", footer)),
    )
    head = joined(
        Markup('<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n<meta name="referrer" content="no-referrer">\n'),
        tag("title", cut(title)),
        tag("style", Markup(STYLE)),
    )
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'


def _section(section: Section) -> Markup:
    charts = side_by_side(*(figure(chart) for chart in section.charts)) if section.charts else Markup("")
    heading = tag("h2", section.heading, id=f"{section.name}-heading")
    inside = joined(heading, section.before, charts, section.after)
    return joined(tag("section", inside, id=section.name, aria_labelledby=f"{section.name}-heading"), Markup("\n"))


def figure(chart: Chart) -> Markup:
    """A chart under its title, with its numbers folded away."""
    numbers = folded("Numbers of this chart", table(chart.numbers))
    note = tag("p", cut(chart.note, 600), class_="note") if chart.note else Markup("")
    title = tag("figcaption", tag("h3", cut(chart.labels.title)))
    return joined(tag("figure", title, chart.svg, note, numbers), Markup("\n"))


def folded(summary: str, content: Markup, is_open: bool = False) -> Markup:
    """What is read only if asked for."""
    return tag("details", tag("summary", summary), content, open="" if is_open else None)


def side_by_side(*pieces: Markup) -> Markup:
    """Next to each other where there is room."""
    return tag("div", *pieces, class_="charts")


def table(grid: Grid) -> Markup:
    """A table that scrolls by itself where the screen is narrow, and can be reached with the keyboard."""
    head = tag("tr", *(tag("th", cut(name, 80), scope="col", class_=_side(grid, place)) for place, name in enumerate(grid.head)))
    rows = [
        tag(
            "tr",
            tag("th", isolated(row[0]), scope="row"),
            *(tag("td", cell, class_=_side(grid, place)) for place, cell in enumerate(row[1:], 1)),
        )
        for row in grid.rows
    ]
    made = tag("table", tag("caption", cut(grid.caption)), tag("thead", head), tag("tbody", *rows))
    return tag("div", made, class_="wide", tabindex=0, role="region", aria_label=cut(grid.caption))


def _side(grid: Grid, place: int) -> str | None:
    return "n" if place in grid.numeric else None


def identifier(value: object, limit: int = 120) -> Markup:
    """A foreign id: cut, in letters of one width, and kept from turning the direction of what stands around it."""
    return tag("bdi", cut(value, limit), class_="id")


def isolated(value: object) -> Markup:
    """A foreign name, likewise, in the letters of its surroundings."""
    return value if isinstance(value, Markup) else tag("bdi", cut(value, 80))


def paragraph(text: str) -> Markup:
    """A paragraph of text."""
    return tag("p", text)


def _colours(names: Sequence[str], ink: str, soft: str, grid: str, paper: str) -> str:
    series = "".join(f".s{index}{{--c:{name}}}" for index, name in enumerate(names))
    return f":root{{--ink:{ink};--soft:{soft};--grid:{grid};--paper:{paper}}}{series}"


STYLE = f"""
{_colours(LIGHT, INK, SOFT, GRID, PAPER)}
@media screen and (prefers-color-scheme:dark){{{_colours(DARK, DARK_INK, DARK_SOFT, DARK_GRID, DARK_PAPER)}}}
:root{{color-scheme:light dark}}
*{{box-sizing:border-box}}
body{{margin:0;background:var(--paper);color:var(--ink);font:1rem/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;overflow-wrap:anywhere}}
header,main,footer{{max-width:66rem;margin:0 auto;padding:0 1rem}}
h1{{font-size:1.7rem;line-height:1.2;margin:1.5rem 0 .5rem}}
h2{{font-size:1.3rem;margin:2.5rem 0 .5rem;padding-top:.5rem;border-top:2px solid var(--grid)}}
h3{{font-size:1rem;margin:1rem 0 .4rem}}
p{{max-width:44rem;margin:.5rem 0}}
header p,.note,caption,footer,.soft{{color:var(--soft)}}
a{{color:inherit;text-underline-offset:.15em}}
:focus-visible{{outline:2px solid var(--ink);outline-offset:2px}}
nav ul{{list-style:none;display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;padding:0;margin:.75rem 0}}
nav a,summary{{display:inline-block;padding:.25rem 0}}
summary{{cursor:pointer;text-decoration:underline dotted;text-underline-offset:.2em}}
.charts{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1rem 2.5rem}}
figure{{margin:0;min-width:0}}
.note{{font-size:.9rem;max-width:32rem}}
.chart{{display:block;width:100%;max-width:31rem;height:auto}}
.wide{{overflow-x:auto;margin:.5rem 0}}
table{{border-collapse:collapse;font-size:.925rem;font-variant-numeric:tabular-nums;overflow-wrap:normal}}
caption{{text-align:left;font-size:.9rem;padding:.25rem 0}}
th,td{{text-align:left;vertical-align:top;padding:.3rem 1rem .3rem 0;border-bottom:1px solid var(--grid)}}
th{{font-weight:600}}
tbody th{{overflow-wrap:anywhere;min-width:8rem;max-width:22rem}}
td.n,th.n{{text-align:right}}
td.n{{white-space:nowrap}}
.id{{font-family:ui-monospace,Consolas,"DejaVu Sans Mono",monospace;font-size:.9em;font-weight:400;overflow-wrap:anywhere}}
td>.id{{display:inline-block;min-width:9.5rem;max-width:26rem}}
footer{{font-size:.9rem;margin:3rem auto 2rem}}
svg .paper{{fill:none}}
svg .text{{fill:var(--ink)}}
svg .soft{{fill:var(--soft)}}
svg .grid{{stroke:var(--grid)}}
svg .axis{{stroke:var(--soft)}}
svg .mark{{stroke:var(--ink)}}
svg .line{{stroke:var(--c)}}
svg .ink{{fill:var(--c)}}
svg .ink[stroke]{{stroke:var(--paper)}}
@page{{margin:16mm}}
@media print{{
:root{{font-size:9.5pt}}
header,main,footer{{max-width:none;padding:0}}
nav{{display:none}}
.charts{{grid-template-columns:1fr 1fr;gap:6mm}}
.wide{{overflow:visible}}
figure,tr{{break-inside:avoid}}
h2,h3,caption{{break-after:avoid}}
summary{{text-decoration:none}}
details:not([open]){{display:none}}
}}
"""
