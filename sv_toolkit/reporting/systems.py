"""What a report is made from: scored trials, embeddings with their speakers, models with their training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sv_toolkit.data.trials import Trials, read_scores, read_trials
from sv_toolkit.errors import DataError, ModelError, examples
from sv_toolkit.io import files
from sv_toolkit.io.archives import read_vectors
from sv_toolkit.io.described import MAX_DESCRIPTION_BYTES, decoded
from sv_toolkit.io.files import sha256_file
from sv_toolkit.io.tables import place, read_table
from sv_toolkit.reporting.conditions import Origin
from sv_toolkit.reporting.training_logs import LOG, TrainingLog, read_training

DESCRIPTION, BASES, SPEAKERS = "model.json", "loss.safetensors", "speakers.txt"
MAX_COUNT = 1 << 53
MAX_SPEAKERS_BYTES = 1 << 28


@dataclass(frozen=True)
class System:
    """Scored trials under a name.

    Attributes:
        scores: `(num_trials,)`, aligned with `trials`.
        is_llr: the scores are log-likelihood ratios (natural).
        scores_path, scores_sha256: the file they came from.
    """

    name: str
    trials: Trials
    scores: np.ndarray
    origin: Origin
    is_llr: bool
    scores_path: Path
    scores_sha256: str

    @property
    def sides(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores of the target and of the nontarget trials."""
        is_target = np.asarray(self.trials.is_target)
        return self.scores[is_target], self.scores[~is_target]

    def scores_for(self, trials: Trials) -> np.ndarray:
        """The scores in the order of another list of the same trials."""
        scores = np.empty_like(self.scores)
        scores[np.argsort(trials.pair_codes)] = self.scores[np.argsort(self.trials.pair_codes)]
        return scores


@dataclass(frozen=True)
class Embedded:
    """Embeddings under a name, `(num_embeddings, dim)`, with the speaker of each; speaker bases where training kept them."""

    name: str
    speakers: list[str]
    vectors: np.ndarray
    bases: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A model folder: its description, its training log, its speaker bases by speaker; each where it is there."""

    name: str
    path: Path
    description: Mapping[str, Any]
    training: TrainingLog | None
    bases: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class IdentificationRecord:
    """Accuracy and EER (fractions) with `num_enroll` utterances per model, None for single utterances as candidates."""

    num_enroll: int | None
    accuracy: float
    eer: float
    num_anchors: int
    num_candidates: int
    num_speakers: int


@dataclass(frozen=True)
class Identified:
    """What `sv-eval-identification --json` wrote for a system: a record for each way of enrollment."""

    name: str
    records: Sequence[IdentificationRecord]


class TrialLists:
    """Lists that several systems share are read once."""

    def __init__(self, trials_format: str) -> None:
        self.format = trials_format
        self.known: dict[Path, Trials] = {}

    def read(self, path: Path) -> Trials:
        """The labelled list at `path`; raises as `read_trials`."""
        if path not in self.known:
            self.known[path] = read_trials(path, self.format, need_keys=True)
        return self.known[path]


def read_system(
    name: str, trials: Path, scores: Path, lists: TrialLists, data: Path | None, enroll_spk2utt: Path | None, is_llr: bool
) -> System:
    """The scored trials of a system.

    Raises:
        DataError: a file is missing or damaged; names the line.
    """
    listed = lists.read(trials)
    values = read_scores(scores, listed)
    return System(name, listed, values, Origin.find(trials, data, enroll_spk2utt), is_llr, scores, sha256_file(scores))


def read_model(name: str, folder: Path, timing: Path | None) -> Model:
    """What lies in a model folder.

    Raises:
        ModelError: it is no folder that `sv-train` has written to, or its description or its bases are damaged.
        DataError: its training log is damaged.
    """
    if not folder.is_dir():
        raise ModelError(f"{place(folder)}: no such model folder; sv-train makes one")
    has_log = (folder / LOG).exists()
    if not has_log and not (folder / DESCRIPTION).exists():
        raise ModelError(f"{place(folder)}: has neither {DESCRIPTION} nor {LOG}: it is no model folder, or its training has not begun")
    training = read_training(folder, timing) if has_log or timing is not None else None
    return Model(name, folder, _description(folder / DESCRIPTION), training, read_bases(folder))


def _description(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        return {}
    content = read_json(path)
    if content is None:
        raise ModelError(f"{place(path)}: is not a model description of this toolkit, or it is truncated")
    return content


def read_bases(folder: Path) -> dict[str, np.ndarray]:
    """Speaker -> basis `(dim,)` of a training that learned speaker bases (Heo et al. 2019); empty for another.

    Raises:
        ModelError: the files are damaged, or do not belong together.
    """
    weights, names = folder / BASES, folder / SPEAKERS
    if not (weights.is_file() and names.is_file()):
        return {}
    from safetensors.numpy import load

    bases = decoded(weights, weights.read_bytes(), load).get("bases")
    if bases is None:
        return {}
    if names.stat().st_size > MAX_SPEAKERS_BYTES:
        raise ModelError(f"{place(names)}: {names.stat().st_size} bytes is too large for a list of speakers")
    speakers = names.read_text(encoding="utf-8", errors="replace").splitlines()
    if bases.ndim != 2 or len(bases) != len(speakers) or not np.isfinite(bases).all():
        raise ModelError(
            f"{place(weights)}: bases of shape {bases.shape}, finite and one for each of the {len(speakers)} lines of {SPEAKERS}, are needed"
        )
    return dict(zip(speakers, bases))


def read_identified(name: str, path: Path) -> Identified:
    """The accuracies that `path` holds.

    Raises:
        DataError: it is not what `sv-eval-identification --json` writes.
    """
    content = read_json(path)
    try:
        records = [_identification(record) for record in content.values()] if content is not None else []
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        records = []
    if not records:
        raise DataError(f"{place(path)}: is no result of identification; sv-eval-identification --json {place(path)} writes one")
    return Identified(name, records)


def _identification(record: Mapping[str, Any]) -> IdentificationRecord:
    count = record["num_enroll"]
    accuracy, eer = (float(record[key]) for key in ("accuracy", "eer"))
    anchors, candidates, speakers = (int(record[key]) for key in ("num_anchors", "num_candidates", "num_speakers"))
    if not (0 <= accuracy <= 1 and 0 <= eer <= 1):
        raise ValueError("a rate is a fraction")
    if not all(0 <= number < MAX_COUNT for number in (anchors, candidates, speakers, count or 0)):
        raise ValueError("a number of utterances or speakers")
    return IdentificationRecord(None if count is None else int(count), accuracy, eer, anchors, candidates, speakers)


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file of bounded size, None where there is something else in it."""
    if path.exists() and not path.is_file():
        raise DataError(f"{place(path)}: is not a regular file")
    if path.stat().st_size > MAX_DESCRIPTION_BYTES:
        raise DataError(f"{place(path)}: more than {MAX_DESCRIPTION_BYTES} bytes are too large for it")
    try:
        content = files.read_json(path)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def read_embedded(name: str, scp: Path, data: Path | None, bases: Mapping[str, np.ndarray]) -> Embedded:
    """The embeddings of `scp` whose speakers `utt2spk` of `data` says (by default: beside the scp file).

    Raises:
        SvError: damaged archives; a zero embedding; no `utt2spk`, or one that does not know the utterances.
    """
    ids, vectors = read_vectors(scp)
    table = read_table((data or scp.parent) / "utt2spk", sorted_by_bytes=False, max_fields=2, names="utterance speaker")
    unknown = [key for key in ids if key not in table]
    if unknown:
        raise DataError(f"{place(table.path)}: does not say the speaker of {examples(unknown)} ({len(unknown)} of {len(ids)} embeddings)")
    fitting = {speaker: basis for speaker, basis in bases.items() if len(basis) == vectors.shape[1]}
    return Embedded(name, [table[key] for key in ids], vectors, fitting)
