"""Trial lists and score files too large for memory, read side by side; their lines must stand in the same order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sv_toolkit.data.columns import Block, read_blocks
from sv_toolkit.data.trials import FORMATS, SCORE_FORMS, labels_of, numbers_of, refuse_unclear
from sv_toolkit.errors import DataError, plain
from sv_toolkit.io.tables import place

Chunk = tuple[np.ndarray, np.ndarray]


@dataclass
class _Part:
    """Lines of a block that are not used up yet: the number of the first, ids of both sides, and the third column."""

    path: Path
    line: int
    enroll: list[bytes]
    test: list[bytes]
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.enroll)

    def after(self, count: int) -> _Part:
        return _Part(self.path, self.line + count, self.enroll[count:], self.test[count:], self.values[count:])


def read_score_chunks(trials: Path, scores: Path, format: str = "auto") -> Iterator[Chunk]:
    """Scores and labels of the trials, `(num_trials,)` float64 and bool each, some 100,000 at a time.

    Memory does not grow with the files.  So a pair that stands twice is not noticed.

    Args:
        format: of the trial list, as in `read_trials`.

    Raises:
        DataError: names the line that is wrong, or where the two files hold different pairs.
    """
    keys, numbers = _key_parts(trials, format), _score_parts(scores)
    key, number = next(keys, None), next(numbers, None)
    if key is None or number is None:
        raise DataError(f"{place(trials if key is None else scores)}: is empty: no {'trials' if key is None else 'scores'}")
    while key is not None and number is not None:
        count = min(len(key), len(number))
        if key.enroll[:count] != number.enroll[:count] or key.test[:count] != number.test[:count]:
            raise DataError(_mismatch(key, number))
        yield number.values[:count], key.values[:count]
        key = key.after(count) if len(key) > count else next(keys, None)
        number = number.after(count) if len(number) > count else next(numbers, None)
    longer, shorter = (key, scores) if key is not None else (number, trials)
    if longer is not None:
        raise DataError(f"{place(shorter)}: ends after {longer.line - 1} lines, {place(longer.path)} goes on")


def _key_parts(path: Path, format: str) -> Iterator[_Part]:
    known = FORMATS[format]
    for block in read_blocks(path, known.forms, needs_newline=False):
        if block.first_line == 1:
            refuse_unclear(path, block, format, need_keys=True)
        yield _part(path, block, known.enroll, labels_of(path, block, format))


def _score_parts(path: Path) -> Iterator[_Part]:
    for block in read_blocks(path, SCORE_FORMS):
        yield _part(path, block, 0, numbers_of(path, block))


def _part(path: Path, block: Block, shift: int, values: np.ndarray) -> _Part:
    return _Part(path, block.first_line, block.column(shift), block.column(shift + 1), values)


def _mismatch(key: _Part, number: _Part) -> str:
    pairs = zip(zip(key.enroll, key.test), zip(number.enroll, number.test))
    at, wanted, found = next((i, wanted, found) for i, (wanted, found) in enumerate(pairs) if wanted != found)
    names = [plain(b" ".join(pair).decode("utf-8", "replace"), 160) for pair in (found, wanted)]
    return (
        f"{place(number.path, number.line + at)}: the pair is {names[0]}, but {place(key.path, key.line + at)} has {names[1]}; "
        "without room for both files their lines must stand in the same order"
    )
