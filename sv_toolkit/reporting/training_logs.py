"""Curves of a training: what `train.jsonl` says of each step, and when the steps were, from the timing log of `sv-train`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sv_toolkit.errors import DataError, shown
from sv_toolkit.io.tables import place

LOG = "train.jsonl"
MAX_BYTES = 1 << 28

Record = dict[str, float]
Curve = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class TrainingLog:
    """Curves by name (loss, dev_eer, ...), and the seconds after which each step was done, where they are known.

    Attributes:
        curves: name -> `(steps, values)`, each `(num_records,)`, steps rising.
        seconds: step -> seconds since the training began, all its runs added up.
    """

    curves: dict[str, Curve]
    seconds: dict[int, float]

    def against_time(self, name: str) -> Curve:
        """`(seconds, values)` of the records whose time is known; both empty where none is."""
        steps, values = self.curves.get(name, (np.zeros(0), np.zeros(0)))
        known = np.array([int(step) in self.seconds for step in steps], dtype=bool)
        times = np.array([self.seconds[int(step)] for step in steps[known]], dtype=np.float64)
        order = np.argsort(times, kind="stable")
        return times[order], values[known][order]


def read_training(folder: Path, timing: Path | None) -> TrainingLog:
    """The curves in `folder/train.jsonl`, with the times of `timing`.

    Raises:
        DataError: a file is missing or empty, or a line is no JSON object with a step; names the line.
    """
    records = read_records(folder / LOG)
    names = dict.fromkeys(name for record in records for name in record if name != "step")
    curves = {name: _curve(records, name) for name in names}
    return TrainingLog(curves, seconds_of_steps(read_records(timing)) if timing is not None else {})


def read_timing(path: Path) -> TrainingLog:
    """The curves that a timing log holds itself (`dev_eer`), of its last training; raises as `read_records`."""
    records = read_records(path)
    seconds = seconds_of_steps(records)
    records = [record for record in records if int(record["step"]) in seconds]
    return TrainingLog({name: _curve(records, name) for name in dict.fromkeys(key for record in records for key in record)}, seconds)


def read_records(path: Path) -> list[Record]:
    """The lines of a JSON-lines log; an unfinished last line is left out, a value that is no number, too.

    Raises:
        DataError: no such file, no line, or a line that cannot be understood.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"{place(path)}: is not a regular file")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{place(path)}: is too large for a training log ({path.stat().st_size} bytes)")
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    except FileNotFoundError:
        raise DataError(f"{place(path)}: no such file; sv-train writes it (train.jsonl in its EXP; times with --timing-log FILE)") from None
    if not lines:
        raise DataError(f"{place(path)}: is empty: no step has been logged yet")
    return [_record(line, place(path, number)) for number, line in enumerate(lines, 1)]


def _record(line: str, where: str) -> Record:
    try:
        record = json.loads(line)
        numbers = {str(key): float(value) for key, value in record.items() if type(value) in (int, float)}
    except (ValueError, AttributeError, OverflowError, RecursionError):
        raise DataError(f"{where}: is not a line of a training log: {shown(line, 60)}") from None
    if not 0 <= numbers.get("step", -1.0) < 1e15:
        raise DataError(f"{where}: a record needs a step, a whole number: {shown(line, 60)}")
    return numbers


def _curve(records: list[Record], name: str) -> Curve:
    """The last value of each step, in the order of the steps."""
    values = {record["step"]: record[name] for record in records if name in record}
    steps = np.array(sorted(values))
    return steps, np.array([values[step] for step in steps.tolist()])


def seconds_of_steps(records: list[Record]) -> dict[int, float]:
    """When each step was done, counted over all runs that a training took.

    The clock of the log starts anew with every run.  A run that goes back to the beginning is another training: what
    stands before it does not count.  A run that goes on adds its time to that of the one before it.
    """
    seconds: dict[int, float] = {}
    before, last, first_step = 0.0, (-1, 0.0), None
    for record in records:
        if "seconds" not in record:
            continue
        now = int(record["step"]), record["seconds"]
        if first_step is None:
            first_step = now[0]
        elif now[0] < last[0] or now[1] < last[1]:  # another run
            before = before + last[1] if now[0] > first_step else 0.0
            seconds = seconds if now[0] > first_step else {}
        seconds[now[0]] = before + now[1]
        last = now
    return seconds
