#!/usr/bin/env python3
"""Misses against false alarms an hour of keyword detectors; `--help` shows how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sv_toolkit.cli.common import FILE, SvCommand

if TYPE_CHECKING:
    from sv_toolkit.keyword.measure import OperatingPoint

RATES = (0.5, 1.0, 2.0, 5.0, 10.0)  # false alarms an hour
HEADER = (
    "| list, word | misses at 2 false alarms an hour [95 %] | false alarms an hour there [95 %] | misses at 0.5 / 1 / 5 / 10 an hour | threshold at 2 "
    "| other words taken for it | recordings | background | commit | date | hardware | wall time | command |\n" + "|---" * 13 + "|"
)


class Heard:
    """All detections of one or more detectors: the best of each recording by word, and those in the background."""

    def __init__(self, runs: tuple[str, ...]) -> None:
        from sv_toolkit.data.data_dir import DataDir
        from sv_toolkit.keyword.corpus import words_of
        from sv_toolkit.keyword.spotting import read_detections, seconds_heard

        self.best: dict[tuple[str, str], list[float]] = {}  # (word said, word heard) -> confidences
        self.alarms: dict[str, list[tuple[float, str, float]]] = {}
        self.hours = 0.0
        labels: list[tuple[str, dict[tuple[str, str], float]]] = []
        for run in runs:
            data, _, folders = run.partition("=")
            found, *background = map(Path, folders.split(","))
            best: dict[tuple[str, str], float] = {}
            for row in read_detections(found):
                best[row.utterance, row.word] = max(best.get((row.utterance, row.word), 0.0), row.confidence)
            labels += [(key + " " + word, best) for key, word in words_of(DataDir.read(Path(data))).items()]
            for folder in background:
                self.hours += seconds_heard(folder) / 3600
                for row in read_detections(folder):
                    self.alarms.setdefault(row.word, []).append((row.confidence, row.utterance, row.time))
        self.words = sorted({label.split(" ", 1)[1] for label, _ in labels})
        for label, best in labels:
            utterance, said = label.split(" ", 1)
            for word in self.words:
                self.best.setdefault((said, word), []).append(best.get((utterance, word), 0.0))

    def point(self, word: str, per_hour: float) -> OperatingPoint:
        import numpy as np

        from sv_toolkit.keyword.measure import operating_point

        alarms = np.array([confidence for confidence, _, _ in self.alarms.get(word, [])])
        return operating_point(np.array(self.best[word, word]), alarms, self.hours, per_hour)

    def confused(self, word: str, threshold: float) -> float:
        """Share of the recordings of other words that are taken for this one."""
        others = [value for (said, heard), values in self.best.items() if said != word and heard == word for value in values]
        return sum(value > threshold for value in others) / max(len(others), 1)


@click.command(cls=SvCommand)
@click.argument("runs", nargs=-1, required=True, metavar="DATA=DETECTIONS,BACKGROUND[,BACKGROUND]...")
@click.option("--name", required=True, help="What the rows call the list.")
@click.option("--results", type=FILE, required=True, help="File that rows are added to.")
@click.option("--thresholds", type=FILE, help="Write the thresholds at 2 false alarms an hour here, as JSON by word.")
@click.option("--chart", type=FILE, help="Draw misses against false alarms an hour here, as SVG.")
@click.option("--wall-time", type=float, help="Seconds that the recipe took.")
@click.option("--command", "called", default="", help="How the recipe was called.")
def command(
    runs: tuple[str, ...], name: str, results: Path, thresholds: Path | None, chart: Path | None, wall_time: float | None, called: str
) -> None:
    """Print a table of misses and false alarms; each run is a detector: recordings of words, and what it heard in them and elsewhere.

    \b
    Example:
        local/measure_detections.py --name test --results RESULTS.md data/test=exp/test,exp/background
    """
    from sv_toolkit.io.files import write_text
    from sv_toolkit.reporting.provenance import provenance
    from sv_toolkit.reporting.rows import append_rows, cell_text, code_text

    heard, made = Heard(runs), provenance(wall_time, called)
    rows = []
    for word in heard.words:
        point = heard.point(word, 2.0)
        others = " / ".join(f"{100 * heard.point(word, rate).miss:.1f}" for rate in RATES if rate != 2.0)
        low, high = (100 * value for value in point.interval)
        cells = [
            f"{name}, {word}",
            f"{100 * point.miss:.2f} % [{low:.2f}, {high:.2f}]",
            f"{point.alarms_per_hour:.2f} [{point.alarm_interval[0]:.2f}, {point.alarm_interval[1]:.2f}]",
            f"{others} %",
            f"{point.threshold:.3f}",
            f"{100 * heard.confused(word, point.threshold):.2f} %",
            str(len(heard.best[word, word])),
            f"{heard.hours:.2f} h",
            *(made.commit, made.date, made.hardware, made.wall_time),
        ]
        rows.append("| " + " | ".join([*map(cell_text, cells), code_text(called)]) + " |")
        click.echo("  ".join(cells[:8]))
        for confidence, utterance, time in sorted(heard.alarms.get(word, []), reverse=True)[: point.num_alarms]:
            click.echo(f"  false alarm: {utterance} at {time:.2f} s, confidence {confidence:.3f}")
    append_rows(results, rows, HEADER)
    if thresholds:
        write_text(thresholds, json.dumps({word: heard.point(word, 2.0).threshold for word in heard.words}, indent=1) + "\n")
    if chart:
        write_text(chart, _drawn(heard, name) + "\n")


def _drawn(heard: Heard, name: str) -> str:
    import numpy as np

    from sv_toolkit.keyword.measure import curve
    from sv_toolkit.reporting.axes import Labels
    from sv_toolkit.reporting.charts import Line, line_chart

    labels = Labels("det", f"Keywords, {name}", "Misses of each keyword against false alarms an hour", "false alarms an hour", "misses, %")
    lines = []
    for word in heard.words:
        rates, misses = curve(np.array(heard.best[word, word]), np.array([alarm[0] for alarm in heard.alarms.get(word, [])]), heard.hours)
        inside = rates <= 20
        lines.append(Line(word, rates[inside], 100 * misses[inside]))
    return line_chart(labels, lines, y_from_zero=True)


if __name__ == "__main__":
    command()
