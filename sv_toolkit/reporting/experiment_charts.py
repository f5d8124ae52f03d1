"""How fast the systems of an experiment learn: the dev EER against steps and against seconds, mean and single seeds."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sv_toolkit.io.files import make_directory, write_text
from sv_toolkit.reporting.axes import Labels
from sv_toolkit.reporting.charts import Line, line_chart
from sv_toolkit.reporting.report import harmless
from sv_toolkit.reporting.svg import cut
from sv_toolkit.reporting.tabulation import Table
from sv_toolkit.reporting.training_logs import TrainingLog

AXES = {"steps": "Step", "seconds": "Seconds of training"}
Course = tuple[np.ndarray, np.ndarray, np.ndarray]


def course(log: TrainingLog) -> Course:
    """`(steps, seconds, dev EERs)` of the validations, each `(num_validations,)`."""
    steps, eers = log.curves.get("dev_eer", (np.zeros(0), np.zeros(0)))
    return steps, np.array([log.seconds[int(step)] for step in steps]), eers


def mean_course(courses: Sequence[Course]) -> Course:
    """The means of seconds and dev EER at each step that all seeds were validated at."""
    steps = courses[0][0]
    for others, _, _ in courses[1:]:
        steps = np.intersect1d(steps, others)
    rows = [np.searchsorted(each[0], steps) for each in courses]
    return steps, *(np.mean([each[part][row] for each, row in zip(courses, rows)], axis=0) for part in (1, 2))


def _courses(table: Table) -> dict[str, dict[str, Course]]:
    """By system and seed, and under "mean" where there are several."""
    found = {}
    for system in table.experiment.systems:
        seeds = table.experiment.seeds_of(system)
        logs = zip(seeds, table.logs.get(system.name, ()))
        courses = {str(seed): course(log) for seed, log in logs if log is not None and "dev_eer" in log.curves}
        if len(courses) > 1:
            courses["mean"] = mean_course(list(courses.values()))
        if courses:
            found[system.name] = courses
    return found


def write_learning_charts(directory: Path, table: Table) -> bool:
    """`dev-eer-by-steps.svg`, `dev-eer-by-seconds.svg`, and their numbers in `dev-eer.csv`; False where no run has a timing log."""
    courses = _courses(table)
    if not courses:
        return False
    make_directory(directory)
    for part, axis in enumerate(AXES):
        write_text(directory / f"dev-eer-by-{axis}.svg", f'<?xml version="1.0" encoding="UTF-8"?>\n{_chart(courses, part, axis)}\n')
    write_text(directory / "dev-eer.csv", _csv(courses))
    return True


def _chart(courses: Mapping[str, Mapping[str, Course]], part: int, axis: str) -> str:
    bold, thin = [], []
    for index, (name, by_seed) in enumerate(courses.items()):
        middle = by_seed.get("mean") or next(iter(by_seed.values()))
        bold.append(Line(name, middle[part], 100 * middle[2]))
        thin += [Line(name, each[part], 100 * each[2], index) for seed, each in by_seed.items() if seed != "mean" and len(by_seed) > 1]
    ends = "; ".join(f"{cut(line.name, 80)} ends at {line.y[-1]:.2f} %" for line in bold if len(line.y))
    description = f"Equal error rate on held-out speakers against {axis}, means over seeds thick, single seeds thin; {ends}."
    return line_chart(Labels(f"dev-eer-by-{axis}", f"Dev EER against {axis}", description, AXES[axis], "Dev EER (%)"), bold + thin)


def _csv(courses: Mapping[str, Mapping[str, Course]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["system", "seed", "step", "seconds", "dev_eer"])
    for name, by_seed in courses.items():
        for seed, (steps, seconds, eers) in by_seed.items():
            writer.writerows([harmless(name), seed, int(step), *rest] for step, *rest in zip(steps, seconds.tolist(), eers.tolist()))
    return stream.getvalue()
