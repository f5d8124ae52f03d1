"""An experiment in a TOML file: systems x seeds, the columns of their table, and the claims that the table decides.

What a paper says is written down beside the paths of what was run; `tabulation.py` computes, `experiment_table.py` prints.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sv_toolkit.config import build, nearest, read_config
from sv_toolkit.errors import ConfigError, shown

EER, ACCURACY, SECONDS = "eer", "accuracy", "seconds_to_dev_eer"
METRICS = (EER, ACCURACY, SECONDS)
SEED, COLUMN = "{seed}", "{column}"


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        name: what stands above it.
        key: replaces `{column}` in the paths of the systems; by default the name in lower case, joined by underscores.
        kind: "eer" of the scores of `trials`, or "accuracy" of naming the speaker by embeddings (Li et al. 2017, section 4.1).
        trials: labelled trial list, under the data.
        data: directory whose `utt2spk` says the speakers, under the data; by default that of `trials`.
        enroll_spk2utt: utterances of the models, where the left of a trial is a model; under the data.
        utt2spk: of an accuracy, under the data.
        num_candidates, num_enroll: of an accuracy: candidates of each test, utterances per model (0: single utterances).
    """

    name: str
    key: str = ""
    kind: str = EER
    trials: str = ""
    data: str = ""
    enroll_spk2utt: str = ""
    utt2spk: str = ""
    num_candidates: int = 100
    num_enroll: int = 0

    def __post_init__(self) -> None:
        if self.kind not in (EER, ACCURACY):
            raise ConfigError(f"kind must be {EER} or {ACCURACY}, got {shown(self.kind)}")
        needed = "trials" if self.kind == EER else "utt2spk"
        if not getattr(self, needed):
            raise ConfigError(f"the column {shown(self.name)} of kind {self.kind} needs {needed}")
        if self.num_candidates < 2 or self.num_enroll < 0:
            raise ConfigError("num_candidates must be at least 2 and num_enroll at least 0")

    @property
    def slug(self) -> str:
        """What `{column}` stands for."""
        return self.key or re.sub(r"\W+", "_", self.name.lower()).strip("_")


@dataclass(frozen=True)
class System:
    """One row: where its runs lie under the experiments, `{seed}` and `{column}` in the paths; `paper` is what the paper reports.

    Attributes:
        paper: a text or number for the first column, or a list with one for each column ("" for none).
        embeddings: scp file, for columns of kind "accuracy".
        timing: timing log of `sv-train`.
        seeds: others than those of the experiment.
        deterministic: there is no seed, as in a control without training.
        columns: names or keys of those that the system has numbers for; all by default.
    """

    name: str
    scores: str = ""
    embeddings: str = ""
    timing: str = ""
    paper: Any = ()
    seeds: tuple[int, ...] = ()
    deterministic: bool = False
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        paths = [path for path in (self.scores, self.embeddings, self.timing) if path]
        if self.deterministic and (self.seeds or any(SEED in path for path in paths)):
            raise ConfigError(f"{shown(self.name)} is deterministic: it has no seeds, and no {SEED} in its paths")
        if not self.deterministic and any(SEED not in path for path in paths):
            raise ConfigError(f"the paths of {shown(self.name)} need {SEED}; a system without seeds says deterministic = true")
        values = self.paper if isinstance(self.paper, list) else [self.paper]
        if self.paper != () and not all(type(value) in (int, float, str) for value in values):
            raise ConfigError(f"paper of {shown(self.name)} needs a text or number, or a list of them")

    def paper_says(self, index: int) -> str:
        """The paper's value for the column at `index`, "" for none."""
        values = self.paper if isinstance(self.paper, (list, tuple)) else [self.paper]
        return str(values[index]) if index < len(values) else ""


@dataclass(frozen=True)
class Claim:
    """A sentence that names a `better` and a `worse` system by `metric`; on the named columns, or all that have the metric."""

    text: str
    better: str
    worse: str
    metric: str = EER
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ConfigError(f"metric must be {', '.join(METRICS[:-1])} or {METRICS[-1]}, got {shown(self.metric)}")
        if self.better == self.worse:
            raise ConfigError(f"a claim is about two systems, got {shown(self.better)} twice")
        if self.columns and self.metric == SECONDS:
            raise ConfigError(f"{SECONDS} is no number of a column: leave columns out")


@dataclass(frozen=True)
class Experiment:
    """All of it; names are unique, and claims are about what is there."""

    title: str
    columns: tuple[Column, ...]
    systems: tuple[System, ...]
    claims: tuple[Claim, ...] = ()
    seeds: tuple[int, ...] = field(default=(0,))

    def __post_init__(self) -> None:
        if not self.title.strip() or not self.title.isprintable() or "--" in self.title:
            raise ConfigError("the title needs printable text on one line, without '--': it marks the section")
        if not self.columns or not self.systems or not self.seeds:
            raise ConfigError("at least one column, one system and one seed are needed")
        _refuse_twice("column", [column.name for column in self.columns])
        _refuse_twice("column key", [column.slug for column in self.columns])
        _refuse_twice("system", [system.name for system in self.systems])
        for system in self.systems:
            _refuse_twice("seed", [str(seed) for seed in self.seeds_of(system)])
            if isinstance(system.paper, list) and len(system.paper) != len(self.columns):
                raise ConfigError(f"paper of {shown(system.name)} lists {len(system.paper)} values for {len(self.columns)} columns")
            self.columns_of(system)
        for claim in self.claims:
            self.columns_of_claim(claim)

    def seeds_of(self, system: System) -> tuple[int, ...]:
        """The seeds of a system; a deterministic one counts as one seed."""
        return (0,) if system.deterministic else system.seeds or self.seeds

    def system(self, name: str) -> System:
        """The system of this name."""
        found = {system.name: system for system in self.systems}
        if name not in found:
            raise ConfigError(f"there is no system {shown(name)}{nearest(name, found)}")
        return found[name]

    def columns_of(self, system: System) -> list[Column]:
        """The columns that a system has numbers for."""
        return [column for column in self._chosen(system.columns) if (system.scores if column.kind == EER else system.embeddings)]

    def columns_of_claim(self, claim: Claim) -> list[Column]:
        """The columns that a claim is about, in which both systems have numbers; none where it is about seconds."""
        both = [self.system(claim.better), self.system(claim.worse)]
        if claim.metric == SECONDS:
            if not all(system.timing for system in both):
                raise ConfigError(f"the claim {shown(claim.text)} is about seconds: both systems need timing")
            return []
        found = [column for column in self._chosen(claim.columns) if all(column in self.columns_of(system) for system in both)]
        found = [column for column in found if column.kind == claim.metric]
        if not found or (claim.columns and len(found) < len(claim.columns)):
            raise ConfigError(f"the claim {shown(claim.text)}: both systems need a number of kind {claim.metric} in its columns")
        return found

    def _chosen(self, names: Sequence[str]) -> list[Column]:
        known = {**{column.name: column for column in self.columns}, **{column.slug: column for column in self.columns}}
        for name in names:
            if name not in known:
                raise ConfigError(f"there is no column {shown(name)}{nearest(name, known)}")
        return [known[name] for name in names] if names else list(self.columns)


def _refuse_twice(what: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"the {what} {shown(name)} stands twice")


def read_experiment(path: Path) -> Experiment:
    """The experiment in a TOML file.

    Raises:
        ConfigError: unknown or missing keys, or parts that do not fit together.
    """
    return build(Experiment, read_config(path), str(path))


@dataclass(frozen=True)
class Folders:
    """Where the paths of an experiment begin: runs under `exp`, lists and maps under `data`."""

    exp: Path
    data: Path

    def of_run(self, template: str, seed: int, column: Column | None = None) -> Path:
        """The file of one run."""
        text = template.replace(SEED, str(seed))
        return self.exp / (text.replace(COLUMN, column.slug) if column else text)

    def of_data(self, name: str) -> Path | None:
        """A file under the data; None for no name."""
        return self.data / name if name else None
