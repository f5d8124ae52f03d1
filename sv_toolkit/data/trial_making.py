"""Trial lists out of a data directory: pairs of utterances, or enrollment models against utterances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.data.trials import Trials
from sv_toolkit.errors import DataError, plain
from sv_toolkit.io.tables import place

CONDITIONS = ("any", "same", "different")
MAX_TRIALS = 200_000_000  # 9 bytes each in memory, about 40 in the file


@dataclass(frozen=True)
class TrialConfig:
    """Which pairs become trials.

    Attributes:
        targets, nontargets: at most so many of each kind per utterance (or per enrollment model), chosen at
            random; None for all.
        keyword: whether both sides must say the same keyword (utt2keyword), different ones, or either.
        session: whether the two sides of a target trial must be of one session (utt2session), of different
            ones, or either; utterances of two speakers never share a session.
        seed: of the random choices.
    """

    targets: int | None = None
    nontargets: int | None = None
    keyword: str = "any"
    session: str = "any"
    seed: int = 0


@dataclass(frozen=True)
class _Sides:
    """Integer properties of the utterances `ids`: `speaker`, `keyword`, `session`, each `(num_utterances,)`."""

    ids: list[str]
    speaker: np.ndarray
    keyword: np.ndarray
    session: np.ndarray


def make_trials(data: DataDir, config: TrialConfig, path: Path) -> Trials:
    """Pairs of two utterances of `data`, each unordered pair at most once, sorted by bytes.

    The utterance that comes first by bytes is on the enrollment side.

    Args:
        path: where the list will lie.

    Raises:
        DataError: a map is missing that the conditions need, or there are no target or no nontarget trials.
    """
    sides = _sides(data, config)
    if config.targets is None and config.nontargets is None:
        first, second = _all_pairs(sides, config)
    else:
        first, second = _some_pairs(sides, config)
    return _checked(sides, sides.ids, sides.speaker, first, second, path, data)


def _sides(data: DataDir, config: TrialConfig) -> _Sides:
    ids = sorted(data.utt2spk)
    keyword = _numbered(data, ids, "utt2keyword", config.keyword != "any")
    session = _numbered(data, ids, "utt2session", config.session != "any")
    return _Sides(ids, _as_numbers([data.utt2spk[key] for key in ids]), keyword, session)


def _numbered(data: DataDir, ids: list[str], name: str, needed: bool) -> np.ndarray:
    if not needed:
        return np.zeros(len(ids), np.int64)
    table = data.table(name)
    if table is None:
        raise DataError(f"{place(data.path / name)}: no such file; it is needed for a condition on {name[4:]}s")
    lost = next((key for key in ids if key not in table), None)
    if lost is not None:
        raise DataError(f"{place(table.path)}: utterance {plain(lost, 80)} is missing")
    return _as_numbers([table[key] for key in ids])


def _as_numbers(labels: list[str]) -> np.ndarray:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], np.int64)


def _allowed(config: TrialConfig, sides: _Sides, first: np.ndarray | int, second: np.ndarray) -> np.ndarray:
    """Which pairs (`first`, `second`) meet the conditions."""
    good = np.ones(len(second), bool)
    if config.keyword != "any":
        good &= (sides.keyword[first] == sides.keyword[second]) == (config.keyword == "same")
    if config.session != "any":
        is_nontarget = sides.speaker[first] != sides.speaker[second]
        good &= is_nontarget | ((sides.session[first] == sides.session[second]) == (config.session == "same"))
    return good


def _all_pairs(sides: _Sides, config: TrialConfig) -> tuple[np.ndarray, np.ndarray]:
    count = len(sides.ids)
    if count * (count - 1) // 2 > MAX_TRIALS:
        raise DataError(
            f"{count} utterances make {count * (count - 1) // 2} pairs, more than {MAX_TRIALS}; choose some with --per-utterance"
        )
    everybody = np.arange(count, dtype=np.int32)
    seconds = [later[_allowed(config, sides, first, later)] for first in range(count) for later in [everybody[first + 1 :]]]
    return np.repeat(everybody, [len(part) for part in seconds]), np.concatenate(seconds)


def _some_pairs(sides: _Sides, config: TrialConfig) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(config.seed)
    everybody = np.arange(len(sides.ids))
    by_speaker = _groups(sides.speaker)
    by_keyword = _groups(sides.keyword)
    codes = []
    for first in range(len(everybody)):
        own, pool = by_speaker[sides.speaker[first]], by_keyword[sides.keyword[first]] if config.keyword == "same" else everybody
        targets = own[(own != first) & _allowed(config, sides, first, own)]
        others = _draw_nontargets(first, pool, sides, config, rng)
        second = np.concatenate([_draw(targets, config.targets, rng), others])
        codes.append(np.minimum(first, second) * len(everybody) + np.maximum(first, second))
    pairs = np.unique(np.concatenate(codes))
    return (pairs // len(everybody)).astype(np.int32), (pairs % len(everybody)).astype(np.int32)


def _draw_nontargets(first: int, pool: np.ndarray, sides: _Sides, config: TrialConfig, rng: np.random.Generator) -> np.ndarray:
    """Some utterances of other speakers; looks at all of the pool only where a few of it are not enough."""
    wanted = config.nontargets
    if wanted is not None and 4 * wanted + 16 < len(pool):
        few = rng.choice(pool, 4 * wanted + 16, replace=False)
        few = few[(sides.speaker[few] != sides.speaker[first]) & _allowed(config, sides, first, few)]
        if len(few) >= wanted:
            return few[:wanted]
    return _draw(pool[(sides.speaker[pool] != sides.speaker[first]) & _allowed(config, sides, first, pool)], wanted, rng)


def _draw(candidates: np.ndarray, count: int | None, rng: np.random.Generator) -> np.ndarray:
    return candidates if count is None or count >= len(candidates) else rng.choice(candidates, count, replace=False)


def _groups(labels: np.ndarray) -> list[np.ndarray]:
    """Positions of each label, for labels 0, 1, ..."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.cumsum(np.bincount(labels))[:-1])


def make_enrollment(data: DataDir, num_enroll: int, config: TrialConfig) -> dict[str, list[str]]:
    """Enrollment models of `num_enroll` random utterances each: model -> utterances.

    There is one model per speaker, named like the speaker; with a condition on keywords one per speaker and
    keyword, named `speaker-keyword`.  Who has fewer utterances gets no model.

    Raises:
        DataError: nobody has enough utterances, or two models would have one name.
    """
    rng = np.random.default_rng(config.seed)
    keywords = data.table("utt2keyword") if config.keyword != "any" else None
    _numbered(data, sorted(data.utt2spk), "utt2keyword", config.keyword != "any")  # refuses a missing map
    groups: dict[tuple[str, ...], list[str]] = {}
    for key in sorted(data.utt2spk):
        group: tuple[str, ...] = (data.utt2spk[key], *([keywords[key]] if keywords is not None else []))
        groups.setdefault(group, []).append(key)
    models: dict[str, list[str]] = {}
    for group, keys in sorted(groups.items()):
        name = "-".join(group)
        if name in models:
            raise DataError(
                f"{place(data.path)}: two enrollment models would be called {plain(name, 80)}; rename the speaker or the keyword"
            )
        if len(keys) >= num_enroll:
            models[name] = sorted(keys[i] for i in rng.permutation(len(keys))[:num_enroll])
    if not models:
        raise DataError(f"{place(data.path)}: no speaker has {num_enroll} utterances to enroll with")
    return models


def make_model_trials(data: DataDir, models: dict[str, list[str]], config: TrialConfig, path: Path) -> Trials:
    """Every enrollment model against the utterances that no model was made of, sorted by bytes.

    Conditions hold between the test utterance and all the utterances of the model.
    """
    rng = np.random.default_rng(config.seed)
    sides = _sides(data, config)
    place_of = {key: i for i, key in enumerate(sides.ids)}
    used = {place_of[key] for keys in models.values() for key in keys}
    tests = np.array([i for i in range(len(sides.ids)) if i not in used], np.int64)
    names = sorted(models)
    speakers = np.array([sides.speaker[place_of[models[name][0]]] for name in names])
    seconds = []
    for name, speaker in zip(names, speakers):
        good = np.logical_and.reduce([_allowed(config, sides, place_of[key], tests) for key in models[name]])
        is_target = sides.speaker[tests] == speaker
        targets, nontargets = _draw(tests[good & is_target], config.targets, rng), _draw(tests[good & ~is_target], config.nontargets, rng)
        seconds.append(np.sort(np.concatenate([targets, nontargets])))
    first = np.repeat(np.arange(len(names), dtype=np.int32), [len(part) for part in seconds])
    return _checked(sides, names, speakers, first, np.concatenate(seconds).astype(np.int32), path, data)


def _checked(
    sides: _Sides, enroll_ids: Sequence[str], enroll_speakers: np.ndarray, first: np.ndarray, second: np.ndarray, path: Path, data: DataDir
) -> Trials:
    """Trials of the used ids; both kinds must be there."""
    is_target = enroll_speakers[first] == sides.speaker[second]
    if not is_target.any() or is_target.all():
        kind = "nontarget" if is_target.any() else "target"
        raise DataError(f"{place(data.path)}: no {kind} trial meets these conditions; an error rate needs both kinds")
    used_enroll, first = np.unique(first, return_inverse=True)
    used_test, second = np.unique(second, return_inverse=True)
    enroll, test = [enroll_ids[i] for i in used_enroll], [sides.ids[i] for i in used_test]
    return Trials(enroll, test, first.astype(np.int32), second.astype(np.int32), is_target, path)
