"""All options of a training, one frozen dataclass per concern; a TOML file holds the same tables and keys."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from sv_toolkit.config import Count, Options, Positive, Share, Size, Weight, Within, as_table, build, convert, read_config, with_overrides
from sv_toolkit.errors import ConfigError, plain, shown
from sv_toolkit.features.prepare import InputConfig
from sv_toolkit.losses.registry import LossConfig, loss_config, loss_entry, loss_needs, loss_table
from sv_toolkit.losses.term import Sampler
from sv_toolkit.models.registry import architecture_entry
from sv_toolkit.models.store import WindowConfig
from sv_toolkit.training.schedules import ScheduleConfig

Decibels = Annotated[float, Within(0, 200)]
LARGEST_SEED = 2**32 - 1  # generators of torch take 64 bits, and those of steps and rows are made of the seed by multiplication


@dataclass(frozen=True)
class BatchConfig(Options):
    """N speakers x M utterances, cut to one random length in [min_frames, max_frames] per batch.

    Attributes:
        num_speakers: N, speakers (or tuples) of a batch.
        num_utterances: M, utterances of each of them.
        min_frames, max_frames: shortest and longest crop, in frames of speech.
        length_step: crop lengths are min_frames plus a multiple of it: a GPU makes a new plan for every length that it meets.
            0: a tenth of the range, at least 1, so that there are some ten lengths.
        shortest: utterances with fewer frames are left out; 0 means max_frames, so that no crop repeats itself.
            An utterance between `shortest` and the drawn length is repeated from its beginning until the crop is full.
        sampler: "speakers" (N speakers, M utterances of each), "tuples" (N tuples of one evaluation and M - 1 enrollment
            utterances, for TE2E) or "utterances" (N x M of any speakers, for losses that look at labels alone).
        across_sessions: the utterances of a speaker come from as many sessions (utt2session) as there are: what is alike in
            utterances of one session, the line and the room, tells nothing about the voice.
    """

    num_speakers: Annotated[int, Within(1, symbol="--speakers-per-batch")] = 64
    num_utterances: Size = 10
    min_frames: Size = 140
    max_frames: Size = 180
    length_step: Count = 0
    shortest: Count = 0
    sampler: Sampler = "speakers"
    across_sessions: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        Within(self.min_frames).check("max_frames", self.max_frames)
        Within(0, self.max_frames).check("shortest", self.shortest)

    @property
    def lengths(self) -> range:
        """The crop lengths on the grid."""
        return range(self.min_frames, self.max_frames + 1, self.length_step or max((self.max_frames - self.min_frames) // 10, 1))

    @property
    def shortest_usable(self) -> int:
        """Frames that an utterance needs to take part."""
        return self.shortest or self.max_frames


@dataclass(frozen=True)
class OptimizerConfig(Options):
    """Defaults are the paper's recipe: SGD 0.01, clip 3, projections x 0.5, (w, b) x 0.01.

    The two factors multiply the learning rate of those parameters.  For SGD that is the same as scaling their
    gradients; under Adam a scaled gradient would change nothing.

    Attributes:
        name: "sgd", "adam" or "adamw".
        learning_rate: of the network, before the schedule's factor.
        momentum: of sgd.
        weight_decay: of all weights; of adamw apart from the gradient.
        clip: largest norm of the gradient; a longer one is shortened.
        projection_factor: learning rate of projections and of the last layer, over that of the others.
        loss_factor: learning rate of single numbers of the loss, such as w and b, over that of the network.
    """

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: Annotated[float, Within(0, 100, open_low=True)] = 0.01
    momentum: Share = 0.0
    weight_decay: Weight = 0.0
    clip: Positive = 3.0
    projection_factor: Weight = 0.5
    loss_factor: Weight = 0.01


@dataclass(frozen=True)
class AugmentConfig(Options):
    """Rooms and noise from data directories (--reverb, --noise), mixed into the mel powers of a crop; lost bands; masks over its input.

    Attributes:
        noise_probability: share of the utterances that get noise.
        noise_snr: lowest and highest signal-to-noise ratio, dB.
        reverb_probability: share of the utterances that are put into a room.
        band_probability: share of the utterances that lose the bands above a random one, half of them also the bands below
            another, as telephones and codecs do.
        band_kept: lowest and highest share of the bands below which nothing is lost at the top.
        band_low: largest share of the bands that is lost at the bottom; of 64 mel bands 0.2 reaches to some 450 Hz.
        band_attenuation: lowest and highest attenuation of lost bands, dB.
        time_masks, time_mask_frames: SpecAugment: stretches of frames set to the mean, and the longest of them.
        frequency_masks, frequency_mask_bands: the same for neighbouring mel bands.
        consistency: weight of 1 minus the cosine between the embedding of a crop and that of its original: the same crop with the
            same noise and room, but with all bands and frames and, where the table `utt2uniq` says that the utterance is a copy
            (through a codec), of what it is a copy of.
    """

    noise_probability: Share = 0.0
    noise_snr: tuple[float, float] = (0.0, 20.0)
    reverb_probability: Share = 0.0
    band_probability: Share = 0.0
    band_kept: tuple[Share, Share] = (0.7, 1.0)
    band_low: Share = 0.2
    band_attenuation: tuple[Decibels, Decibels] = (6.0, 60.0)
    time_masks: Count = 0
    time_mask_frames: Count = 20
    frequency_masks: Count = 0
    frequency_mask_bands: Count = 8
    consistency: Weight = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("noise_snr", "band_kept", "band_attenuation"):
            lowest, highest = getattr(self, name)
            if lowest > highest:
                raise ConfigError(f"{name} needs [lowest, highest], got {[lowest, highest]}")


@dataclass(frozen=True)
class TrainerConfig(Options):
    """How long, how often to look, and when to stop.

    Attributes:
        steps: batches in all.
        seed: of every random choice.
        log_interval: steps between log lines.
        valid_interval: steps between EERs on held-out speakers and between checkpoints.
        patience: stop after so many EERs without a better one; 0 never stops early.
        average: decay of a running mean of the weights, which is then the model (0.99 means over the last 100 steps
            or so; Polyak averaging); 0: the weights themselves.
        amp: "none", "bf16" or "fp16" for the network (the loss is always computed in float32).
        matmul: matrix products and convolutions of a GPU in "tf32" (faster, 10 bits of mantissa) or "ieee" float32.
        preload_gb: features up to this size are held in memory, larger sets are read from disk crop by crop; the same for the
            memory of a GPU.  The processes of one machine share it.
        batch_statistics: of several processes, batch normalisation uses the statistics of its "own" utterances, as most
            toolkits do, or those of "all": then the gradient is exactly that of the whole batch, at the price of two collective
            operations for every layer.
        chunk_utterances: the network sees so many utterances at a time (the gradient is that of the whole batch, and
            exact); for batches that do not fit in memory, at the price of a second forward pass.  0: all at once.
    """

    steps: Size = 2000
    seed: Annotated[int, Within(0, LARGEST_SEED)] = 0
    log_interval: Size = 50
    valid_interval: Size = 500
    patience: Count = 0
    average: Annotated[float, Within(0, 0.99999)] = 0.0
    amp: Literal["none", "bf16", "fp16"] = "none"
    matmul: Literal["tf32", "ieee"] = "tf32"
    preload_gb: Weight = 8.0
    batch_statistics: Literal["own", "all"] = "own"
    chunk_utterances: Count = 0


@dataclass(frozen=True)
class SourceConfig(Options):
    """One of several data directories that a model learns from at once: MultiReader (Wan et al. 2018, section 2.3).

    Attributes:
        weight: alpha of Eq. 12, what the loss of this source counts.
        num_speakers, num_utterances: override those of [batch] for a source with few speakers, or few utterances of each; 0: do not.
    """

    weight: Positive = 1.0
    num_speakers: Count = 0
    num_utterances: Count = 0

    def batch(self, common: BatchConfig) -> BatchConfig:
        """Batches of this source: those of [batch] but for what is overridden."""
        return replace(
            common,
            num_speakers=self.num_speakers or common.num_speakers,
            num_utterances=self.num_utterances or common.num_utterances,
        )


@dataclass(frozen=True)
class NamedConfig:
    """A choice out of a registry and the options of what was chosen."""

    name: str
    options: Any


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a training learns."""

    network: NamedConfig
    loss: LossConfig
    input: InputConfig = field(default_factory=InputConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    sources: dict[str, SourceConfig] = field(default_factory=dict)


SECTIONS = {
    "input": InputConfig,
    "windows": WindowConfig,
    "batch": BatchConfig,
    "optimizer": OptimizerConfig,
    "schedule": ScheduleConfig,
    "augment": AugmentConfig,
    "trainer": TrainerConfig,
}
OTHER_SECTIONS = ("network", "loss", "sources")


def train_config(tables: dict[str, Any], where: str) -> TrainConfig:
    """The configuration in `tables`; an unknown key is refused with the section it belongs to, or the nearest known key."""
    _refuse_unknown_sections(tables, where)
    network = _named(tables.get("network", {}), "lstm", architecture_entry, f"{where}: network")
    loss = loss_config(tables.get("loss", {}), f"{where}: loss")
    sections: dict[str, Any] = {name: build(cls, tables.get(name, {}), f"{where}: {name}") for name, cls in SECTIONS.items()}
    if "windows" not in tables:
        sections["windows"] = matching_windows(sections["batch"])
    sections["batch"] = _matching_sampler(sections["batch"], "sampler" in tables.get("batch", {}), loss, where)
    sources = convert(dict[str, SourceConfig], tables.get("sources", {}), f"{where}: sources")
    config = TrainConfig(network=network, loss=loss, sources=sources, **sections)
    _refuse_without_effect(config, where)
    return config


def _refuse_without_effect(config: TrainConfig, where: str) -> None:
    """Here and not where they are defined: the description of a model that was trained with such an option stays readable."""
    optimizer, losses = config.optimizer, [term.name for term in config.loss.terms]
    if config.input.cmvn_variance and config.input.cmvn == "none":
        raise ConfigError(f"{where}: input: cmvn_variance needs cmvn level, utterance or sliding, got 'none'")
    if optimizer.momentum and optimizer.name != "sgd":
        raise ConfigError(f"{where}: optimizer: momentum is an option of sgd and does nothing for {optimizer.name}; leave it out")
    if config.schedule.margin_warmup_steps and not any(loss_entry(name)[1].has_margin for name in losses):
        raise ConfigError(f"{where}: schedule: margin_warmup_steps needs a loss with a margin, {', '.join(losses)} has none; leave it out")


def _matching_sampler(batch: BatchConfig, is_given: bool, loss: LossConfig, where: str) -> BatchConfig:
    """The sampler that the loss is defined for; a configuration that asks for another is refused."""
    needed = loss_needs(loss).sampler
    if needed is None or needed == batch.sampler:
        return batch
    if is_given:
        raise ConfigError(f"{where}: batch: sampler = {shown(batch.sampler)}, but the loss {loss.terms[0].name} is defined for {needed!r}")
    return replace(batch, sampler=needed)


def matching_windows(batch: BatchConfig) -> WindowConfig:
    """Windows at inference like the crops in training: the mean of their lengths, half overlapping (Wan et al. 2018, section 3.2)."""
    window = (batch.min_frames + batch.max_frames) // 2
    return WindowConfig(window, max(window // 2, 1), min(batch.shortest or max(window // 4, 1), window))


def read_train_config(path: Path, overrides: dict[str, Any]) -> TrainConfig:
    """The configuration file with `{"section.key": value}` laid over it."""
    where = f"{plain(path)} and options" if overrides else plain(path)  # the typo may be in either
    return train_config(with_overrides(read_config(path), overrides, where), where)


def as_tables(config: TrainConfig) -> dict[str, Any]:
    """The configuration as the TOML tables it came from, every default filled in."""
    tables = as_table(config)
    tables["network"] = {"name": config.network.name, **tables["network"]["options"]}
    tables["loss"] = loss_table(config.loss)
    return tables


def _named(table: Any, default: str, entry: Any, where: str) -> NamedConfig:
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: a table of keys is needed, got {type(table).__name__}")
    options = dict(table)
    name = options.pop("name", default)
    if not isinstance(name, str):
        raise ConfigError(f"{where}: name needs a text, got {shown(name)}")
    return NamedConfig(name, build(entry(name)[0], options, where))


def _refuse_unknown_sections(tables: dict[str, Any], where: str) -> None:
    import difflib

    homes = {key.name: section for section, cls in SECTIONS.items() for key in fields(cls)}
    for key in tables:
        if key in OTHER_SECTIONS or key in SECTIONS:
            continue
        close = difflib.get_close_matches(key, [*homes, *OTHER_SECTIONS, *SECTIONS], n=1)
        hint = f"did you mean {close[0]!r}" + (f" in [{homes[close[0]]}]?" if close and close[0] in homes else "?") if close else ""
        known = ", ".join([*OTHER_SECTIONS, *SECTIONS])
        raise ConfigError(f"{where}: unknown key {shown(key)}; {hint or f'the tables are {known}'}")
