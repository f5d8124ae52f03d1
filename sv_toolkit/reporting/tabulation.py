"""Numbers of an experiment: means over seeds with intervals over speakers, times, and a verdict for each claim.

The interval of a mean over seeds comes from drawing speakers, the same for all seeds and for both systems of a claim.
It covers which speakers were tested; the numbers of the single seeds show what another training would change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sv_toolkit.metrics import student
from sv_toolkit.metrics.intervals import Difference, Interval
from sv_toolkit.reporting.experiments import EER, SECONDS, Claim, Column, Experiment, Folders, System
from sv_toolkit.reporting.measures import Measure, read_measure
from sv_toolkit.reporting.training_logs import TrainingLog, read_timing

REPRODUCED, NOT_REPRODUCED, UNDECIDED = "reproduced", "not reproduced", "undecided"
LEVEL = 0.95


@dataclass(frozen=True)
class Cell:
    """Rates (fractions) of each seed, None where a run is missing; their mean, and its interval or why there is none."""

    by_seed: tuple[float | None, ...]
    interval: Interval | None = None
    no_interval: str = ""

    @property
    def mean(self) -> float | None:
        """Over the seeds that there are."""
        return mean_of_known(self.by_seed)


@dataclass(frozen=True)
class Finding:
    """A claim in one `place` (the name of a column, "" for seconds): the numbers of both systems, and what they decide.

    `difference` is better less worse; of seconds it is that of their logarithms, over seeds instead of speakers.
    `seeds_overlap` says that neither system is ahead with all of its seeds; then nothing is decided.
    """

    place: str
    verdict: str
    better: float | None = None
    worse: float | None = None
    difference: Difference | None = None
    why: str = ""
    seeds_overlap: bool = False


@dataclass(frozen=True)
class Table:
    """What there is to print: cells by system and column key, training logs by system, findings by claim, files that are missing."""

    experiment: Experiment
    measures: Mapping[str, Measure | None]
    cells: Mapping[tuple[str, str], Cell]
    logs: Mapping[str, tuple[TrainingLog | None, ...]]
    findings: Sequence[tuple[Claim, Sequence[Finding]]]
    num_replicates: int
    seed: int
    missing: Sequence[Path]


@dataclass
class _Runs:
    """Everything read, by system and column; what is missing is kept for one message."""

    folders: Folders
    measures: dict[str, Measure | None] = field(default_factory=dict)
    values: dict[tuple[str, str], list[np.ndarray | None]] = field(default_factory=dict)
    logs: dict[str, tuple[TrainingLog | None, ...]] = field(default_factory=dict)
    missing: list[Path] = field(default_factory=list)

    def there(self, path: Path) -> bool:
        """Whether a file exists; one that does not is noted."""
        if not path.exists():
            self.missing.append(path)
        return path.exists()


def tabulate(experiment: Experiment, folders: Folders, num_replicates: int = 1000, seed: int = 0) -> Table:
    """Read all runs and compute the table.

    Args:
        num_replicates: draws of speakers for each interval.
        seed: of the draws, and of the choice of candidates for accuracies.

    Raises:
        DataError: a file that is there is damaged, or does not fit the others.
    """
    runs = _read_runs(experiment, folders, seed)
    cells = {}
    for system in experiment.systems:
        for column in experiment.columns_of(system):
            values = runs.values[system.name, column.slug]
            cells[system.name, column.slug] = _cell(runs.measures[column.slug], values, num_replicates, seed)
    findings = [(claim, _findings(experiment, claim, runs, cells, num_replicates, seed)) for claim in experiment.claims]
    return Table(experiment, runs.measures, cells, runs.logs, findings, num_replicates, seed, list(dict.fromkeys(runs.missing)))


def _read_runs(experiment: Experiment, folders: Folders, seed: int) -> _Runs:
    runs = _Runs(folders)
    for column in experiment.columns:
        source = folders.data / (column.trials if column.kind == EER else column.utt2spk)
        runs.measures[column.slug] = read_measure(column, folders, seed) if runs.there(source) else None
    for system in experiment.systems:
        for column in experiment.columns_of(system):
            runs.values[system.name, column.slug] = [_values(runs, system, column, each) for each in experiment.seeds_of(system)]
        if system.timing:
            paths = [folders.of_run(system.timing, each) for each in experiment.seeds_of(system)]
            runs.logs[system.name] = tuple(read_timing(path) if runs.there(path) else None for path in paths)
    return runs


def _values(runs: _Runs, system: System, column: Column, seed: int) -> np.ndarray | None:
    path = runs.folders.of_run(system.scores if column.kind == EER else system.embeddings, seed, column)
    there, measure = runs.there(path), runs.measures[column.slug]
    return measure.read(path) if there and measure is not None else None


def _cell(measure: Measure | None, values: Sequence[np.ndarray | None], num_replicates: int, seed: int) -> Cell:
    known = [each for each in values if each is not None]
    if measure is None or not known:
        return Cell((None,) * len(values))
    by_seed = tuple(None if each is None else measure.rate(each) for each in values)
    if measure.no_interval:
        return Cell(by_seed, None, measure.no_interval)
    return Cell(by_seed, measure.interval(np.stack(known), num_replicates, seed))


def _findings(
    experiment: Experiment, claim: Claim, runs: _Runs, cells: Mapping[tuple[str, str], Cell], num_replicates: int, seed: int
) -> list[Finding]:
    if claim.metric == SECONDS:
        return [_seconds_finding(experiment, claim, runs.logs)]
    return [_rate_finding(claim, column, runs, cells, num_replicates, seed) for column in experiment.columns_of_claim(claim)]


def _rate_finding(
    claim: Claim, column: Column, runs: _Runs, cells: Mapping[tuple[str, str], Cell], num_replicates: int, seed: int
) -> Finding:
    names, measure = (claim.better, claim.worse), runs.measures[column.slug]
    better, worse = (cells[name, column.slug] for name in names)
    means = better.mean, worse.mean
    if measure is None or None in means:
        return Finding(column.name, UNDECIDED, *means, why="runs are missing")
    sign = 1 if column.kind == EER else -1
    overlap = _overlap(better.by_seed, worse.by_seed, sign)
    if measure.no_interval:
        return Finding(column.name, UNDECIDED, *means, why=measure.no_interval, seeds_overlap=overlap)
    first, second = (np.stack([each for each in runs.values[name, column.slug] if each is not None]) for name in names)
    found = measure.difference(first, second, num_replicates, seed)
    return Finding(column.name, verdict(found.interval, overlap, sign), *means, found, seeds_overlap=overlap)


def verdict(interval: Interval, seeds_overlap: bool, sign: int = 1) -> str:
    """What the interval of better less worse says of a claim; `sign` is 1 where lower is better, -1 where higher is.

    The interval knows how speakers vary, not how trainings do, so every seed has to be on the same side, too.
    """
    if seeds_overlap:
        return UNDECIDED
    low, high = sorted((sign * interval.low, sign * interval.high))
    return REPRODUCED if high < 0 else NOT_REPRODUCED if low > 0 else UNDECIDED


def _overlap(better: Sequence[float | None], worse: Sequence[float | None], sign: int) -> bool:
    first, second = ([sign * value for value in values if value is not None] for values in (better, worse))
    return max(first) >= min(second) and max(second) >= min(first)


def mean_of_known(values: Sequence[float | None]) -> float | None:
    """The mean without what is missing; None of nothing."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def common_dev_eer(logs: Sequence[Sequence[TrainingLog | None]]) -> float | None:
    """The lowest dev EER that every run reached: the worst of their best ones; None where no run was validated."""
    best = [log.curves["dev_eer"][1].min() for of_system in logs for log in of_system if log is not None and "dev_eer" in log.curves]
    return float(max(best)) if best else None


def seconds_to(log: TrainingLog | None, dev_eer: float | None) -> float | None:
    """Seconds of training after which the dev EER was first as low; None where it never was."""
    if log is None or dev_eer is None:
        return None
    seconds, eers = log.against_time("dev_eer")
    reached = np.flatnonzero(eers <= dev_eer)
    return float(seconds[reached[0]]) if len(reached) else None


def training_seconds(log: TrainingLog | None) -> float | None:
    """Seconds until the last record."""
    return max(log.seconds.values()) if log is not None and log.seconds else None


def _seconds_finding(experiment: Experiment, claim: Claim, logs: Mapping[str, tuple[TrainingLog | None, ...]]) -> Finding:
    goal = common_dev_eer([logs[claim.better], logs[claim.worse]])
    times = []
    for name in (claim.better, claim.worse):
        seeds = experiment.seeds_of(experiment.system(name))
        times.append({seed: seconds_to(log, goal) for seed, log in zip(seeds, logs[name])})
    means = mean_of_known(list(times[0].values())), mean_of_known(list(times[1].values()))
    place = "" if goal is None else f"to a dev EER of {100 * goal:.2f} %"
    pairs = [(a, times[1][seed]) for seed, a in times[0].items() if a and times[1].get(seed)]
    if None in means or len(pairs) < 2:
        return Finding(place, UNDECIDED, *means, why=f"{len(pairs)} seed{'' if len(pairs) == 1 else 's'} with times of both systems")
    found = log_ratio(np.array(pairs, dtype=np.float64))
    overlap = _overlap(list(times[0].values()), list(times[1].values()), 1)
    return Finding(place, verdict(found.interval, overlap), *means, found, seeds_overlap=overlap)


def log_ratio(pairs: np.ndarray) -> Difference:
    """Mean difference of the logarithms of pairs `(num_seeds, 2)`, with Student's interval over the seeds.

    The interval speaks of `num_speakers` = num_seeds independent pairs; nothing is resampled.
    """
    logs = np.log(pairs)
    differences, freedom = logs[:, 0] - logs[:, 1], len(pairs) - 1
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1) / len(pairs) ** 0.5)
    reach = student.quantile(LEVEL, freedom) * deviation
    p_value = student.two_sided_p(mean / deviation, freedom) if deviation > 0 else float(mean == 0)
    first, second = logs.mean(axis=0).tolist()
    return Difference(first, second, mean, Interval(mean - reach, mean + reach, 0, len(pairs)), p_value)
