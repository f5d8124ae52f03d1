"""Trial lists and score files, joined by the pair and never by line order.

A trial list in Kaldi's form has lines `enroll-id test-id target|nontarget` (the label may be missing on all
lines); in VoxCeleb's form `1 enroll test`.  A score file has lines `enroll-id test-id score`, perhaps with the label
as a fourth word, as WeSpeaker writes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np

from sv_toolkit.data.columns import Block, Indexer, Lookup, interleaved, read_blocks, repeated, with_end
from sv_toolkit.errors import DataError, plain, shown
from sv_toolkit.io.files import whole_binary
from sv_toolkit.io.tables import place

_LABELS = {b"target": 1, b"nontarget": 0}
_DIGITS = {b"1": 1, b"0": 0}


@dataclass(frozen=True)
class Format:
    """A way to write a trial list.

    Attributes:
        forms: how a line looks, for messages, by its number of words.
        labels: the words for target (1) and nontarget (0).
        enroll, test, label: which word is which.
    """

    forms: dict[int, str]
    labels: dict[bytes, int]
    enroll: int = 0
    test: int = 1
    label: int = 2


KALDI = Format({3: "'enroll-id test-id target|nontarget'", 2: "'enroll-id test-id'"}, _LABELS)
FORMATS = {
    "auto": KALDI,
    "kaldi": KALDI,
    "voxceleb": Format({3: "'1|0 enroll-id test-id'"}, _DIGITS, enroll=1, test=2, label=0),
    "cnceleb": Format({3: "'enroll-id test-id 1|0'"}, _DIGITS),
    "sitw": Format({3: "'enroll-id test-id tgt|imp'"}, {b"tgt": 1, b"imp": 0}),
}
KALDI_FORMS, VOXCELEB_FORMS = KALDI.forms, FORMATS["voxceleb"].forms
SCORE_FORMS = {3: "'enroll-id test-id score'", 4: "'enroll-id test-id score label'"}
ALL_LABELS = {word: value for known in FORMATS.values() for word, value in known.labels.items()}
_CHUNK = 1 << 20  # lines put together at a time


@dataclass(frozen=True)
class Trials:
    """Pairs as indices into two sorted lists of ids, in the order of the file.

    Attributes:
        enroll_ids, test_ids: unique, sorted by bytes.
        enroll_index, test_index: `(num_trials,)` int32.
        is_target: `(num_trials,)` bool, None where the list has no labels.
        path: the file, for messages.
    """

    enroll_ids: list[str]
    test_ids: list[str]
    enroll_index: np.ndarray
    test_index: np.ndarray
    is_target: np.ndarray | None
    path: Path

    def __len__(self) -> int:
        return len(self.enroll_index)

    @property
    def num_targets(self) -> int:
        """Target trials; 0 where there are no labels."""
        return 0 if self.is_target is None else int(self.is_target.sum())

    @property
    def pair_codes(self) -> np.ndarray:
        """One number per pair, `(num_trials,)` int64: sorting them sorts the pairs by bytes."""
        return self.enroll_index.astype(np.int64) * len(self.test_ids) + self.test_index

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the sorted lines `enroll test label`; the order of the file does not matter."""
        digest = hashlib.sha256()
        for lines in _as_lines(self, np.argsort(self.pair_codes)):
            digest.update(lines)
        return digest.hexdigest()

    @property
    def short_hash(self) -> str:
        """The first 12 hexadecimal digits of `hash`, which result lines repeat."""
        return self.hash[:12]

    def where(self, position: int) -> str:
        """`trials:3` of the trial at `position` (from 0)."""
        return place(self.path, position + 1)

    def where_enroll(self, index: int) -> str:
        """`trials:3` of the first trial of `enroll_ids[index]`."""
        return self.where(int(np.argmax(self.enroll_index == index)))

    def where_test(self, index: int) -> str:
        """`trials:3` of the first trial of `test_ids[index]`."""
        return self.where(int(np.argmax(self.test_index == index)))

    def pair(self, position: int) -> str:
        """`enroll-id test-id`, for messages."""
        return f"{plain(self.enroll_ids[self.enroll_index[position]], 80)} {plain(self.test_ids[self.test_index[position]], 80)}"

    def score_lines(self, scores: np.ndarray, decimals: int = 6) -> Iterator[bytes]:
        """`enroll-id test-id score` lines in the order of the trials, many at a time; `scores` is `(num_trials,)`."""
        enroll, test = with_end(self.enroll_ids), with_end(self.test_ids)
        for start in range(0, len(self), _CHUNK):
            part = slice(start, start + _CHUNK)
            numbers = [b"%.*f\n" % (decimals, score) for score in scores[part].tolist()]
            yield interleaved(
                [enroll[i] for i in self.enroll_index[part].tolist()], [test[i] for i in self.test_index[part].tolist()], numbers
            )


def make(pairs: Sequence[tuple[str, str]], is_target: Sequence[bool] | np.ndarray | None, path: Path) -> Trials:
    """Trials from pairs of ids in their order, for tests and small lists."""
    enroll, test = Indexer(), Indexer()
    first = enroll.indices([pair[0].encode() for pair in pairs])
    second = test.indices([pair[1].encode() for pair in pairs])
    labels = None if is_target is None else np.asarray(is_target, bool)
    return _assemble(enroll, test, first, second, labels, path)


def read_trials(path: Path, format: str = "auto", need_keys: bool = False, unique: bool = True) -> Trials:
    """The trial list at `path`.

    Args:
        format: one of `FORMATS`; "auto" is Kaldi's, unless the first line could be VoxCeleb's.
        need_keys: refuse a list without labels.
        unique: refuse a pair that stands twice.

    Raises:
        DataError: names the line that is wrong; or the list is empty.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown trials format {format!r}; known: {', '.join(FORMATS)}")
    path = Path(path)
    enroll, test = Indexer(), Indexer()
    firsts, seconds, labels = [], [], []
    known = FORMATS[format]
    for block in read_blocks(path, known.forms, needs_newline=False):
        if block.first_line == 1:
            refuse_unclear(path, block, format, need_keys)
        if block.num_columns == 3:  # first: an id in the place of a label must not become an id
            labels.append(labels_of(path, block, format))
        firsts.append(enroll.indices(block.column(known.enroll)))
        seconds.append(test.indices(block.column(known.test)))
    if not firsts:
        raise DataError(f"{place(path)}: is empty: no trials")
    is_target = np.concatenate(labels) if labels else None
    trials = _assemble(enroll, test, np.concatenate(firsts), np.concatenate(seconds), is_target, path)
    if unique:
        _refuse_duplicates(trials)
    return trials


def refuse_unclear(path: Path, block: Block, format: str, need_keys: bool) -> None:
    """Stop where the first block of a list has no labels though they are needed, or could be of either format."""
    where = place(path, block.first_line)
    if block.num_columns == 2 and need_keys:
        raise DataError(f"{where}: no label (2 columns); {KALDI_FORMS[3]} is needed to count errors")
    if format == "auto" and block.num_columns == 3 and block.words[0] in _DIGITS:
        line = shown(b" ".join(block.words[:3]).decode("utf-8", "replace"), 60)
        raise DataError(
            f"{where}: the first column is 0 or 1, as in VoxCeleb's lists: {line}; "
            f"say what it is with --trials-format voxceleb ({VOXCELEB_FORMS[3]}) or --trials-format kaldi ({KALDI_FORMS[3]})"
        )


def labels_of(path: Path, block: Block, format: str) -> np.ndarray:
    """`(len(block),)` bool: which trials of a block of three columns are targets."""
    known = FORMATS[format].labels
    words = block.column(FORMATS[format].label)
    try:
        return np.fromiter(map(known.__getitem__, words), bool, len(words))
    except KeyError:
        bad = [block.first_line + i for i, word in enumerate(words) if word not in known]
        names = " or ".join(word.decode() for word in known)
        got = shown(words[bad[0] - block.first_line].decode("utf-8", "replace"))
        more = f" (also {', '.join(place(path, line) for line in bad[1:3])}{', ...' if len(bad) > 3 else ''})" if bad[1:] else ""
        hint = "; is this a header line?" if bad == [1] else ""
        others = [name for name, other in FORMATS.items() if other.label == FORMATS[format].label and words[0] in other.labels]
        if len(bad) == len(words) and others:
            hint = f"; --trials-format {others[-1]} reads {FORMATS[others[-1]].forms[3]}"
        elif len(bad) == len(words) and known is _LABELS and np.isfinite(_number(words[0])):
            hint = "; these are scores: the trial list comes first, then the scores"
        raise DataError(f"{place(path, bad[0])}: the label must be {names}, got {got}{more}{hint}") from None


def _assemble(enroll: Indexer, test: Indexer, first: np.ndarray, second: np.ndarray, is_target: np.ndarray | None, path: Path) -> Trials:
    enroll_words, enroll_ranks = enroll.by_bytes()
    test_words, test_ranks = test.by_bytes()
    first, second = enroll_ranks[first], test_ranks[second]
    enroll_ids, test_ids = _decode(enroll_words, first, path), _decode(test_words, second, path)
    return Trials(enroll_ids, test_ids, first, second, is_target, path)


def _decode(words: list[bytes], index: np.ndarray, path: Path) -> list[str]:
    ids = []
    for i, word in enumerate(words):
        try:
            ids.append(word.decode("utf-8"))
        except UnicodeDecodeError:
            raise DataError(f"{place(path, int(np.argmax(index == i)) + 1)}: not UTF-8: {shown(word.decode('latin-1'), 60)}") from None
        if not ids[-1].isprintable():
            raise DataError(
                f"{place(path, int(np.argmax(index == i)) + 1)}: control or other non-printable characters in the id {shown(ids[-1])}"
            )
    return ids


def _refuse_duplicates(trials: Trials) -> None:
    repeats = repeated(trials.pair_codes)
    if len(repeats):
        raise DataError(
            f"{trials.where(int(repeats[0]))}: duplicate trial {trials.pair(int(repeats[0]))}: the pair stands above already"
            f" ({len(repeats)} such line{'s' if len(repeats) > 1 else ''})"
        )


def _as_lines(trials: Trials, order: np.ndarray | None = None) -> Iterator[bytes]:
    """The lines of the list, many at a time, in the given order of positions."""
    enroll = with_end(trials.enroll_ids)
    ends = [b"\n"] if trials.is_target is None else [b" nontarget\n", b" target\n"]
    test = [piece for key in trials.test_ids for piece in (key.encode() + end for end in ends)]
    for start in range(0, len(trials), _CHUNK):
        part = slice(start, start + _CHUNK) if order is None else order[start : start + _CHUNK]
        second = trials.test_index[part].astype(np.int64) * len(ends)
        if trials.is_target is not None:
            second += trials.is_target[part]
        yield interleaved([enroll[i] for i in trials.enroll_index[part].tolist()], [test[i] for i in second.tolist()])


def write_trials(path: Path, trials: Trials) -> None:
    """Write the list in Kaldi's form, in its order; the file is whole or absent."""
    with whole_binary(Path(path)) as stream:
        for lines in _as_lines(trials):
            stream.write(lines)


def trials_bytes(trials: Trials) -> bytes:
    """What `write_trials` writes."""
    return b"".join(_as_lines(trials))


def read_scores(path: Path, trials: Trials) -> np.ndarray:
    """The score of every trial, `(num_trials,)` float64 in the order of the trials; the file may have any order.

    Raises:
        DataError: a score is no finite number, a pair stands twice, is missing, or is not in the trial list.
    """
    path = Path(path)
    enroll, test = Lookup.of(trials.enroll_ids), Lookup.of(trials.test_ids)
    codes, scores, labels = [], [], []
    for block in read_blocks(path, SCORE_FORMS):
        scores.append(numbers_of(path, block))
        if block.num_columns == 4:
            labels.append(score_labels(path, block))
        first, second = enroll.indices(block.column(0)), test.indices(block.column(1))
        known = (first >= 0) & (second >= 0)
        codes.append(np.where(known, first.astype(np.int64) * len(trials.test_ids) + second, -1))
    if not codes:
        raise DataError(f"{place(path)}: is empty: no scores")
    all_codes = np.concatenate(codes)
    if labels and trials.is_target is not None:
        _refuse_other_labels(path, _aligned(path, all_codes, np.concatenate(labels), trials), trials)
    return _aligned(path, all_codes, np.concatenate(scores), trials)


def score_labels(path: Path, block: Block) -> np.ndarray:
    """The fourth column of a block of scores, `(len(block),)` bool: which are of targets, in the words of any format."""
    words = block.column(3)
    bad = next((i for i, word in enumerate(words) if word not in ALL_LABELS), None)
    if bad is not None:
        got = shown(words[bad].decode("utf-8", "replace"))
        known = ", ".join(word.decode() for word in ALL_LABELS)
        raise DataError(f"{place(path, block.first_line + bad)}: the fourth word must be a label ({known}), got {got}")
    return np.fromiter(map(ALL_LABELS.__getitem__, words), bool, len(words))


def _refuse_other_labels(path: Path, labels: np.ndarray, trials: Trials) -> None:
    wrong = np.flatnonzero(labels != trials.is_target)
    if len(wrong):
        raise DataError(
            f"{place(path)}: {len(wrong)} labels are not those of {place(trials.path)}, the first of {trials.pair(int(wrong[0]))}; "
            "these scores were made for another list"
        )


def read_scored(path: Path) -> tuple[Trials, np.ndarray]:
    """The pairs of a score file as trials without labels, and their scores `(num_trials,)` float64, in the order of the file.

    Raises:
        DataError: a score is no finite number, or a pair stands twice.
    """
    path = Path(path)
    enroll, test = Indexer(), Indexer()
    firsts, seconds, scores = [], [], []
    for block in read_blocks(path, SCORE_FORMS):
        scores.append(numbers_of(path, block))
        firsts.append(enroll.indices(block.column(0)))
        seconds.append(test.indices(block.column(1)))
    if not firsts:
        raise DataError(f"{place(path)}: is empty: no scores")
    trials = _assemble(enroll, test, np.concatenate(firsts), np.concatenate(seconds), None, path)
    _refuse_duplicates(trials)
    return trials, np.concatenate(scores)


def numbers_of(path: Path, block: Block) -> np.ndarray:
    """The third column of a block as finite numbers, `(len(block),)` float64."""
    words = block.column(2)
    try:
        numbers = np.fromiter(map(float, words), np.float64, len(words))
        if b"_" in b"".join(words):  # Python would read 1_000
            raise ValueError
    except ValueError:
        numbers = np.array([_number(word) for word in words])
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        word = shown(words[bad[0]].decode("utf-8", "replace"))
        hint = "; this is a trial list: it comes first, then the scores" if words[bad[0]] in _LABELS else ""
        raise DataError(f"{place(path, block.first_line + int(bad[0]))}: a score must be a finite number, got {word}{hint}")
    return numbers


def _number(word: bytes) -> float:
    try:
        return float(word) if b"_" not in word else np.nan
    except ValueError:
        return np.nan


def _aligned(path: Path, codes: np.ndarray, scores: np.ndarray, trials: Trials) -> np.ndarray:
    wanted = trials.pair_codes
    if np.array_equal(codes, wanted):
        return scores
    order, trial_order = np.argsort(codes, kind="stable"), np.argsort(wanted, kind="stable")
    if not np.array_equal(codes[order], wanted[trial_order]):
        _explain_mismatch(path, codes, trials)
    aligned = np.empty_like(scores)
    aligned[trial_order] = scores[order]
    return aligned


def _explain_mismatch(path: Path, codes: np.ndarray, trials: Trials) -> None:
    wanted = trials.pair_codes
    extra = np.flatnonzero(~np.isin(codes, wanted))
    if len(extra):
        where = place(path, int(extra[0]) + 1)
        pair = plain(_line(path, int(extra[0])), 160)
        raise DataError(
            f"{where}: {len(extra)} of {len(codes)} scores are for pairs that are not in {place(trials.path)}, the first: {pair}"
        )
    again = repeated(codes)
    if len(again):
        pair = plain(_line(path, int(again[0])), 160)
        raise DataError(f"{place(path, int(again[0]) + 1)}: duplicate score: the pair stands above already: {pair}")
    lost = np.flatnonzero(~np.isin(wanted, codes))
    raise DataError(f"{place(path)}: scores are missing for {len(lost)} of {len(trials)} trials, the first: {trials.pair(int(lost[0]))}")


def _line(path: Path, position: int) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return next(islice(stream, position, None)).strip()
