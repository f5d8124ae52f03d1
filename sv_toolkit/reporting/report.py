"""A report as a page, as charts, as a table for spreadsheets; the same inputs give the same bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sv_toolkit.errors import ConfigError
from sv_toolkit.io.files import make_directory, remove_leftovers_of, whole_binary, write_text
from sv_toolkit.reporting.model_sections import embedding_section, identification_section, provenance_section, training_section
from sv_toolkit.reporting.page import Chart, Section, isolated, page
from sv_toolkit.reporting.provenance import Provenance
from sv_toolkit.reporting.results import ALL, Evaluation, Measured, Settings, percent, warn
from sv_toolkit.reporting.rows import markdown_rows
from sv_toolkit.reporting.score_sections import (
    Evaluations,
    condition_section,
    curve_section,
    evaluate_systems,
    hard_section,
    result_section,
)
from sv_toolkit.reporting.svg import Markup, joined, visible
from sv_toolkit.reporting.systems import Embedded, Identified, Model, System

MAX_LEAD = 4  # systems with their rates at the head of a page; more are left to the table
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs a cell that begins so
PNG_ZOOM = 3.0
PNG_MISSING = "PNG files need the package resvg-py: pip install 'sv_toolkit[report]', or leave --png out"
_EMPTY = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40">{}</svg>'


@dataclass(frozen=True)
class Inputs:
    """What a report is made from, and how: `map_kind` "pca" or "tsne", so many speakers on a map."""

    systems: Sequence[System]
    models: Sequence[Model]
    embedded: Sequence[Embedded]
    settings: Settings
    identified: Sequence[Identified] = ()
    map_kind: str = "pca"
    map_speakers: int = 5


@dataclass(frozen=True)
class Report:
    """The evaluations and the sections that show them."""

    inputs: Inputs
    evaluations: Evaluations
    sections: Sequence[Section]
    origin: Provenance

    @property
    def charts(self) -> list[Chart]:
        """All charts, in the order of the page."""
        return [chart for section in self.sections for chart in section.charts]


def make_report(inputs: Inputs, origin: Provenance) -> Report:
    """Evaluate the systems and draw everything that the inputs allow.

    Raises:
        DataError: trials of one kind only; speakers contradict the labels; a map is damaged.
    """
    evaluations = evaluate_systems(inputs.systems, inputs.settings)
    for system in inputs.systems:
        warn(system.trials, system.scores, evaluations[""][system.name])
    found: list[Section | None] = []
    if inputs.systems:
        found += [
            result_section(inputs.systems, evaluations, inputs.settings),
            curve_section(inputs.systems, evaluations),
            condition_section(evaluations),
        ]
    found.append(training_section(inputs.models))
    found.append(embedding_section(inputs.embedded, inputs.map_kind, inputs.map_speakers, inputs.settings.seed))
    found.append(identification_section(inputs.identified))
    if inputs.systems:
        found.append(hard_section(inputs.systems))
    found.append(provenance_section(inputs.systems, inputs.models, origin))
    return Report(inputs, evaluations, [section for section in found if section is not None], origin)


def html_page(report: Report, title: str) -> str:
    """The report as one page."""
    rates = [(name, results[ALL].eer) for name, results in report.evaluations[""].items()]
    lead: list[object] = [joined(isolated(name), f": EER {percent(eer)}") for name, eer in rates if eer]
    lead = lead if len(lead) <= MAX_LEAD else [f"{len(lead)} systems."]
    return page(title, lead, report.sections, f"sv_toolkit {report.origin.commit}, {report.origin.date}, {report.origin.hardware}")


def csv_table(report: Report) -> str:
    """All numbers in long form: a line for each system, part of the trials and measure; rates are fractions.

    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["system", "condition", "trials", "measure", "value", "low", "high", "num_targets", "num_nontargets", "list"])
    for condition, by_system in report.evaluations.items():
        for name, results in by_system.items():
            for part, found in results.items():
                texts = [harmless(text) for text in (name, condition, part)]
                writer.writerows(
                    [*texts, *numbers, found.num_targets, found.num_nontargets, found.list_hash] for numbers in _measures(found)
                )
    return stream.getvalue()


def _measures(found: Evaluation) -> list[list[object]]:
    measured = {"EER": found.eer} if found.eer else {}
    measured |= {f"minDCF {label}": value for label, value in found.min_dcf.items()}
    measured |= {f"actDCF {label}": Measured(value) for label, value in found.actual_dcf.items()}
    measured |= {label: Measured(value) for label, value in {**found.bits, **found.rates}.items()}
    return [
        [label, value.value, *((value.interval.low, value.interval.high) if value.interval else ("", ""))]
        for label, value in measured.items()
    ]


def harmless(text: str) -> str:
    """A text for a spreadsheet's cell that is never run as a formula.

    >>> harmless("=HYPERLINK(1)"), harmless("GE2E")
    ("'=HYPERLINK(1)", 'GE2E')
    """
    shown = visible(text)
    return f"'{shown}" if shown.startswith(FORMULA) else shown


def results_rows(report: Report) -> list[str]:
    """Lines for RESULTS.md: each system on all its trials."""
    return [row for name, results in report.evaluations[""].items() for row in markdown_rows(name, results, report.origin)]


def write_charts(directory: Path, charts: Sequence[Chart], png: bool) -> int:
    """Each chart as `NAME.svg`, and as `NAME.png` if wanted; returns how many charts.

    Raises:
        ConfigError: PNG is wanted and what draws it is not installed, or finds no font.
        OutputError: the directory cannot be written to.
    """
    draw = _rasterizer() if png else None
    make_directory(directory)
    for chart in charts:
        for kind in ("svg", "png"):
            remove_leftovers_of(directory / f"{chart.labels.name}.{kind}")
        write_text(directory / f"{chart.labels.name}.svg", f'<?xml version="1.0" encoding="UTF-8"?>\n{chart.svg}\n')
        if draw is not None:
            with whole_binary(directory / f"{chart.labels.name}.png") as stream:
                stream.write(draw(chart.svg))
    return len(charts)


def _rasterizer():  # type: ignore[no-untyped-def]
    """A function from SVG text to PNG bytes."""
    try:
        from resvg_py import svg_to_bytes
    except ImportError:
        raise ConfigError(PNG_MISSING) from None

    def draw(svg: Markup) -> bytes:
        return bytes(svg_to_bytes(svg_string=svg, zoom=PNG_ZOOM))

    text = '<text x="5" y="30" font-size="30" font-family="Arial, Liberation Sans, DejaVu Sans, sans-serif">M</text>'
    if draw(Markup(_EMPTY.format(""))) == draw(Markup(_EMPTY.format(text))):  # else words would be missing without a word
        raise ConfigError("PNG files need a font such as DejaVu Sans or Liberation Sans (Debian: fonts-dejavu-core), or leave --png out")
    return draw
