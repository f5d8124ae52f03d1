"""Which losses there are, and the loss that a configuration names: one of them, or a weighted sum."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from sv_toolkit.config import Options, Positive, build, convert
from sv_toolkit.errors import ConfigError, shown
from sv_toolkit.losses.all_speaker_hard import AllSpeakerHard, AllSpeakerHardConfig
from sv_toolkit.losses.center import Center, CenterConfig
from sv_toolkit.losses.ge2e import Ge2e, Ge2eConfig
from sv_toolkit.losses.margin_softmax import AamSoftmax, AamSoftmaxConfig, AmSoftmax, AmSoftmaxConfig
from sv_toolkit.losses.prototypical import AngularPrototypical, AngularPrototypicalConfig, Prototypical, PrototypicalConfig
from sv_toolkit.losses.softmax import Softmax, SoftmaxConfig
from sv_toolkit.losses.speaker_bases import SpeakerBases, SpeakerBasesConfig
from sv_toolkit.losses.te2e import Te2e, Te2eConfig
from sv_toolkit.losses.term import LossSize, Sampler
from sv_toolkit.losses.total import TotalLoss
from sv_toolkit.losses.triplet import Triplet, TripletConfig

LOSSES: dict[str, tuple[type, type]] = {
    "ge2e": (Ge2eConfig, Ge2e),
    "te2e": (Te2eConfig, Te2e),
    "softmax": (SoftmaxConfig, Softmax),
    "center": (CenterConfig, Center),
    "am_softmax": (AmSoftmaxConfig, AmSoftmax),
    "aam_softmax": (AamSoftmaxConfig, AamSoftmax),
    "speaker_bases": (SpeakerBasesConfig, SpeakerBases),
    "all_speaker_hard": (AllSpeakerHardConfig, AllSpeakerHard),
    "triplet": (TripletConfig, Triplet),
    "prototypical": (PrototypicalConfig, Prototypical),
    "angular_prototypical": (AngularPrototypicalConfig, AngularPrototypical),
}


def loss_entry(name: str) -> tuple[Any, Any]:
    """Configuration class and module class of the loss `name`."""
    if name not in LOSSES:
        raise ConfigError(f"no loss {shown(name)}; known: {', '.join(sorted(LOSSES))}")
    return LOSSES[name]


@dataclass(frozen=True)
class WeightedTerm(Options):
    """One loss of a sum: its name in `LOSSES`, what it is multiplied by, its own options."""

    name: str
    weight: Positive
    options: Any


@dataclass(frozen=True)
class LossConfig:
    """The losses that are added up; most trainings have one."""

    terms: tuple[WeightedTerm, ...]

    def __post_init__(self) -> None:
        names = [term.name for term in self.terms]
        if not names:
            raise ConfigError("terms needs at least one loss")
        if len(set(names)) < len(names):
            raise ConfigError(f"a loss stands twice in terms: {', '.join(names)}")
        classes = [loss_entry(name)[1] for name in names]
        if not any(cls.uses_embeddings for cls in classes):
            raise ConfigError(f"{', '.join(names)} teaches the network nothing; add a loss of the embeddings to terms")
        samplers = {cls.sampler for cls in classes} - {None}
        if len(samplers) > 1:
            raise ConfigError(f"{', '.join(names)} cannot be added up: they need batches of {' and of '.join(sorted(map(str, samplers)))}")


@dataclass(frozen=True)
class LossNeeds:
    """The batches that a loss is defined for; see `LossTerm`."""

    speakers: int
    utterances: int
    sampler: Sampler | None


def loss_config(table: Any, where: str) -> LossConfig:
    """The configuration in a table: `name` and options of one loss, or `terms`, a list of such tables with a `weight` each.

    Raises:
        ConfigError: unknown loss or key, wrong type or range, losses that need different batches.
    """
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: a table of keys is needed, got {type(table).__name__}")
    terms = _terms(table, where) if "terms" in table else (_term({"name": "ge2e", **table}, 1.0, where),)
    with _named_place(where):
        return LossConfig(terms)


def _terms(table: dict[str, Any], where: str) -> tuple[WeightedTerm, ...]:
    others = sorted(set(table) - {"terms"})
    if others:
        raise ConfigError(f"{where}: {shown(others[0])} stands beside terms; it belongs into one of its tables")
    tables = table["terms"]
    if not isinstance(tables, (list, tuple)):
        raise ConfigError(f"{where}: terms needs a list of tables, got {shown(tables)}")
    return tuple(_weighted(own, f"{where}: terms[{number}]") for number, own in enumerate(tables))


def _weighted(table: Any, where: str) -> WeightedTerm:
    if not isinstance(table, dict) or "name" not in table:
        raise ConfigError(f"{where}: a table with the name of a loss is needed, got {shown(table)}")
    options = dict(table)
    return _term(options, convert(float, options.pop("weight", 1.0), f"{where}: weight"), where)


def _term(table: dict[str, Any], weight: float, where: str) -> WeightedTerm:
    options = dict(table)
    name = options.pop("name")
    if not isinstance(name, str):
        raise ConfigError(f"{where}: name needs a text, got {shown(name)}")
    with _named_place(where):
        config_class = loss_entry(name)[0]
    own_options = build(config_class, options, where)
    with _named_place(where):
        return WeightedTerm(name, weight, own_options)


@contextmanager
def _named_place(where: str) -> Iterator[None]:
    """Put file and table in front of a message that does not know them."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def loss_table(config: LossConfig) -> dict[str, Any]:
    """The table that `loss_config` makes `config` from, every default filled in."""
    tables = [{"name": term.name, "weight": term.weight, **asdict(term.options)} for term in config.terms]
    if len(tables) > 1 or tables[0]["weight"] != 1:
        return {"terms": tables}
    return {key: value for key, value in tables[0].items() if key != "weight"}


def loss_needs(config: LossConfig) -> LossNeeds:
    """The smallest batch and the kind of batch that all terms can be computed on."""
    classes = [loss_entry(term.name)[1] for term in config.terms]
    sampler = next((cls.sampler for cls in classes if cls.sampler), None)
    return LossNeeds(max(cls.needs_speakers for cls in classes), max(cls.needs_utterances for cls in classes), sampler)


def make_loss(config: LossConfig, size: LossSize) -> TotalLoss:
    """The loss of `config` for `size`, drawn with torch's generator."""
    return TotalLoss({term.name: (term.weight, loss_entry(term.name)[1](term.options, size)) for term in config.terms}, size)
