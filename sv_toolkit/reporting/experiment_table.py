"""The table of an experiment in Markdown, as one marked section of RESULTS.md that another run replaces."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from sv_toolkit.errors import DataError, plain
from sv_toolkit.io.files import make_directory, write_text
from sv_toolkit.io.tables import place
from sv_toolkit.reporting.comparison import chance, probability
from sv_toolkit.reporting.experiments import EER, SECONDS, Claim, Column, System
from sv_toolkit.reporting.measures import Measure
from sv_toolkit.reporting.provenance import Provenance, duration
from sv_toolkit.reporting.results import FEW_SPEAKERS
from sv_toolkit.reporting.rows import cell_text, code_text
from sv_toolkit.reporting.tabulation import Cell, Finding, Table, common_dev_eer, mean_of_known, seconds_to, training_seconds

ABSENT = "–"
BEGIN, END = "<!-- sv-tabulate: {} -->", "<!-- end of sv-tabulate: {} -->"


def markdown(table: Table, origin: Provenance) -> str:
    """The section: title, table, how to read it, claims, trials, provenance; between its two marks."""
    title = table.experiment.title
    blocks = [f"## {cell_text(title)}", "\n".join(_rows(table)), _legend(table)]
    if table.findings:
        blocks.append("\n".join(line for claim, findings in table.findings for line in _claim_lines(claim, findings)))
    blocks += [_trials(table), _origin(origin)]
    return "\n".join([BEGIN.format(title), "\n\n".join(blocks), END.format(title)]) + "\n"


def _rows(table: Table) -> list[str]:
    goal = common_dev_eer(list(table.logs.values()))
    times = ["training"] * bool(table.logs) + [f"to a dev EER of {_percent(goal)}"] * (goal is not None)
    heads = ["system", *(_head(column) for column in table.experiment.columns), *times]
    rows = [heads, ["---"] * len(heads)]
    for system in table.experiment.systems:
        cells = [_rate_cell(table, system, column, index) for index, column in enumerate(table.experiment.columns)]
        rows.append([system.name, *cells, *_time_cells(table, system, goal)[: len(times)]])
    return ["| " + " | ".join(cell_text(cell) for cell in row) + " |" for row in rows]


def _head(column: Column) -> str:
    measured = "EER" if column.kind == EER else "ACC"
    return column.name if measured in column.name.split() else f"{column.name}, {measured}"


def _rate_cell(table: Table, system: System, column: Column, index: int) -> str:
    says = system.paper_says(index)
    paper = f"; paper {says}{' %' if says.replace('.', '', 1).isdigit() else ''}" if says else ""
    return _measured(table.cells.get((system.name, column.slug)), system) + paper


def _measured(cell: Cell | None, system: System) -> str:
    if cell is None or cell.mean is None:
        return ABSENT
    interval = "" if cell.interval is None else f" [{100 * cell.interval.low:.2f}, {100 * cell.interval.high:.2f}]"
    seeds = [ABSENT if value is None else f"{100 * value:.2f}" for value in cell.by_seed]
    return f"{_percent(cell.mean)}{interval}" + ("" if system.deterministic else f" ({', '.join(seeds)})")


def _percent(rate: float | None) -> str:
    return ABSENT if rate is None else f"{100 * rate:.2f} %"


def _time_cells(table: Table, system: System, goal: float | None) -> list[str]:
    logs = table.logs.get(system.name, ())
    return [_times([training_seconds(log) for log in logs]), _times([seconds_to(log, goal) for log in logs])]


def _times(seconds: Sequence[float | None]) -> str:
    mean = mean_of_known(seconds)
    if mean is None:
        return ABSENT
    return f"{duration(mean)} ({', '.join(ABSENT if each is None else f'{each:.0f}' for each in seconds)} s)"


def _legend(table: Table) -> str:
    lines = [
        "Means over the seeds with the 95 % interval of the mean, in parentheses each seed; speakers are resampled"
        f" {table.num_replicates} times (fewer for long lists), the same for all seeds and systems. The interval covers the choice of"
        " speakers, the seeds show the variation of training."
    ]
    if table.logs:
        lines.append(
            "Seconds are wall-clock time of the training machine; the common dev EER is the worst of the best dev EERs of all runs."
        )
    without = {column.name: measure.no_interval for column, measure in _measures(table) if measure is not None and measure.no_interval}
    lines += [f"No interval for {cell_text(name)}: {cell_text(reason)}." for name, reason in without.items()]
    return "\n".join(lines)


def _measures(table: Table) -> list[tuple[Column, Measure | None]]:
    return [(column, table.measures[column.slug]) for column in table.experiment.columns]


def _claim_lines(claim: Claim, findings: Sequence[Finding]) -> list[str]:
    """One sentence; for several columns the sum of it, and a line for each."""
    text = cell_text(claim.text)
    if len(findings) == 1:
        return [f"- {text}: **{findings[0].verdict}**{_in(findings[0])}; {_reason(claim, findings[0])}."]
    verdicts = [finding.verdict for finding in findings]
    counted = ", ".join(f"{each} in {verdicts.count(each)}" for each in dict.fromkeys(sorted(verdicts)))
    summary = f"{verdicts[0]} in all {len(findings)} columns" if len(set(verdicts)) == 1 else f"of {len(findings)} columns {counted}"
    lines = [f"  - {cell_text(finding.place)}: {finding.verdict}; {_reason(claim, finding)}." for finding in findings]
    return [f"- {text}: **{summary}**.", *lines]


def _in(finding: Finding) -> str:
    return f" ({cell_text(finding.place)})" if finding.place else ""


def _reason(claim: Claim, finding: Finding) -> str:
    seconds = claim.metric == SECONDS
    shown: Callable[[float | None], str] = (lambda value: ABSENT if value is None else f"{value:.1f} s") if seconds else _percent
    numbers = f"{cell_text(claim.better)} {shown(finding.better)}, {cell_text(claim.worse)} {shown(finding.worse)}"
    if finding.difference is None:
        return f"{numbers}, no interval: {cell_text(finding.why)}"
    found = finding.difference
    notes = _notes(finding, seconds)
    if seconds:
        ends = f"{math.exp(found.interval.low):.2f}, {math.exp(found.interval.high):.2f}"
        return f"{numbers}, ratio {math.exp(found.difference):.2f} [{ends}], p {probability(found.p_value)}, {notes}"
    return f"{numbers}, difference {100 * found.difference:+.2f} points{chance(found, 100, 2)}, {notes}"


def _notes(finding: Finding, seconds: bool) -> str:
    assert finding.difference is not None
    count = finding.difference.interval.num_speakers
    notes = [f"{count} {'seeds' if seconds else 'speakers'}"]
    if not seconds and count < FEW_SPEAKERS:
        notes.append("rough: few speakers")
    if finding.seeds_overlap:
        notes.append("single seeds of the two overlap")
    return ", ".join(notes)


def _trials(table: Table) -> str:
    lines = [
        f"{cell_text(column.name)}: {ABSENT if measure is None else cell_text(measure.described())}."
        for column, measure in _measures(table)
    ]
    return "\n".join(["Trials:", *(f"- {line}" for line in lines)])


def _origin(origin: Provenance) -> str:
    command = f" by {code_text(origin.command)}" if origin.command else ""
    return f"Tabulated {origin.date} at {origin.commit} on {cell_text(origin.hardware)}{command}."


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8") if path.exists() else ""
    except UnicodeDecodeError as error:
        raise DataError(f"{place(path)}: not UTF-8 text (byte {error.start}); a table cannot go in there") from None


def replace_section(path: Path, title: str, section: str) -> None:
    """`section` in the place of the one of the same title in the file at `path`, or at its end; all other text stays.

    Raises:
        DataError: the file is not UTF-8, only one of the two marks is there, they stand in the wrong order, or twice.
    """
    make_directory(path.parent)
    text = _text_of(path)
    begin, end = BEGIN.format(title), END.format(title) + "\n"
    counts = text.count(begin), text.count(end.rstrip("\n"))
    start, stop = text.find(begin), text.find(end.rstrip("\n"))
    if counts not in ((0, 0), (1, 1)) or stop < start:
        raise DataError(
            f"{place(path)}: the marks '{plain(begin)}' and '{plain(end.strip())}' must stand once each, in this order; fix them"
        )
    if counts == (0, 0):
        gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
        write_text(path, text + gap + section)
        return
    after = text[stop + len(end) - 1 :].removeprefix("\n")
    write_text(path, text[:start] + section + after)
